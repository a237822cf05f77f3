//! The byte lane: `GET`, `HEAD`, `PUT` and `DELETE /v1/files?path=…`. Content passes through in pieces; only what is small is held
//! whole.

mod content;
mod part;
mod upload;

#[cfg(any(test, feature = "fuzzing"))]
pub(super) use part::fuzz;

use std::{borrow::Cow, time::SystemTime};

use axum::{
    body::Body,
    extract::{RawQuery, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use cabana_protocol::{
    Code, Error,
    file::{FilePath, Mode, RelativePaths},
    names::{invalid_parameter, missing_parameter, unknown_parameter},
};

use serde_json::json;

use super::{
    answer::{self, ErrorResponse},
    upload_headers::number,
};
use crate::{
    Agent,
    dispatch::{self, query_pairs},
    file,
    file::{Conditions, Opened, Tags},
};
use part::Part;

/// Content of up to so many bytes is held whole: to hand it from thread to thread takes longer than to read or write it.
const SMALL_BYTES: u64 = 64 << 10;

/// The query of the byte lane.
struct Query {
    path: FilePath,
    /// The session in whose directory a relative path begins.
    session: Option<String>,
    mode: Option<Mode>,
    /// The most that an upload may bring.
    max_bytes: Option<u64>,
}

impl Query {
    fn of(query: Option<&str>) -> Result<Self, Error> {
        let (mut path, mut session, mut mode, mut max_bytes) = (None, None, None, None);
        for (name, value) in query_pairs(query.unwrap_or_default()) {
            match name.as_slice() {
                b"path" => path = Some(value.into()),
                b"session" => session = Some(String::from_utf8_lossy(&value).into_owned()),
                b"mode" => mode = Some(String::from_utf8_lossy(&value).parse()?),
                b"max_bytes" => {
                    let number = std::str::from_utf8(&value).ok().and_then(number);
                    max_bytes = Some(number.ok_or_else(|| invalid_parameter("max_bytes", "a whole number from 0"))?);
                }
                name => return Err(unknown_parameter(&String::from_utf8_lossy(name), &["path", "session", "mode", "max_bytes"])),
            }
        }
        let path = path.ok_or_else(|| missing_parameter("path"))?;
        Ok(Self { path, session, mode, max_bytes })
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
    let lines = lines.map_err(|_| Error::invalid_request(format!("{name} is not ASCII")))?;
    if lines.is_empty() { Ok(None) } else { lines.join(",").parse().map(Some) }
}

/// Serves `GET`, and, as axum leaves the body out, `HEAD`.
pub(super) async fn get(
    State(agent): State<Agent>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ErrorResponse> {
    download(agent, query, &method, &headers).await.map_err(|error| ErrorResponse::new(&headers, error))
}

async fn download(agent: Agent, query: Option<String>, method: &Method, headers: &HeaderMap) -> Result<Response, Error> {
    let Query { path, .. } = Query::located(query.as_deref(), &agent).await?;
    let conditions = conditions(headers)?;
    let (asked, heads) = (path.clone(), method == Method::HEAD);
    let opened = agent.fs.run(move |roots| {
        let opened = match file::open(roots, &path) {
            Err(error) if heads && is_directory(&error) => return file::modified_at(roots, &path).map(Found::Directory),
            opened => opened?,
        };
        let whole = content::whole(&opened);
        Ok(Found::File { media_type: content::media_type(&path, &opened, whole.as_ref()), whole, opened })
    });
    let (whole, opened, media_type) = match opened.await? {
        Found::File { whole, opened, media_type } => (whole, opened, media_type),
        Found::Directory(modified) => return directory_head(modified),
    };
    conditions.check_match(&asked, Some(&opened.etag))?;
    let part = match &conditions.if_none_match {
        Some(tags) if tags.match_weakly(&opened.etag) => Part::Unchanged,
        None if part::is_unmodified(headers, &opened) => Part::Unchanged,
        _ => Part::of(method, headers, &opened),
    };
    if part == Part::Unsatisfiable {
        return unsatisfiable(headers, &asked, &opened);
    }
    let mut answer = response_head(&opened, part, &media_type)?;
    let (first, length) = part.bytes(opened.size_bytes);
    if length > 0 {
        *answer.body_mut() = match whole.and_then(|whole| content::part(&whole, first, length)) {
            Some(part) => part.into(),
            None => Body::from_stream(content::pieces(opened.file, first, length)),
        };
    }
    Ok(answer)
}

/// What is at a path.
enum Found {
    File {
        whole: Option<bytes::Bytes>,
        opened: Opened,
        media_type: Cow<'static, str>,
    },
    /// When it was last changed.
    Directory(SystemTime),
}

fn is_directory(error: &Error) -> bool {
    error.details.as_ref().is_some_and(|details| details["reason"] == "is_a_directory")
}

/// The head of a directory, which has no content; `GET …/archive` and `file.list` tell what is in it.
fn directory_head(modified: SystemTime) -> Result<Response, Error> {
    let mut answer = Response::new(Body::empty());
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("inode/directory"));
    fields.insert(header::LAST_MODIFIED, text(&httpdate::fmt_http_date(modified))?);
    Ok(answer)
}

fn text(value: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(value).map_err(|error| Error::internal(error.to_string()))
}

/// The answer to a range that begins behind the file's end: an error that says how long the file is.
fn unsatisfiable(headers: &HeaderMap, path: &FilePath, opened: &Opened) -> Result<Response, Error> {
    let size_bytes = opened.size_bytes;
    let error =
        Error::new(Code::RangeNotSatisfiable, format!("{path}: has {size_bytes} bytes, and the range begins behind them"));
    let error = error.with_details(json!({ "path": path, "size_bytes": size_bytes }));
    let mut answer = response_head(opened, Part::Unsatisfiable, "application/json")?;
    let (mut parts, body) = ErrorResponse::new(headers, error).into_response().into_parts();
    for name in [header::ACCEPT_RANGES, header::ETAG, header::LAST_MODIFIED, header::CONTENT_RANGE] {
        parts.headers.extend(answer.headers_mut().remove(&name).map(|value| (name, value)));
    }
    Ok(Response::from_parts(parts, body))
}

/// The head of an answer with this part of a file.
fn response_head(opened: &Opened, part: Part, media_type: &str) -> Result<Response, Error> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = part.status();
    let fields = answer.headers_mut();
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(header::CONTENT_TYPE, text(media_type)?);
    // A page that a sandbox has written is no page of the service.
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
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

pub(super) async fn put(
    State(agent): State<Agent>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, ErrorResponse> {
    let (parts, body) = request.into_parts();
    let written = upload::receive(&agent, query, &parts.headers, body).await;
    let written = written.and_then(|written| Ok((written.created, dispatch::encode_line(&written)?)));
    let (created, body) = written.map_err(|error| ErrorResponse::new(&parts.headers, error))?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, answer::json(body)).into_response())
}

pub(super) async fn delete(
    State(agent): State<Agent>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<StatusCode, ErrorResponse> {
    let asked = Query::located(query.as_deref(), &agent).await.and_then(|query| Ok((query.path, conditions(&headers)?)));
    let deleted = match asked {
        Ok((path, conditions)) => file::delete(&agent, path, conditions).await,
        Err(error) => Err(error),
    };
    deleted.map(|()| StatusCode::NO_CONTENT).map_err(|error| ErrorResponse::new(&headers, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_any_path() {
        let query = Query::of(Some("mode=755&path=a%2Fb+c%FF&")).unwrap();
        assert_eq!(query.path.as_bytes(), b"a/b c\xff");
        assert_eq!(query.mode, Some("0755".parse().unwrap()));
        for bad in ["", "mode=755", "path=a&mode=9", "path=a&x", "path=a&modes=644", "path=a&max_bytes=-1", "path=a&max_bytes="] {
            assert!(Query::of(Some(bad)).is_err(), "{bad}");
        }
    }
}
