//! `POST /v1/<family>/<verb>`: any operation, in the form that the client accepts.

#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::http) mod fuzz;

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use bytes::BytesMut;
use cabana_protocol::{Code, Error, line::Line};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::time::timeout;

use super::answer::{self, Failure};
use crate::{
    Agent,
    dispatch::{self, Asked, Conversation, Encoding, Entry, Pending, Said},
};

/// How long an operation may be silent before the connection is shown to be alive.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What a client of server-sent events sends that has lost its connection: the id of the last one it got.
const LAST_EVENT_ID: &str = "last-event-id";

/// How a streaming operation is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One JSON value at the end.
    Fold,
    /// A line for each event.
    Ndjson,
    /// Server-sent events.
    Sse,
}

pub(super) async fn call(State(agent): State<Agent>, path: Result<Path<String>, PathRejection>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // A name that is not text is no operation's.
    let path = path.map(|Path(path)| path).unwrap_or_default();
    let mut about = String::new();
    let answered = answer(agent, &path, &parts.headers, body, &mut about).await;
    let response = answered.map_err(|error| Failure::new(&parts.headers, error)).into_response();
    answer::about(response, &about)
}

async fn answer(agent: Agent, path: &str, headers: &HeaderMap, body: Body, about: &mut String) -> Result<Response, Error> {
    let entry = match dispatch::find(&path.replace('/', ".")) {
        Ok(entry) => entry,
        Err(error) => {
            answer::linger(body.into_data_stream()).await;
            return Err(error);
        }
    };
    let body = read(body, agent.limits.request_bytes).await?;
    match (entry, Form::of(headers)) {
        (Entry::Call(call), _) => {
            let answer = call(agent, Asked::from(&*body), false, about)?;
            drop(body);
            Ok(answer::json(answer.await?.json))
        }
        (Entry::Stream { fold, .. }, Form::Fold) => folded(fold(agent, body, about)?).await,
        (Entry::Stream { start, .. }, form) => {
            let conversation = start(agent, Asked::from(&*body), form.position(headers)?, form.encoding(), about)?;
            Ok(streamed(conversation, form))
        }
    }
}

/// The whole body, up to the limit.
async fn read(body: Body, limit: usize) -> Result<Bytes, Error> {
    let mut pieces = body.into_data_stream();
    let mut whole = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| Error::invalid_request(format!("the request broke off: {error}")))?;
        if whole.len() + piece.len() > limit {
            answer::linger(pieces).await;
            let error = Error::new(Code::PayloadTooLarge, format!("the request is larger than {limit} bytes"));
            return Err(error.with_details(json!({ "limit_bytes": limit })));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// One answer at the end. A command may be silent for long, and a hop on the way may notice only by writing that the client is
/// gone, or take silence for death: after a while the answer begins with spaces, which JSON allows. A failure after that breaks
/// the connection off, as there is no status left to tell it by.
async fn folded(mut fold: Pending<Result<Bytes, Error>>) -> Result<Response, Error> {
    if let Ok(answer) = timeout(HEARTBEAT, &mut fold).await {
        return answer.map(answer::json);
    }
    let body = stream::unfold(Some(fold), async |fold| {
        let mut fold = fold?;
        Some(match timeout(HEARTBEAT, &mut fold).await {
            Ok(answer) => (answer, None),
            Err(_) => (Ok(Bytes::from_static(b" ")), Some(fold)),
        })
    });
    Ok(answer::typed("application/json", Body::from_stream(body)))
}

impl Form {
    /// The first form that the client accepts and we have.
    fn of(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut types = accepted.flat_map(|value| value.split(',')).filter_map(|range| range.split(';').next());
        let form = types.find_map(|media_type| match media_type.trim() {
            "application/x-ndjson" => Some(Self::Ndjson),
            "text/event-stream" => Some(Self::Sse),
            "application/json" => Some(Self::Fold),
            _ => None,
        });
        form.unwrap_or(Self::Fold)
    }

    fn encoding(self) -> Encoding {
        if self == Self::Sse { Encoding::Sse } else { Encoding::Lines }
    }

    /// Where a client of server-sent events had come to before it lost its connection.
    fn position(self, headers: &HeaderMap) -> Result<Option<u64>, Error> {
        let Some(id) = headers.get(LAST_EVENT_ID).filter(|_| self == Self::Sse) else { return Ok(None) };
        let position = id.to_str().ok().and_then(|id| id.parse().ok());
        position.map(Some).ok_or_else(|| Error::invalid_request(format!("{LAST_EVENT_ID} is no id of an event")))
    }
}

/// Says it as it comes, and after silence something that means nothing. A client that goes away drops the body, and with it
/// the conversation.
fn streamed(conversation: Conversation, form: Form) -> Response {
    // HTTP has no way to tell a running operation anything.
    let Conversation { said, .. } = conversation;
    let lines = stream::unfold(said, move |mut said| async move {
        let frame = match timeout(HEARTBEAT, said.next()).await {
            Ok(said) => frame(form, said?),
            Err(_) if form == Form::Sse => Bytes::from_static(b":\n\n"),
            Err(_) => Bytes::from_static(b"\n"),
        };
        Some((Ok::<_, Infallible>(frame), said))
    });
    let media_type = if form == Form::Sse { "text/event-stream" } else { "application/x-ndjson" };
    let mut response = answer::typed(media_type, Body::from_stream(lines));
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// What is said, as the conversation has encoded it; an error is encoded here.
fn frame(form: Form, said: Said) -> Bytes {
    match said {
        Said::Event(line) | Said::Binary(line) | Said::Result(line) => line,
        Said::Error(error) => {
            let encoding = form.encoding();
            let (before, after) = encoding.around();
            let line = Line::<(), ()>::Error(error).encode().unwrap_or_default();
            [before.as_bytes(), &line, after.as_bytes()].concat().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_accepted_form_we_have_is_taken() {
        for (accept, form) in [
            (&[][..], Form::Fold),
            (&["*/*"], Form::Fold),
            (&["application/json"], Form::Fold),
            (&["application/x-ndjson"], Form::Ndjson),
            (&["text/html, text/event-stream;q=0.9"], Form::Sse),
            (&["image/png", "application/x-ndjson"], Form::Ndjson),
        ] {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, value.parse().unwrap());
            }
            assert_eq!(Form::of(&headers), form, "{accept:?}");
        }
    }
}
