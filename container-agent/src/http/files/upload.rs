//! A file's content on its way in.

use std::future;

use axum::{
    body::{Body, BodyDataStream, Bytes, HttpBody},
    http::HeaderMap,
};
use bytes::BytesMut;
use cabana_protocol::{Code, Error, file::Written};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use serde_json::json;

use super::{super::upload_headers::check_upload, Query, SMALL_BYTES, answer, conditions};
use crate::{
    Agent,
    file::{PartUpload, Upload},
    fs::Roots,
};

/// Bytes that are handed to a thread at a time.
const BATCH_BYTES: usize = 256 << 10;

/// What a body becomes.
enum Incoming {
    Whole(Upload),
    Part(PartUpload),
}

impl Incoming {
    fn write(&mut self, roots: &Roots, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Whole(upload) => upload.write(roots, bytes),
            Self::Part(upload) => upload.write(roots, bytes),
        }
    }

    fn commit(self, roots: &Roots) -> Result<Written, Error> {
        match self {
            Self::Whole(upload) => upload.commit(roots),
            Self::Part(upload) => upload.commit(roots),
        }
    }
}

/// Takes in a file, or a part of one. What the client still sends of one that is refused is taken in too.
pub(super) async fn receive(agent: &Agent, query: Option<String>, headers: &HeaderMap, body: Body) -> Result<Written, Error> {
    let size_bytes = body.size_hint().exact();
    let mut pieces = body.into_data_stream();
    let written = async {
        let range = check_upload(headers)?;
        let Query { path, mode, max_bytes, .. } = Query::located(query.as_deref(), agent).await?;
        let conditions = conditions(headers)?;
        let limit = max_bytes.unwrap_or(u64::MAX);
        if size_bytes.is_some_and(|size_bytes| size_bytes > limit) {
            return Err(too_large(limit));
        }
        if let (Some(range), Some(size_bytes)) = (range, size_bytes)
            && size_bytes != range.end - range.first
        {
            let length = range.end - range.first;
            return Err(Error::invalid_request(format!("Content-Range has {length} bytes, the body {size_bytes}")));
        }
        let begin = move |roots: &Roots| match range {
            None => Upload::begin(roots, path, mode, conditions, size_bytes).map(Incoming::Whole),
            Some(range) => PartUpload::begin(roots, path, mode, &conditions, range).map(Incoming::Part),
        };
        match size_bytes {
            Some(size_bytes) if size_bytes <= SMALL_BYTES => receive_whole(agent, begin, &mut pieces).await,
            _ => receive_pieces(agent, begin, &mut pieces, limit).await,
        }
    };
    let written = written.await;
    if written.is_err() {
        answer::linger(pieces).await;
    }
    written
}

async fn receive_whole(
    agent: &Agent,
    begin: impl FnOnce(&Roots) -> Result<Incoming, Error> + Send + 'static,
    pieces: &mut BodyDataStream,
) -> Result<Written, Error> {
    let content = pieces.try_fold(BytesMut::new(), |mut content, piece: Bytes| {
        content.extend_from_slice(&piece);
        future::ready(Ok(content))
    });
    let content = content.await.map_err(broken_off)?;
    agent
        .fs
        .run(move |roots| {
            let mut upload = begin(roots)?;
            upload.write(roots, &content)?;
            upload.commit(roots)
        })
        .await
}

async fn receive_pieces(
    agent: &Agent,
    begin: impl FnOnce(&Roots) -> Result<Incoming, Error> + Send + 'static,
    pieces: &mut BodyDataStream,
    limit: u64,
) -> Result<Written, Error> {
    let mut upload = agent.fs.run(begin).await?;
    let (mut batch, mut total) = (next_batch(pieces).await, 0);
    loop {
        total += batch.iter().flatten().map(|piece| piece.len() as u64).sum::<u64>();
        if total > limit {
            // To free what has come so far may take long.
            agent.fs.run_next(move |_: &Roots| abandon(upload)).await?;
            return Err(too_large(limit));
        }
        let received = match batch {
            Ok(received) if received.is_empty() => return agent.fs.run_next(move |roots| upload.commit(roots)).await,
            Ok(received) => received,
            Err(error) => {
                agent.fs.run_next(move |_: &Roots| abandon(upload)).await?;
                return Err(broken_off(error));
            }
        };
        let writing = agent.fs.run_next(move |roots| {
            received.iter().try_for_each(|bytes| upload.write(roots, bytes))?;
            Ok(upload)
        });
        // The next batch is received meanwhile.
        (upload, batch) = tokio::try_join!(writing, async { Ok(next_batch(pieces).await) })?;
    }
}

/// The next piece, and those behind it that have come already: a body without a length comes in small pieces, and to hand each to a thread
/// takes longer than to write it. Empty at the end.
async fn next_batch(pieces: &mut BodyDataStream) -> Result<Vec<Bytes>, axum::Error> {
    let (mut batch, mut size) = (Vec::new(), 0);
    while size < BATCH_BYTES {
        let piece = if batch.is_empty() { pieces.next().await } else { pieces.next().now_or_never().flatten() };
        let Some(piece) = piece.transpose()? else { break };
        size += piece.len();
        batch.push(piece);
    }
    Ok(batch)
}

fn abandon(upload: Incoming) -> Result<(), Error> {
    drop(upload);
    Ok(())
}

fn too_large(limit: u64) -> Error {
    let message = format!("the file is larger than `max_bytes`, {limit} bytes");
    Error::new(Code::PayloadTooLarge, message).with_details(json!({ "reason": "too_large", "limit_bytes": limit }))
}

fn broken_off(error: axum::Error) -> Error {
    Error::invalid_request(format!("the upload was interrupted: {error}"))
}
