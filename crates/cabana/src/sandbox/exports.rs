//! `GET` and `PUT …/archive?path=…&key=…`: a tar archive that goes into the deployment's bucket under a key of the tenant's, or comes from there. The
//! caller sees none of its bytes.

use cabana_protocol::{
    Code, Error,
    file::{Exported, Extracted},
};
use futures_util::StreamExt;
use worker::{Bucket, Method, Request, RequestInit, Response, Url};

use super::{
    agent::Agent,
    archives::{broken, internal, interrupted, stream_body},
    forward,
    object::Object,
};
use crate::{
    RequestId,
    archives::bucket::{Keys, bucket},
    handle, log, reply,
};

/// The parameter of the query that names the key.
const PARAMETER: &str = "key";

/// Bytes of a part of an upload to the bucket. All but the last are of one size.
const PART_BYTES: usize = 8 << 20;

/// Longest key, in bytes: the bucket's own limit is 1,024, and the tenant is in it, too.
const MAX_KEY_BYTES: usize = 512;

/// The key of a request for an archive that has one.
pub(super) fn key(request: &Request) -> Option<String> {
    let url = request.url().ok().filter(|url| url.path().trim_end_matches('/') == "/v1/archive")?;
    url.query_pairs().find(|(name, _)| name == PARAMETER).map(|(_, key)| key.into_owned())
}

/// Answers a request for an archive with this key.
pub(super) async fn answer(object: &Object, request: &Request, key: &str, request_id: &RequestId) -> Result<Response, Error> {
    check(key)?;
    let (env, _) = object.admission.way();
    let (bucket, key) = (bucket(env)?, Keys::new(&object.store.record()?.tenant).export(key));
    let url = without_key(request)?;
    match request.method() {
        Method::Get => Ok(reply::json(200, &export(object, &bucket, &key, url.as_str()).await?, request_id)),
        Method::Put => Ok(reply::json(200, &import(object, &bucket, &key, url.as_str()).await?, request_id)),
        _ => Err(Error::invalid_request("`key`: only GET and PUT take one")),
    }
}

fn check(key: &str) -> Result<(), Error> {
    if (1..=MAX_KEY_BYTES).contains(&key.len()) && !key.chars().any(char::is_control) {
        return Ok(());
    }
    let message = format!("`key` takes 1 to {MAX_KEY_BYTES} bytes without control characters");
    Err(Error::invalid_request(message).because("invalid_field"))
}

/// The agent's URL: what is left of the query is for it.
fn without_key(request: &Request) -> Result<Url, Error> {
    let mut url = request.url().map_err(|_| Error::invalid_request("the URL cannot be parsed"))?;
    let pairs: Vec<_> =
        url.query_pairs().filter(|(name, _)| name != PARAMETER).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
    url.query_pairs_mut().clear().extend_pairs(pairs);
    Ok(url)
}

/// Stores an archive of the sandbox's files, in place of what the key had. Where it fails, that stays.
async fn export(object: &Object, bucket: &Bucket, key: &str, url: &str) -> Result<Exported, Error> {
    let lease = object.supervisor.ready().await?;
    let request = Request::new(url, Method::Get).map_err(internal)?;
    let answer = Agent::new(&lease)?.fetch(&request, None).await.map_err(broken)?;
    let mut answer = handle::check(forward::check(answer)?).await?;
    let mut pieces = answer.stream().map_err(internal)?;
    let upload = bucket.create_multipart_upload(key).execute().await.map_err(unavailable)?;
    let stored = async {
        let (mut part, mut parts, mut size_bytes) = (Vec::new(), Vec::new(), 0);
        loop {
            let piece = pieces.next().await.transpose().map_err(|_| interrupted())?;
            let is_last = piece.is_none();
            part.extend(piece.unwrap_or_default());
            while part.len() >= PART_BYTES || is_last && !part.is_empty() {
                let rest = part.split_off(part.len().min(PART_BYTES));
                let number = u16::try_from(parts.len() + 1).map_err(|_| too_large())?;
                size_bytes += part.len() as u64;
                parts.push(upload.upload_part(number, std::mem::replace(&mut part, rest)).await.map_err(unavailable)?);
            }
            if is_last {
                return Ok((parts, size_bytes));
            }
        }
    };
    match stored.await {
        Ok((parts, size_bytes)) => {
            upload.complete(parts).await.map_err(unavailable)?;
            Ok(Exported { size_bytes })
        }
        Err(error) => {
            if let Err(error) = upload.abort().await {
                log::warn(None, &format!("an upload that has failed is left to the bucket's own limit: {error}"));
            }
            Err(error)
        }
    }
}

/// Extracts what the key has.
async fn import(object: &Object, bucket: &Bucket, key: &str, url: &str) -> Result<Extracted, Error> {
    let missing = || Error::not_found("there is no archive under this key").because("no_such_key");
    let stored = bucket.get(key).execute().await.map_err(unavailable)?.ok_or_else(missing)?;
    let body = stored.body().ok_or_else(missing)?.stream().map_err(internal)?;
    let lease = object.supervisor.ready().await?;
    let mut init = RequestInit::new();
    init.with_method(Method::Put).with_body(Some(stream_body(body)?));
    let request = Request::new_with_init(url, &init).map_err(internal)?;
    let answer = Agent::new(&lease)?.fetch(&request, None).await.map_err(broken)?;
    handle::decode(forward::check(answer)?).await
}

fn unavailable(error: worker::Error) -> Error {
    Error::new(Code::ContainerNotReady, format!("the bucket of archives does not answer: {error}")).because("bucket")
}

fn too_large() -> Error {
    Error::new(Code::PayloadTooLarge, "the archive is larger than the bucket takes at once")
}
