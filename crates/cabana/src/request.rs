//! Reading what a caller sent.

use cabana_protocol::{Code, Error};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::json;
use worker::Request;

/// Decodes a body, which is a JSON object; an empty one stands for all defaults.
///
/// Fails with `invalid_request`. The message names the field and not the text in it, which may be a secret.
pub fn decode<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Error> {
    if body.trim_ascii().is_empty() { Ok(T::default()) } else { cabana_protocol::decode(body) }
}

/// Reads a body of at most `limit` bytes; no body counts as an empty one.
///
/// Fails with `payload_too_large`, as soon as that is known.
pub async fn read_body(request: &mut Request, limit: usize) -> Result<Vec<u8>, Error> {
    let announced = request.headers().get("content-length").ok().flatten().and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    if request.inner().body().is_none() {
        return Ok(Vec::new());
    }
    let mut body = Vec::new();
    let mut chunks = request.stream().map_err(broken)?;
    while let Some(chunk) = chunks.next().await {
        body.extend(chunk.map_err(broken)?);
        if body.len() > limit {
            return Err(too_large(limit));
        }
    }
    Ok(body)
}

fn too_large(limit: usize) -> Error {
    let message = format!("the body is larger than {limit} bytes");
    Error::new(Code::PayloadTooLarge, message).with_details(json!({ "limit_bytes": limit }))
}

fn broken(_: worker::Error) -> Error {
    Error::invalid_request("the body broke off")
}
