//! `GET` and `PUT /v1/archive?path=…`: trees of files as tar archives, which pass through in pieces.

use std::pin::pin;

use axum::{
    body::{Body, BodyDataStream, Bytes},
    extract::{RawQuery, Request, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use cabana_protocol::{
    Error,
    file::{ArchiveFormat, Extracted, FilePath, RelativePaths},
    names::{missing_parameter, unknown_parameter},
};
use futures_util::{StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, mpsc::Receiver};

use super::{
    answer::{self, ErrorResponse},
    upload_headers::check_upload,
};
use crate::{
    Agent,
    archive::{self, Filter, Piece, PieceSender, PieceWriter},
    dispatch::{self, query_pairs},
    limits,
    threads::{self, Length},
};

/// The query of an archive.
struct Query {
    path: FilePath,
    /// The session in whose directory a relative path begins.
    session: Option<String>,
    format: ArchiveFormat,
    include: Vec<String>,
    exclude: Vec<String>,
}

impl Query {
    fn of(query: Option<&str>) -> Result<Self, Error> {
        let (mut path, mut session, mut format) = (None, None, ArchiveFormat::default());
        let (mut include, mut exclude) = (Vec::new(), Vec::new());
        for (name, value) in query_pairs(query.unwrap_or_default()) {
            match name.as_slice() {
                b"path" => path = Some(value.into()),
                b"session" => session = Some(text(value)?),
                b"format" => format = text(value)?.parse()?,
                b"include" => include.push(text(value)?),
                b"exclude" => exclude.push(text(value)?),
                name => {
                    let known = ["path", "session", "format", "include", "exclude"];
                    return Err(unknown_parameter(&String::from_utf8_lossy(name), &known));
                }
            }
        }
        let path = path.ok_or_else(|| missing_parameter("path"))?;
        Ok(Self { path, session, format, include, exclude })
    }

    /// The same, its path no longer relative where it begins in a session's directory.
    async fn located(query: Option<&str>, agent: &Agent) -> Result<Self, Error> {
        let mut query = Self::of(query)?;
        if let Some(relative) = RelativePaths::new(query.session.as_deref(), [&mut query.path]) {
            agent.sessions.locate(relative).await?;
        }
        Ok(query)
    }
}

fn text(value: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(value).map_err(|_| Error::invalid_request("session, format, include and exclude are UTF-8"))
}

/// A permit to work on one archive: each takes a thread and some memory.
pub(super) fn acquire_permit(agent: &Agent) -> Result<OwnedSemaphorePermit, Error> {
    let permit = agent.archives.clone().try_acquire_owned();
    permit.map_err(|_| limits::reached(agent.limits.archives, "archives are being created or extracted"))
}

pub(super) async fn get(
    State(agent): State<Agent>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ErrorResponse> {
    download(agent, query).await.map_err(|error| ErrorResponse::new(&headers, error))
}

async fn download(agent: Agent, query: Option<String>) -> Result<Response, Error> {
    let Query { path, format, include, exclude, .. } = Query::located(query.as_deref(), &agent).await?;
    let permit = acquire_permit(&agent)?;
    let roots = agent.clone();
    let create = move |output: &mut PieceWriter| {
        let filter = Filter::new(&include, &exclude)?;
        archive::create(roots.fs.roots(), &path, format, &filter, output)
    };
    stream(&agent, permit, format.media_type(), create).await
}

/// Answers with what `create` writes, on a thread of its own.
pub(super) async fn stream(
    agent: &Agent,
    permit: impl Send + 'static,
    media_type: &'static str,
    create: impl FnOnce(&mut PieceWriter) -> Result<(), Error> + Send + 'static,
) -> Result<Response, Error> {
    let (mut output, mut pieces) = archive::outgoing(agent.limits.archive_timeout);
    // It ends when nobody takes its pieces any more.
    let creation = threads::run(Length::Long, move || {
        let created = create(&mut output).and_then(|()| output.pass());
        // Who has seen the end may ask for the next.
        drop(permit);
        output.end(created);
    });
    let mut creation = pin!(creation);
    // What fails before there is anything to send is told by the status.
    let first = tokio::select! {
        biased;
        first = pieces.recv() => first,
        done = &mut creation => {
            done?;
            pieces.recv().await
        }
    };
    let first = match first {
        Some(Piece::Bytes(bytes)) => bytes,
        Some(Piece::Broken(error)) => return Err(error),
        Some(Piece::End) | None => return Err(Error::internal("the archive has no end")),
    };
    let mut response = answer::typed(media_type, Body::from_stream(body(first, pieces)));
    // On its way it may not be compressed once more.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    Ok(response)
}

/// The pieces of an archive. One that is not made to its end breaks the connection off, so that the client sees that something is
/// missing.
fn body(first: Bytes, pieces: Receiver<Piece>) -> impl futures_util::Stream<Item = Result<Bytes, Error>> {
    let rest = stream::unfold(Some(pieces), async |pieces| {
        let mut pieces = pieces?;
        match pieces.recv().await {
            Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some(pieces))),
            Some(Piece::End) => None,
            Some(Piece::Broken(error)) => {
                tracing::warn!("an archive was interrupted: {error}");
                Some((Err(error), None))
            }
            None => Some((Err(Error::internal("an archive was interrupted")), None)),
        }
    });
    stream::iter([Ok(first)]).chain(rest)
}

pub(super) async fn put(
    State(agent): State<Agent>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, ErrorResponse> {
    let (parts, body) = request.into_parts();
    let mut pieces = body.into_data_stream();
    match upload(agent, query, &parts.headers, &mut pieces).await.and_then(|extracted| dispatch::encode_line(&extracted)) {
        Ok(body) => Ok(answer::json(body)),
        Err(error) => {
            answer::linger(pieces).await;
            Err(ErrorResponse::new(&parts.headers, error))
        }
    }
}

async fn upload(
    agent: Agent,
    query: Option<String>,
    headers: &HeaderMap,
    pieces: &mut BodyDataStream,
) -> Result<Extracted, Error> {
    if check_upload(headers)?.is_some() {
        return Err(Error::invalid_request("Content-Range: an archive is uploaded whole"));
    }
    let Query { path, .. } = Query::located(query.as_deref(), &agent).await?;
    let permit = acquire_permit(&agent)?;
    let (inlet, input) = archive::incoming();
    let limits = agent.limits.archive();
    // It ends when its input does, or breaks off.
    let extraction = agent.fs.run_for(Length::Long, move |roots| {
        let _permit = permit;
        archive::extract(roots, &path, input, limits)
    });
    let (extracted, ()) = tokio::join!(extraction, feed(inlet, pieces));
    extracted
}

/// Hands on what the client sends, as long as somebody takes it.
pub(super) async fn feed(inlet: PieceSender, pieces: &mut BodyDataStream) {
    while let Some(piece) = pieces.next().await {
        let (piece, last) = match piece {
            Ok(bytes) => (Piece::Bytes(bytes), false),
            Err(error) => (Piece::Broken(Error::invalid_request(format!("the upload was interrupted: {error}"))), true),
        };
        if !inlet.send(piece).await || last {
            return;
        }
    }
    inlet.send(Piece::End).await;
}
