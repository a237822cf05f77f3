//! Archives of the sandbox's files: chunk by chunk from the agent into the bucket, and back.

use std::{cell::RefCell, collections::HashSet, pin::Pin, rc::Rc};

use cabana_protocol::{
    Access, Code, Error, SandboxId,
    chunk::{self, ChunkName, FrameReader, Head},
    decode_own,
    file::{Extracted, FilePath},
    sandbox::{Archive, ArchiveId, Archives, CreateArchive, CreateSnapshot, MAX_EXCLUDES, RestoreArchive, Root},
};
use futures_util::{Stream, StreamExt, stream};
use js_sys::Uint8Array;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use worker::{Method, Request, RequestInit, Response, wasm_bindgen::JsValue, web_sys};

use super::{agent::Agent, forward, object::Object, runtime::Lease};
use crate::{
    Principal, RequestId,
    archives::{
        Manifest,
        bucket::{Keys, R2, Store},
        writer::{self, Frames},
    },
    clock::{now, rfc3339},
    create, handle, log, random, reply,
    request::{decode, read_body},
    tenant::archives::{Call, TenantArchives},
    wire::ORIGIN,
};

/// The directory of an archive whose request names none, where neither the sandbox nor its kind has other roots.
const WORKSPACE: &str = "/workspace";

/// How many chunks are fetched ahead of the one that the agent takes.
const AHEAD: usize = 6;

/// Answers a request whose path, below the sandbox's archives, is `rest`.
pub(super) async fn answer(
    object: &Rc<Object>,
    mut request: Request,
    rest: &str,
    principal: &Principal,
    request_id: &RequestId,
) -> Result<Response, Error> {
    object.id()?;
    let (archive, verb) = rest.trim_start_matches('/').split_once('/').unwrap_or((rest.trim_start_matches('/'), ""));
    let archives = Storage::of(object)?;
    match (request.method(), archive, verb) {
        (Method::Post, "", "") => {
            let asked: CreateArchive = decode(&read_body(&mut request, create::MAX_BODY_BYTES).await?)?;
            check(&asked)?;
            Ok(reply::json(201, &object.archive(&archives, asked).await?, request_id))
        }
        (_, "", "") => {
            let all: Vec<Archive> = archives.tenant.call(&Call::List).await?;
            let shown = all.into_iter().filter(|archive| sees(principal, &archive.id)).collect();
            Ok(reply::json(200, &Archives { archives: shown }, request_id))
        }
        (Method::Post, id, "restore") => {
            let asked: RestoreArchive = decode(&read_body(&mut request, create::MAX_BODY_BYTES).await?)?;
            let archive = archives.find(id, principal).await?;
            let path = asked.path.unwrap_or_else(|| archive.path.clone());
            let extracted = object.restore_archive(&archives, &archive.id, &path, request_id).await?;
            Ok(reply::json(200, &extracted, request_id))
        }
        (Method::Delete, id, "") => {
            // One that others made is not there, and stays.
            match archives.find(id, principal).await {
                Ok(archive) => archives.tenant.call::<()>(&Call::Delete { id: archive.id }).await?,
                Err(error) if error.code == Code::NotFound => {}
                Err(error) => return Err(error),
            }
            Ok(reply::empty(request_id))
        }
        (_, id, "") => Ok(reply::json(200, &archives.find(id, principal).await?, request_id)),
        _ => Err(Error::not_found("there is nothing of the archive here")),
    }
}

fn check(asked: &CreateArchive) -> Result<(), Error> {
    CreateSnapshot { name: asked.name.clone() }.check()?;
    if asked.exclude.len() > MAX_EXCLUDES {
        let message = format!("`exclude` takes at most {MAX_EXCLUDES} patterns");
        return Err(Error::invalid_request(message).because("invalid_field"));
    }
    Ok(())
}

/// Whether a caller who may have the archives of certain sandboxes only may have this one.
fn sees(principal: &Principal, archive: &ArchiveId) -> bool {
    let may = |sandbox: SandboxId| {
        principal.check(&Access { sandbox: Some(&sandbox), operation: "archive.get", read_only: true }).is_ok()
    };
    archive.sandbox().is_ok_and(may)
}

/// Where the archives of the sandbox's tenant are.
pub(super) struct Storage {
    tenant: TenantArchives,
    store: R2,
    keys: Keys,
}

impl Storage {
    /// Fails with `not_implemented` where the deployment has no bucket.
    pub(super) fn of(object: &Object) -> Result<Self, Error> {
        let (env, _) = object.admission.way();
        let tenant = object.store.record()?.tenant.clone();
        Ok(Self { tenant: TenantArchives::new(env, &tenant), store: R2::of(env)?, keys: Keys::new(&tenant) })
    }

    /// The catalog.
    pub(super) fn tenant(&self) -> &TenantArchives {
        &self.tenant
    }

    /// Fails with `not_found`.
    async fn find(&self, id: &str, principal: &Principal) -> Result<Archive, Error> {
        let id: ArchiveId = id.parse()?;
        if !sees(principal, &id) {
            return Err(Error::not_found("there is no such archive").because("no_such_archive"));
        }
        self.tenant.call(&Call::Find { id }).await
    }
}

impl Object {
    /// Makes an archive.
    ///
    /// Fails with `not_found`, `conflict` (there are too many), and `container_not_ready`.
    pub(super) async fn archive(self: &Rc<Self>, archives: &Storage, asked: CreateArchive) -> Result<Archive, Error> {
        let lease = self.supervisor.ready().await?;
        let sandbox = self.id()?;
        let path = asked.path.clone().unwrap_or_else(|| self.first_root().as_str().into());
        let archive = Archive {
            id: ArchiveId::new(&sandbox, &random::name()),
            sandbox,
            name: asked.name.clone(),
            path,
            created_at: rfc3339(now()),
            size_bytes: 0,
            chunks: 0,
            new_chunks: 0,
            stored_bytes: 0,
        };
        let id = archive.id.clone();
        let known: Vec<ChunkName> = archives.tenant.call(&Call::Begin { id: id.clone() }).await?;
        let made = self.write_archive(archives, &lease, archive, known, &asked).await;
        if made.is_err()
            && let Err(error) = archives.tenant.call::<()>(&Call::Abort { id }).await
        {
            log::warn(None, &format!("an archive that has failed is given up when its lease ends: {}", error.message));
        }
        made
    }

    async fn write_archive(
        &self,
        archives: &Storage,
        lease: &Lease,
        archive: Archive,
        known: Vec<ChunkName>,
        asked: &CreateArchive,
    ) -> Result<Archive, Error> {
        let mut query = vec![("path", archive.path.as_bytes().to_vec())];
        query.extend(asked.exclude.iter().map(|glob| ("exclude", glob.as_bytes().to_vec())));
        query.push(("ignore_files", asked.ignore_files.to_string().into_bytes()));
        let body = known.iter().flat_map(|name| name.0).collect::<Vec<u8>>();
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(Uint8Array::from(body.as_slice()).into()));
        let request = Request::new_with_init(&url(&query), &init).map_err(internal)?;
        let answer = Agent::new(lease)?.fetch(&request, None).await.map_err(broken)?;
        let mut answer = handle::check(forward::check(answer)?).await?;
        let pieces = answer.stream().map_err(internal)?;
        let mut frames = AgentFrames { pieces: Box::pin(pieces), reader: FrameReader::default() };
        let known = known.into_iter().collect::<HashSet<_>>();
        writer::write(&archives.tenant, &archives.store, &archives.keys, archive, &known, &mut frames).await
    }

    /// Has a directory hold what an archive holds.
    ///
    /// Fails with `unprocessable` where a chunk is missing or damaged, and as the agent's extraction does.
    pub(super) async fn restore_archive(
        self: &Rc<Self>,
        archives: &Storage,
        id: &ArchiveId,
        path: &FilePath,
        request_id: &RequestId,
    ) -> Result<Extracted, Error> {
        let manifest =
            archives.store.get(&archives.keys.manifest(id)).await?.ok_or_else(|| damaged("its manifest is missing"))?;
        let manifest: Manifest = decode_own(&manifest).map_err(|_| damaged("its manifest cannot be read"))?;
        let lease = self.supervisor.ready().await?;
        let failure = Rc::new(RefCell::new(None));
        let body = chunks(archives, manifest, Rc::clone(&failure));
        let mut init = RequestInit::new();
        init.with_method(Method::Put).with_body(Some(stream_body(body)?));
        let request = Request::new_with_init(&url(&[("path", path.as_bytes().to_vec())]), &init).map_err(internal)?;
        let answered = match Agent::new(&lease)?.fetch(&request, None).await {
            Ok(answer) => match forward::check(answer) {
                Ok(answer) => handle::decode(answer).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(broken(error)),
        };
        // The agent only knows that its input broke off.
        let failure = failure.borrow_mut().take();
        match (answered, failure) {
            (Err(error), Some(cause)) => {
                log::warn(Some(request_id.as_str()), &format!("an archive was not restored: {}", error.message));
                Err(cause)
            }
            (answered, _) => answered,
        }
    }

    /// Where the sandbox's files are.
    fn first_root(&self) -> String {
        self.roots().first().map_or_else(|| WORKSPACE.to_owned(), |root| root.path().to_owned())
    }

    /// The directories whose files are its own.
    pub(super) fn roots_to_keep(&self) -> Vec<String> {
        let roots: Vec<_> = self.roots().iter().filter(|root| !root.is_read_only()).map(|root| root.path().to_owned()).collect();
        if roots.is_empty() { vec![WORKSPACE.to_owned()] } else { roots }
    }

    /// Its roots, or else its kind's; none where the image says which.
    fn roots(&self) -> Vec<Root> {
        let Ok(record) = self.store.record() else { return Vec::new() };
        let of_kind = || self.config.as_ref().ok()?.kinds.get(&record.kind)?.roots.clone();
        record.roots.clone().or_else(of_kind).unwrap_or_default()
    }
}

/// The frames of an archive, a few chunks ahead of the agent.
fn chunks(
    archives: &Storage,
    manifest: Manifest,
    failure: Rc<RefCell<Option<Error>>>,
) -> impl Stream<Item = worker::Result<Vec<u8>>> + use<> {
    let (store, keys) = (archives.store.clone(), archives.keys.clone());
    let fetched = stream::iter(manifest.chunks).map(move |(name, raw_bytes)| {
        let (store, key) = (store.clone(), keys.chunk(&name));
        async move {
            let content = store.get(&key).await?.ok_or_else(|| damaged(&format!("the chunk {name} is missing")))?;
            let stored_bytes = u32::try_from(content.len()).map_err(|_| damaged(&format!("the chunk {name} is too long")))?;
            Ok([&Head { name: Some(name), raw_bytes, stored_bytes }.encode()[..], &content].concat())
        }
    });
    let end = Head { name: None, raw_bytes: 0, stored_bytes: 0 }.encode().to_vec();
    fetched.buffered(AHEAD).chain(stream::iter([Ok(end)])).map(move |frame| {
        frame.map_err(|error: Error| {
            let words = error.message.clone();
            failure.borrow_mut().get_or_insert(error);
            worker::Error::RustError(words)
        })
    })
}

/// A stream as the body of a request.
pub(super) fn stream_body(body: impl Stream<Item = worker::Result<Vec<u8>>> + 'static) -> Result<JsValue, Error> {
    let response: web_sys::Response = Response::from_stream(body).map_err(internal)?.into();
    response.body().map(JsValue::from).ok_or_else(|| Error::internal("a stream has no body"))
}

struct AgentFrames {
    pieces: Pin<Box<dyn Stream<Item = worker::Result<Vec<u8>>>>>,
    reader: FrameReader,
}

impl Frames for AgentFrames {
    async fn next(&mut self) -> Result<(Head, Vec<u8>), Error> {
        loop {
            match self.reader.next_frame() {
                Some(Ok(frame)) => return Ok(frame),
                Some(Err(())) => return Err(Error::new(Code::AgentUnavailable, "the agent's archive cannot be understood")),
                None => {}
            }
            let piece = self.pieces.next().await.ok_or_else(interrupted)?;
            self.reader.feed(&piece.map_err(|_| interrupted())?);
        }
    }
}

/// Where the agent makes and takes archives.
fn url(query: &[(&str, Vec<u8>)]) -> String {
    let pairs = query.iter().map(|(name, value)| format!("{name}={}", percent_encode(value, NON_ALPHANUMERIC)));
    format!("{ORIGIN}{}?{}", chunk::PATH, pairs.collect::<Vec<_>>().join("&"))
}

pub(super) fn interrupted() -> Error {
    Error::new(Code::Interrupted, "the archive was interrupted: the sandbox sent no more of it").because("archive_interrupted")
}

fn damaged(what: &str) -> Error {
    Error::new(Code::Unprocessable, format!("the archive is damaged: {what}")).because("damaged")
}

pub(super) fn broken(error: worker::Error) -> Error {
    crate::fault::Fault::parse(&error.to_string()).error()
}

pub(super) fn internal(error: worker::Error) -> Error {
    Error::internal(error.to_string())
}
