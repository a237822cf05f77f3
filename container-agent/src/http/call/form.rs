//! The forms of an answer, and which one a client accepts.

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, header},
};
use cabana_protocol::{Error, line::Line, raw::RESULT_TRAILER};
use hyper::body::Frame;

use crate::dispatch::{Encoding, RawOutput};

/// The id of the last event that a client of server-sent events got before it lost its connection.
pub(super) const LAST_EVENT_ID: &str = "last-event-id";

/// How a streaming operation is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One JSON value at the end.
    Json,
    /// A line for each event.
    Ndjson,
    /// Server-sent events.
    Sse,
    /// The raw bytes of events; the result is a trailer.
    Raw,
}

/// A frame of a body. An error breaks the connection off.
pub(super) type Piece = Result<Frame<Bytes>, Error>;

/// A media range of an Accept header (RFC 9110, section 12.5.1).
struct Range<'a> {
    media_type: &'a str,
    /// In thousandths.
    quality: u16,
}

impl Form {
    /// In the order in which they are preferred where a client likes several equally.
    pub(super) const ALL: [Self; 4] = [Self::Json, Self::Ndjson, Self::Sse, Self::Raw];

    /// The form that the client likes best, of those that there are; JSON where it accepts none.
    pub(super) fn accepted(headers: &HeaderMap, raw: bool) -> Self {
        let fields = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<_> = fields.flat_map(|field| field.split(',')).filter_map(Range::parse).collect();
        let best = Self::ALL.into_iter().rev().filter(|form| raw || *form != Self::Raw).filter_map(|form| {
            let (quality, place) = form.quality(&ranges)?;
            // A wildcard does not ask for anything but the default, unless that is refused.
            Some(((quality, place.map(std::cmp::Reverse)), form)).filter(|_| quality > 0)
        });
        best.max_by_key(|(liking, _)| *liking).map_or(Self::Json, |(_, form)| form)
    }

    /// How much a client likes this form, and where in the field it names it. The most specific range decides.
    fn quality(self, ranges: &[Range<'_>]) -> Option<(u16, Option<usize>)> {
        let find = |media_type: &str| ranges.iter().position(|range| range.media_type.eq_ignore_ascii_case(media_type));
        if let Some(place) = find(self.media_type()) {
            return Some((ranges[place].quality, Some(place)));
        }
        let kind = self.media_type().split('/').next().unwrap_or_default();
        let wildcard = find(&format!("{kind}/*")).or_else(|| find("*/*")).filter(|_| self != Self::Raw);
        wildcard.map(|place| (ranges[place].quality, None))
    }

    /// Its media type.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Sse => "text/event-stream",
            Self::Raw => "application/octet-stream",
        }
    }

    /// How events are encoded for it.
    pub(super) fn encoding(self) -> Encoding {
        match self {
            Self::Json | Self::Ndjson => Encoding::Lines,
            Self::Sse => Encoding::Sse,
            Self::Raw => Encoding::Raw,
        }
    }

    /// What means nothing to its reader and shows that the connection is alive. The raw form has no such thing.
    pub(super) const fn heartbeat(self) -> Option<Bytes> {
        match self {
            Self::Json => Some(Bytes::from_static(b" ")),
            Self::Ndjson => Some(Bytes::from_static(b"\n")),
            Self::Sse => Some(Bytes::from_static(b":\n\n")),
            Self::Raw => None,
        }
    }

    /// Where a client of server-sent events resumes.
    pub(super) fn position(self, headers: &HeaderMap) -> Result<Option<u64>, Error> {
        let Some(id) = headers.get(LAST_EVENT_ID).filter(|_| self == Self::Sse) else { return Ok(None) };
        let position = id.to_str().ok().and_then(|id| id.parse().ok());
        position.map(Some).ok_or_else(|| Error::invalid_request(format!("{LAST_EVENT_ID} is not the id of an event")))
    }

    /// A piece of output as the conversation has encoded it; an error is encoded here.
    pub(super) fn frame(self, output: RawOutput) -> Piece {
        match output {
            RawOutput::Event(bytes, _) | RawOutput::Binary(bytes, _) => Ok(Frame::data(bytes)),
            RawOutput::Silent(_) => Ok(Frame::data(Bytes::new())),
            RawOutput::Result(json) if self == Self::Raw => Ok(Frame::trailers(trailers(&json))),
            RawOutput::Result(line) => Ok(Frame::data(line)),
            RawOutput::Error(error) if self == Self::Raw => Err(error),
            RawOutput::Error(error) => {
                let encoding = self.encoding();
                let (before, after) = encoding.around();
                let line = Line::<(), ()>::Error(error).encode().unwrap_or_default();
                Ok(Frame::data([before.as_bytes(), &line, after.as_bytes()].concat().into()))
            }
        }
    }
}

impl<'a> Range<'a> {
    /// Reads `type/subtype;q=0.5`. A quality that is none counts as 1.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().filter(|media_type| !media_type.is_empty())?;
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality = quality.and_then(|quality| quality.parse::<f32>().ok()).filter(|quality| (0.0..=1.0).contains(quality));
        Some(Self { media_type, quality: (quality.unwrap_or(1.0) * 1_000.0).round() as u16 })
    }
}

/// The result of the raw form. JSON of ours is ASCII but for text of the sandbox, of which a result has none.
fn trailers(result: &Bytes) -> HeaderMap {
    let value = HeaderValue::from_maybe_shared(result.clone()).ok();
    value.map(|value| (header::HeaderName::from_static(RESULT_TRAILER), value)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &[&str], raw: bool) -> Form {
        let headers = accept.iter().map(|value| (header::ACCEPT, value.parse().unwrap())).collect();
        Form::accepted(&headers, raw)
    }

    #[test]
    fn the_form_that_a_client_likes_best_is_taken() {
        for (accept, form) in [
            (&[][..], Form::Json),
            (&["*/*"], Form::Json),
            (&["application/json"], Form::Json),
            (&["application/x-ndjson"], Form::Ndjson),
            (&["text/html, text/event-stream;q=0.9"], Form::Sse),
            (&["image/png", "application/x-ndjson"], Form::Ndjson),
            (&["application/x-ndjson;q=0.5, text/event-stream;q=0.8"], Form::Sse),
            (&["text/event-stream, application/x-ndjson"], Form::Sse),
            (&["application/json;q=0, */*"], Form::Ndjson),
            (&["application/json; q=0.1, application/x-ndjson; q=0.2"], Form::Ndjson),
            (&["application/x-ndjson;q=0"], Form::Json),
            (&["application/json;q=0"], Form::Json),
            (&["*/*, application/x-ndjson;q=0.5"], Form::Json),
            (&["application/x-ndjson, */*"], Form::Ndjson),
            (&["text/*"], Form::Sse),
            (&["Application/X-NDJSON"], Form::Ndjson),
            (&["application/x-ndjson;q=high"], Form::Ndjson),
            (&["application/octet-stream"], Form::Raw),
            (&["application/json;q=0, application/x-ndjson;q=0, */*"], Form::Sse),
        ] {
            assert_eq!(accepted(accept, true), form, "{accept:?}");
        }
        assert_eq!(accepted(&["application/octet-stream"], false), Form::Json, "an operation without a raw form");
    }
}
