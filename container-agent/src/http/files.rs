//! The byte lane: `GET`, `HEAD`, `PUT` and `DELETE /v1/files?path=…`. Content passes through in pieces, never held whole.

use std::{os::unix::fs::FileExt, sync::Arc};

use axum::{
    body::{Body, BodyDataStream, Bytes},
    extract::{RawQuery, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::BytesMut;
use cabana_protocol::{
    Error,
    file::{FilePath, Mode, Written},
};
use futures_util::{Stream, StreamExt, stream};

use super::answer::{self, Failure};
use crate::{
    Agent,
    buffers::Buffers,
    dispatch,
    file::{self, Conditions, Opened, Upload},
};

/// Bytes read from a file at a time: enough to hide the way to the thread that reads, little enough to hold for every download.
const READ_BYTES: u64 = 256 << 10;

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
fn form(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let decode = |text: &str| percent_encoding::percent_decode_str(&text.replace('+', " ")).collect::<Vec<u8>>();
    query.split('&').map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// Serves `GET`, and, as axum leaves the body out, `HEAD`.
pub(super) async fn get(State(agent): State<Agent>, RawQuery(query): RawQuery, headers: HeaderMap) -> Result<Response, Failure> {
    download(agent, query, &headers).await.map_err(|error| Failure::new(&headers, error))
}

async fn download(agent: Agent, query: Option<String>, headers: &HeaderMap) -> Result<Response, Error> {
    let Query { path, .. } = Query::of(query.as_deref())?;
    let opened = file::blocking(&agent, move |roots| file::open(roots, &path)).await?;
    let (status, first, length) = match Part::of(headers, &opened) {
        Part::Unchanged => (StatusCode::NOT_MODIFIED, 0, 0),
        Part::Whole => (StatusCode::OK, 0, opened.size_bytes),
        Part::Range { first, length } => (StatusCode::PARTIAL_CONTENT, first, length),
        Part::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
    };
    let size = opened.size_bytes;
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    let fields = answer.headers_mut();
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    fields.insert(header::ETAG, text(&opened.etag)?);
    fields.insert(header::LAST_MODIFIED, text(&httpdate::fmt_http_date(opened.modified))?);
    match status {
        StatusCode::NOT_MODIFIED => return Ok(answer),
        StatusCode::PARTIAL_CONTENT => {
            fields.insert(header::CONTENT_RANGE, text(&format!("bytes {first}-{}/{size}", first + length - 1))?);
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            fields.insert(header::CONTENT_RANGE, text(&format!("bytes */{size}"))?);
        }
        _ => {}
    }
    fields.insert(header::CONTENT_LENGTH, length.into());
    *answer.body_mut() = Body::from_stream(content(opened, first, length));
    Ok(answer)
}

fn text(value: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(value).map_err(|error| Error::internal(error.to_string()))
}

/// Which part of a file is wanted, RFC 9110 sections 13 and 14.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Unchanged,
    Whole,
    Range { first: u64, length: u64 },
    Unsatisfiable,
}

impl Part {
    fn of(headers: &HeaderMap, opened: &Opened) -> Self {
        let value = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if value(header::IF_NONE_MATCH).is_some_and(|tags| tags == "*" || tags.split(',').any(|tag| tag.trim() == opened.etag)) {
            return Self::Unchanged;
        }
        let fresh = value(header::IF_RANGE).is_none_or(|tag| tag == opened.etag);
        match value(header::RANGE).filter(|_| fresh) {
            Some(range) => Self::of_range(range, opened.size_bytes),
            None => Self::Whole,
        }
    }

    /// One range is served; several, or one that is no range at all, give the whole file, as section 14.2 allows.
    fn of_range(range: &str, size: u64) -> Self {
        let bounds = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
        let Some((first, last)) = bounds else { return Self::Whole };
        let (first, last) = match (first.trim().parse().ok(), last.trim().parse().ok()) {
            (Some(first), Some(last)) if first <= last => (first, last),
            (Some(first), None) if last.trim().is_empty() => (first, u64::MAX),
            (None, Some(length)) if first.trim().is_empty() && length > 0 => (size.saturating_sub(length), u64::MAX),
            (None, Some(0)) if first.trim().is_empty() => return Self::Unsatisfiable,
            _ => return Self::Whole,
        };
        let last = last.min(size.saturating_sub(1));
        if first >= size { Self::Unsatisfiable } else { Self::Range { first, length: last - first + 1 } }
    }
}

/// Reads piece by piece, each when the one before is on its way. A file that has become shorter ends the connection early, so
/// that the client sees that something is missing.
fn content(opened: Opened, first: u64, length: u64) -> impl Stream<Item = std::io::Result<Bytes>> {
    let file = Arc::new(opened.file);
    stream::unfold((first, first + length, Buffers::default()), move |(at, end, mut buffers)| {
        let file = Arc::clone(&file);
        async move {
            let want = READ_BYTES.min(end - at);
            if want == 0 {
                return None;
            }
            let want = usize::try_from(want).unwrap_or(usize::MAX);
            let mut buffer = buffers.take(want);
            buffer.resize(want, 0);
            let read = tokio::task::spawn_blocking(move || read_some(&file, at, buffer)).await;
            let read = read.unwrap_or_else(|error| Err(error.into())).map(|mut buffer| {
                let piece = buffer.split().freeze();
                buffers.keep(buffer);
                piece
            });
            let next = read.as_ref().map_or(end, |piece| at + piece.len() as u64);
            Some((read, (next, end, buffers)))
        }
    })
}

/// Fills as much of the buffer as one read gives, and cuts off the rest.
fn read_some(file: &std::fs::File, at: u64, mut buffer: BytesMut) -> std::io::Result<BytesMut> {
    match file.read_at(&mut buffer, at)? {
        0 => Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the file became shorter")),
        count => {
            buffer.truncate(count);
            Ok(buffer)
        }
    }
}

pub(super) async fn put(State(agent): State<Agent>, RawQuery(query): RawQuery, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let written = upload(&agent, query, &parts, body).await;
    let written = written.and_then(|written| Ok((written.created, dispatch::encode(&written)?)));
    let (created, body) = written.map_err(|error| Failure::new(&parts.headers, error))?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, answer::json(body)).into_response())
}

async fn upload(agent: &Agent, query: Option<String>, parts: &Parts, body: Body) -> Result<Written, Error> {
    let mut pieces = body.into_data_stream();
    match receive(agent, query, parts, &mut pieces).await {
        Ok(upload) => file::blocking(agent, move |roots| upload.finish(roots)).await,
        Err(error) => {
            answer::linger(pieces).await;
            Err(error)
        }
    }
}

async fn receive(agent: &Agent, query: Option<String>, parts: &Parts, pieces: &mut BodyDataStream) -> Result<Upload, Error> {
    let Query { path, mode } = Query::of(query.as_deref())?;
    let conditions = conditions(&parts.headers);
    let mut upload = file::blocking(agent, move |roots| Upload::begin(roots, path, mode, conditions)).await?;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| Error::invalid_request(format!("the upload broke off: {error}")))?;
        upload = file::blocking(agent, move |_| upload.write(&piece).map(|()| upload)).await?;
    }
    Ok(upload)
}

fn conditions(headers: &HeaderMap) -> Conditions {
    let value = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
    Conditions { if_match: value(header::IF_MATCH), if_none_match: value(header::IF_NONE_MATCH) }
}

pub(super) async fn delete(
    State(agent): State<Agent>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let deleted = match Query::of(query.as_deref()) {
        Ok(Query { path, .. }) => file::delete(&agent, path, conditions(&headers)).await,
        Err(error) => Err(error),
    };
    deleted.map(|()| StatusCode::NO_CONTENT).map_err(|error| Failure::new(&headers, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        let range = |first, length| Part::Range { first, length };
        for (text, size, part) in [
            ("bytes=0-0", 10, range(0, 1)),
            ("bytes=2-", 10, range(2, 8)),
            ("bytes=-3", 10, range(7, 3)),
            ("bytes=-30", 10, range(0, 10)),
            ("bytes=2-99", 10, range(2, 8)),
            ("bytes=10-", 10, Part::Unsatisfiable),
            ("bytes=0-", 0, Part::Unsatisfiable),
            ("bytes=0-1,3-4", 10, Part::Whole),
            ("lines=1-2", 10, Part::Whole),
            ("bytes=b-a", 10, Part::Whole),
            ("bytes=5-2", 10, Part::Whole),
            ("bytes=-0", 10, Part::Unsatisfiable),
            ("bytes=99999999999999999999-", 10, Part::Whole),
        ] {
            assert_eq!(Part::of_range(text, size), part, "{text} of {size}");
        }
    }

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
