//! `POST` and `PUT /chunks?path=…`: archives in chunks, for the sandbox's object, which keeps them.

use std::collections::HashSet;

use axum::{
    body::{BodyDataStream, to_bytes},
    extract::{RawQuery, Request, State},
    http::HeaderMap,
    response::Response,
};
use cabana_protocol::{
    Code, Error,
    chunk::ChunkName,
    file::{ArchiveFormat, Extracted, FilePath},
    names::{missing_parameter, unknown_parameter},
};

use super::{
    answer::{self, ErrorResponse},
    archive::{acquire_permit, feed, stream},
};
use crate::{
    Agent,
    archive::{self, CHUNKING_BYTES, ChunkReader, Chunker, Filter},
    dispatch::{self, query_pairs},
    threads::Length,
};

/// Most bytes of the list of chunks that the other side has.
const KNOWN_BYTES: usize = 4 << 20;

/// The query of an archive in chunks.
struct Query {
    path: FilePath,
    exclude: Vec<String>,
    ignore_files: bool,
}

impl Query {
    fn of(query: Option<&str>) -> Result<Self, Error> {
        let (mut path, mut exclude, mut ignore_files) = (None, Vec::new(), false);
        for (name, value) in query_pairs(query.unwrap_or_default()) {
            match name.as_slice() {
                b"path" => path = Some(value.into()),
                b"exclude" => exclude.push(String::from_utf8_lossy(&value).into_owned()),
                b"ignore_files" => ignore_files = value == b"true",
                name => return Err(unknown_parameter(&String::from_utf8_lossy(name), &["path", "exclude", "ignore_files"])),
            }
        }
        Ok(Self { path: path.ok_or_else(|| missing_parameter("path"))?, exclude, ignore_files })
    }
}

/// Makes an archive. The body names the chunks that need not be sent.
pub(super) async fn post(
    State(agent): State<Agent>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ErrorResponse> {
    make(agent, query, request).await.map_err(|error| ErrorResponse::new(&headers, error))
}

async fn make(agent: Agent, query: Option<String>, request: Request) -> Result<Response, Error> {
    let Query { path, exclude, ignore_files } = Query::of(query.as_deref())?;
    let permit = acquire_permit(&agent)?;
    let held = agent.memory.hold(CHUNKING_BYTES + 2 * KNOWN_BYTES)?;
    let known = to_bytes(request.into_body(), KNOWN_BYTES).await;
    let known = known.map_err(|error| Error::new(Code::PayloadTooLarge, format!("the list of known chunks: {error}")))?;
    let known: HashSet<ChunkName> = ChunkName::list(&known).collect();
    let roots = agent.clone();
    let create = move |output: &mut archive::PieceWriter| {
        let interrupted = |error: std::io::Error| Error::new(Code::Interrupted, format!("the archive was interrupted: {error}"));
        let filter = Filter::new(&[], &exclude)?.with_ignore_files(ignore_files);
        let mut chunker = Chunker::new(output, known).map_err(interrupted)?;
        archive::create(roots.fs.roots(), &path, ArchiveFormat::Tar, &filter, &mut chunker)?;
        chunker.finish().map_err(interrupted)
    };
    stream(&agent, (permit, held), "application/octet-stream", create).await
}

/// Has a directory hold what an archive holds, and nothing else.
pub(super) async fn put(
    State(agent): State<Agent>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, ErrorResponse> {
    let (parts, body) = request.into_parts();
    let mut pieces = body.into_data_stream();
    match take(agent, query, &mut pieces).await.and_then(|extracted| dispatch::encode_line(&extracted)) {
        Ok(body) => Ok(answer::json(body)),
        Err(error) => {
            answer::linger(pieces).await;
            Err(ErrorResponse::new(&parts.headers, error))
        }
    }
}

async fn take(agent: Agent, query: Option<String>, pieces: &mut BodyDataStream) -> Result<Extracted, Error> {
    let Query { path, .. } = Query::of(query.as_deref())?;
    let permit = acquire_permit(&agent)?;
    let held = agent.memory.hold(CHUNKING_BYTES)?;
    let (inlet, input) = archive::incoming();
    let limits = agent.limits.archive();
    let extraction = agent.fs.run_for(Length::Long, move |roots| {
        let _held = (permit, held);
        let input = ChunkReader::new(input).map_err(|error| Error::internal(error.to_string()))?;
        archive::replace(roots, &path, input, limits)
    });
    let (extracted, ()) = tokio::join!(extraction, feed(inlet, pieces));
    extracted
}
