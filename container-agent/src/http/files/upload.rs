//! A file's content on its way in.

use std::future;

use axum::{
    body::{Body, BodyDataStream, Bytes, HttpBody},
    http::HeaderMap,
};
use bytes::BytesMut;
use cabana_protocol::{Error, file::Written};
use futures_util::{StreamExt, TryStreamExt};

use super::{Query, SMALL_BYTES, answer, conditions};
use crate::{
    Agent,
    file::{self, Roots, Upload},
    http::upload_headers::check_upload,
};

/// Takes in a file. What the client still sends of one that is refused is taken in too.
pub(super) async fn receive(agent: &Agent, query: Option<String>, headers: &HeaderMap, body: Body) -> Result<Written, Error> {
    let size_bytes = body.size_hint().exact();
    let mut pieces = body.into_data_stream();
    let written = async {
        check_upload(headers)?;
        let (Query { path, mode }, conditions) = (Query::of(query.as_deref())?, conditions(headers)?);
        let begin = move |roots: &Roots| Upload::begin(roots, path, mode, conditions, size_bytes);
        match size_bytes {
            Some(size_bytes) if size_bytes <= SMALL_BYTES => receive_whole(agent, begin, &mut pieces).await,
            _ => receive_pieces(agent, begin, &mut pieces).await,
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
    begin: impl FnOnce(&Roots) -> Result<Upload, Error> + Send + 'static,
    pieces: &mut BodyDataStream,
) -> Result<Written, Error> {
    let content = pieces.try_fold(BytesMut::new(), |mut content, piece: Bytes| {
        content.extend_from_slice(&piece);
        future::ready(Ok(content))
    });
    let content = content.await.map_err(broken_off)?;
    file::blocking(agent, move |roots| {
        let mut upload = begin(roots)?;
        upload.write(roots, &content)?;
        upload.finish(roots)
    })
    .await
}

async fn receive_pieces(
    agent: &Agent,
    begin: impl FnOnce(&Roots) -> Result<Upload, Error> + Send + 'static,
    pieces: &mut BodyDataStream,
) -> Result<Written, Error> {
    let mut upload = file::blocking(agent, begin).await?;
    let mut piece = pieces.next().await;
    while let Some(received) = piece {
        let bytes = match received {
            Ok(bytes) => bytes,
            Err(error) => {
                // To free what has come so far may take long.
                file::blocking_next(agent, move |_| {
                    drop(upload);
                    Ok(())
                })
                .await?;
                return Err(broken_off(error));
            }
        };
        let writing = file::blocking_next(agent, move |roots| upload.write(roots, &bytes).map(|()| upload));
        // The next piece is received meanwhile.
        (upload, piece) = tokio::try_join!(writing, async { Ok(pieces.next().await) })?;
    }
    file::blocking_next(agent, move |roots| upload.finish(roots)).await
}

fn broken_off(error: axum::Error) -> Error {
    Error::invalid_request(format!("the upload broke off: {error}"))
}
