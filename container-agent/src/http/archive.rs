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
    file::{Extracted, FilePath},
};
use futures_util::{StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, mpsc::Receiver};

use super::{
    answer::{self, Failure},
    files::form,
    upload_headers::check_upload,
};
use crate::{
    Agent, dispatch,
    file::{
        self,
        archive::{self, Filter, Format, Inlet, Piece},
    },
    limits,
    threads::{self, Length},
};

/// The query of an archive.
struct Query {
    path: FilePath,
    format: Format,
    filter: Filter,
}

impl Query {
    fn of(query: Option<&str>) -> Result<Self, Error> {
        let (mut path, mut format, mut include, mut exclude) = (None, Format::default(), Vec::new(), Vec::new());
        for (name, value) in form(query.unwrap_or_default()) {
            match name.as_slice() {
                b"path" => path = Some(value.into()),
                b"format" => format = text(value)?.parse()?,
                b"include" => include.push(text(value)?),
                b"exclude" => exclude.push(text(value)?),
                _ => {}
            }
        }
        let path = path.ok_or_else(|| Error::invalid_request("the query names no path: /archive?path=…"))?;
        Ok(Self { path, format, filter: Filter::new(&include, &exclude)? })
    }
}

fn text(value: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(value).map_err(|_| Error::invalid_request("a glob, or a format, is UTF-8"))
}

/// A place among the archives that are worked on at once: each takes a thread and some memory.
fn place(agent: &Agent) -> Result<OwnedSemaphorePermit, Error> {
    let place = agent.archives.clone().try_acquire_owned();
    place.map_err(|_| limits::reached(agent.limits.archives, "archives are being made or extracted"))
}

pub(super) async fn get(State(agent): State<Agent>, RawQuery(query): RawQuery, headers: HeaderMap) -> Result<Response, Failure> {
    download(agent, query).await.map_err(|error| Failure::new(&headers, error))
}

async fn download(agent: Agent, query: Option<String>) -> Result<Response, Error> {
    let Query { path, format, filter } = Query::of(query.as_deref())?;
    let place = place(&agent)?;
    let (mut output, mut pieces) = archive::outlet();
    // It ends when nobody takes its pieces any more.
    let creation = threads::run(Length::Long, move || {
        let created = archive::create(&agent.roots, &path, format, &filter, &mut output).and_then(|()| output.pass());
        // Who has seen the end may ask for the next.
        drop(place);
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
    let mut response = answer::typed(format.media_type(), Body::from_stream(body(first, pieces)));
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
                tracing::warn!("an archive broke off: {error}");
                Some((Err(error), None))
            }
            None => Some((Err(Error::internal("an archive broke off")), None)),
        }
    });
    stream::iter([Ok(first)]).chain(rest)
}

pub(super) async fn put(State(agent): State<Agent>, RawQuery(query): RawQuery, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let mut pieces = body.into_data_stream();
    match upload(agent, query, &parts.headers, &mut pieces).await.and_then(|extracted| dispatch::encode(&extracted)) {
        Ok(body) => Ok(answer::json(body)),
        Err(error) => {
            answer::linger(pieces).await;
            Err(Failure::new(&parts.headers, error))
        }
    }
}

async fn upload(
    agent: Agent,
    query: Option<String>,
    headers: &HeaderMap,
    pieces: &mut BodyDataStream,
) -> Result<Extracted, Error> {
    check_upload(headers)?;
    let Query { path, .. } = Query::of(query.as_deref())?;
    let place = place(&agent)?;
    let (inlet, input) = archive::inlet();
    let limits = agent.limits.archive();
    // It ends when its input does, or breaks off.
    let extraction = file::blocking_for(Length::Long, &agent, move |roots| {
        let _place = place;
        archive::extract(roots, &path, input, limits)
    });
    let (extracted, ()) = tokio::join!(extraction, feed(inlet, pieces));
    extracted
}

/// Hands on what the client sends, as long as somebody takes it.
async fn feed(inlet: Inlet, pieces: &mut BodyDataStream) {
    while let Some(piece) = pieces.next().await {
        let (piece, last) = match piece {
            Ok(bytes) => (Piece::Bytes(bytes), false),
            Err(error) => (Piece::Broken(Error::invalid_request(format!("the upload broke off: {error}"))), true),
        };
        if !inlet.send(piece).await || last {
            return;
        }
    }
    inlet.send(Piece::End).await;
}
