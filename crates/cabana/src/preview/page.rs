//! What a visitor is told in place of a program's answer: JSON, or a page where his browser asks for one.

use cabana_protocol::{Code, Error};
use worker::{Response, ResponseBuilder};

use crate::{RequestId, reply};

/// The response for an error. Nothing of the request is in it.
pub(crate) fn error(error: &Error, accept: Option<&str>, request_id: &RequestId) -> Response {
    let response = reply::with_header(reply::error(error, request_id), "cache-control", "no-store");
    if !wants_page(accept) {
        return response;
    }
    let headers = response.headers().clone();
    let page = ResponseBuilder::new().with_status(error.code.status()).with_headers(headers).fixed(page(error).into_bytes());
    [("content-type", "text/html; charset=utf-8"), ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'")]
        .into_iter()
        .fold(page, |page, (name, value)| reply::with_header(page, name, value))
}

/// The one answer to whatever is not there for the visitor: which of the many reasons it has is nobody's business.
pub(crate) fn nobody() -> Error {
    Error::not_found("nothing is here: no such preview, or it is closed or expired")
}

fn wants_page(accept: Option<&str>) -> bool {
    let types = accept.unwrap_or_default().split(',').map(|range| range.split(';').next().unwrap_or_default().trim());
    types.into_iter().any(|kind| kind.eq_ignore_ascii_case("text/html"))
}

fn page(error: &Error) -> String {
    // It comes by itself once it is there.
    let again = error.retry_after_ms().map(|milliseconds| {
        let seconds = milliseconds.div_ceil(1_000).max(1);
        format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">")
    });
    let (again, title, message) = (again.unwrap_or_default(), title(error.code), escape(&error.message));
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">{again}<title>{title}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;margin:20vh auto;max-width:34em;padding:0 1em}}</style>\
         <h1>{title}</h1><p>{message}</p></html>\n"
    )
}

fn title(code: Code) -> &'static str {
    match code {
        Code::NotFound => "Nothing is here",
        Code::Unauthorized => "This preview is private",
        Code::Forbidden => "Not allowed",
        Code::ContainerNotReady => "Not ready yet",
        _ => "That did not work",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault;

    #[test]
    fn browsers_get_pages() {
        for (accept, expected) in [
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), true),
            (Some("application/json, Text/HTML;q=0.1"), true),
            (Some("*/*"), false),
            (Some("application/json"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(wants_page(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_page_is_only_text() {
        let shown = page(&Error::not_found("<script>&"));
        assert!(shown.contains("<p>&lt;script&gt;&amp;</p>") && !shown.contains("refresh"), "{shown}");
        let shown = page(&fault::not_ready("soon"));
        assert!(shown.contains("<meta http-equiv=\"refresh\" content=\"1\">") && shown.contains("<p>soon</p>"), "{shown}");
    }
}
