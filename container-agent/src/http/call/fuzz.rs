//! Fuzzing of the headers that choose the form of a response and where it begins.
#![allow(clippy::unwrap_used, reason = "a property that does not hold is told by a panic")]

use axum::http::HeaderValue;

use super::{
    form::{Form, LAST_EVENT_ID},
    *,
};

/// Accept headers, a line each, and a Last-Event-ID in the last line: no form is chosen that is not accepted, and only server-sent events
/// begin at an id, which is a number.
pub fn headers(bytes: &[u8]) {
    let (mut headers, mut lines) = (HeaderMap::new(), bytes.split(|byte| *byte == b'\n'));
    let id = lines.next_back().and_then(|id| HeaderValue::from_bytes(id).ok());
    for value in lines.filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        headers.append(header::ACCEPT, value);
    }
    headers.extend(id.clone().map(|id| (LAST_EVENT_ID.parse::<axum::http::HeaderName>().unwrap(), id)));
    let form = Form::accepted(&headers, true);
    let accepts = |media_type: &str| {
        headers
            .get_all(header::ACCEPT)
            .iter()
            .any(|value| value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains(media_type)))
    };
    if form != Form::Json {
        assert!(accepts(form.media_type()) || form != Form::Raw && accepts("/*"));
    }
    for form in Form::ALL {
        match (form.position(&headers), &id) {
            (Ok(None), None) => {}
            (Ok(None), Some(_)) => assert_ne!(form, Form::Sse),
            (Ok(Some(position)), Some(id)) => {
                let digits = id.to_str().unwrap().trim_start_matches('+').trim_start_matches('0');
                assert_eq!((form, position.to_string().trim_start_matches('0')), (Form::Sse, digits));
            }
            (Ok(Some(_)), None) => panic!("a position without an id"),
            (Err(error), _) => assert_eq!((form, error.code), (Form::Sse, Code::InvalidRequest)),
        }
    }
}
