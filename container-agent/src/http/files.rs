//! The byte lane: `GET`, `HEAD`, `PUT` and `DELETE /v1/files?path=…`. Content passes through in pieces; only what is small is held
//! whole.

mod content;
mod part;
mod upload;

#[cfg(any(test, feature = "fuzzing"))]
pub(super) use part::fuzz;

use axum::{
    body::Body,
    extract::{RawQuery, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use cabana_protocol::{
    Error,
    file::{FilePath, Mode},
};

use super::answer::{self, Failure};
use crate::{
    Agent, dispatch,
    file::{self, Conditions, Opened, Tags},
};
use part::Part;

/// Content of up to so many bytes is held whole: to hand it from thread to thread takes longer than to read or write it.
const SMALL_BYTES: u64 = 64 << 10;

/// The query of the byte lane.
struct Query {
    path: FilePath,
    mode: Option<Mode>,
}

impl Query {
    fn of(query: Option<&str>) -> Result<Self, Error> {
        let (mut path, mut mode) = (None, None);
        for (name, value) in form(query.unwrap_or_default()) {
            match name.as_slice() {
                b"path" => path = Some(value.into()),
                b"mode" => mode = Some(String::from_utf8_lossy(&value).parse()?),
                _ => {}
            }
        }
        let path = path.ok_or_else(|| Error::invalid_request("the query names no path: /files?path=…"))?;
        Ok(Self { path, mode })
    }
}

/// The pairs of a query, decoded to bytes: a path need not be UTF-8.
pub(super) fn form(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let decode = |text: &str| percent_encoding::percent_decode_str(&text.replace('+', " ")).collect::<Vec<u8>>();
    query.split('&').map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// What the header demands of a file.
///
/// Fails with `invalid_request` for a condition that is not understood: it must not be taken for none.
fn conditions(headers: &HeaderMap) -> Result<Conditions, Error> {
    if headers.contains_key(header::IF_UNMODIFIED_SINCE) {
        return Err(Error::invalid_request("If-Unmodified-Since is not supported; If-Match names a version exactly"));
    }
    let if_match = tags(headers, header::IF_MATCH)?;
    Ok(Conditions { if_match, if_none_match: tags(headers, header::IF_NONE_MATCH)? })
}

/// The tags that a field lists, on however many lines.
fn tags(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, Error> {
    let lines: Result<Vec<_>, _> = headers.get_all(&name).iter().map(HeaderValue::to_str).collect();
    let lines = lines.map_err(|_| Error::invalid_request(format!("{name} is not text")))?;
    if lines.is_empty() { Ok(None) } else { lines.join(",").parse().map(Some) }
}

/// Serves `GET`, and, as axum leaves the body out, `HEAD`.
pub(super) async fn get(
    State(agent): State<Agent>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    download(agent, query, &method, &headers).await.map_err(|error| Failure::new(&headers, error))
}

async fn download(agent: Agent, query: Option<String>, method: &Method, headers: &HeaderMap) -> Result<Response, Error> {
    let Query { path, .. } = Query::of(query.as_deref())?;
    let conditions = conditions(headers)?;
    let asked = path.clone();
    let opened = file::blocking(&agent, move |roots| {
        let opened = file::open(roots, &path)?;
        Ok((content::whole(&opened), opened))
    });
    let (whole, opened) = opened.await?;
    conditions.check_match(&asked, Some(&opened.etag))?;
    let part = match &conditions.if_none_match {
        Some(tags) if tags.match_weakly(&opened.etag) => Part::Unchanged,
        _ => Part::of(method, headers, &opened),
    };
    let mut answer = described(&opened, part)?;
    let (first, length) = part.bytes(opened.size_bytes);
    if length > 0 {
        *answer.body_mut() = match whole.and_then(|whole| content::part(&whole, first, length)) {
            Some(part) => part.into(),
            None => Body::from_stream(content::pieces(opened.file, first, length)),
        };
    }
    Ok(answer)
}

/// The head of an answer with this part of a file.
fn described(opened: &Opened, part: Part) -> Result<Response, Error> {
    let text = |value: &str| HeaderValue::from_str(value).map_err(|error| Error::internal(error.to_string()));
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = part.status();
    let fields = answer.headers_mut();
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    fields.insert(header::ETAG, text(&opened.etag)?);
    fields.insert(header::LAST_MODIFIED, text(&httpdate::fmt_http_date(opened.modified))?);
    if let Some(range) = part.content_range(opened.size_bytes) {
        fields.insert(header::CONTENT_RANGE, text(&range)?);
    }
    // Where nothing is sent because nothing changed, it is the length of what would have been.
    let length = if part == Part::Unchanged { opened.size_bytes } else { part.bytes(opened.size_bytes).1 };
    fields.insert(header::CONTENT_LENGTH, length.into());
    Ok(answer)
}

pub(super) async fn put(State(agent): State<Agent>, RawQuery(query): RawQuery, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let written = upload::receive(&agent, query, &parts.headers, body).await;
    let written = written.and_then(|written| Ok((written.created, dispatch::encode(&written)?)));
    let (created, body) = written.map_err(|error| Failure::new(&parts.headers, error))?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, answer::json(body)).into_response())
}

pub(super) async fn delete(
    State(agent): State<Agent>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let asked = Query::of(query.as_deref()).and_then(|query| Ok((query.path, conditions(&headers)?)));
    let deleted = match asked {
        Ok((path, conditions)) => file::delete(&agent, path, conditions).await,
        Err(error) => Err(error),
    };
    deleted.map(|()| StatusCode::NO_CONTENT).map_err(|error| Failure::new(&headers, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_any_path() {
        let query = Query::of(Some("mode=755&path=a%2Fb+c%FF&x")).unwrap();
        assert_eq!(query.path.as_bytes(), b"a/b c\xff");
        assert_eq!(query.mode, Some("0755".parse().unwrap()));
        for bad in ["", "mode=755", "path=a&mode=9"] {
            assert!(Query::of(Some(bad)).is_err(), "{bad}");
        }
    }
}
