//! Structured logs: one JSON object a line, so that nothing a caller sends can make a line of its own.

use serde_json::{Map, Value, json};

/// Something that went wrong and was dealt with.
pub fn warn(request_id: Option<&str>, message: &str) {
    write(&line("warn", request_id, message), |line| worker::console_warn!("{line}"));
}

/// Something that should not happen.
pub fn error(request_id: Option<&str>, message: &str) {
    write(&line("error", request_id, message), |line| worker::console_error!("{line}"));
}

/// Natively, in tests, there is no console of the runtime.
fn write(line: &str, console: impl FnOnce(&str)) {
    if cfg!(target_arch = "wasm32") {
        console(line);
    } else {
        println!("{line}");
    }
}

/// One request that the gateway has answered.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// The request's name in every hop's logs.
    pub request_id: &'a str,
    /// Its method.
    pub method: &'a str,
    /// Its path, as far as it is the same for all callers, see [`route`]. What else is in a URL may be a secret.
    pub route: &'a str,
    /// The answer's status.
    pub status: u16,
    /// How long the answer took, as far as its head, in milliseconds.
    pub duration_ms: u64,
    /// Who asked, by name; `None` for those who could not say.
    pub principal: Option<&'a str>,
    /// On whose behalf.
    pub tenant: Option<&'a str>,
}

impl Answered<'_> {
    /// Writes the line.
    pub fn log(&self) {
        worker::console_log!("{}", self.line());
    }

    fn line(&self) -> String {
        let Self { request_id, method, route, status, duration_ms, principal, tenant } = self;
        json!({
            "level": "info",
            "message": "request",
            "request_id": request_id,
            "method": method.chars().take(16).collect::<String>(),
            "route": route,
            "status": status,
            "duration_ms": duration_ms,
            "principal": principal,
            "tenant": tenant,
        })
        .to_string()
    }
}

/// Families below `/v1` whose segments are words and names in turn.
const FAMILIES: [&str; 4] = ["keys", "projects", "kinds", "sandboxes"];

/// A URL's path with names in place of what callers choose: `/v1/sandboxes/{id}/file/read`. What is no route of ours is `…`.
pub fn route(path: &str) -> String {
    let segments: Vec<_> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        ["health" | "mcp"] | ["v1", "openapi.json"] | ["docs"] => format!("/{}", segments.join("/")),
        ["v1", family] if FAMILIES.contains(family) => format!("/v1/{family}"),
        ["v1", family, _] if FAMILIES.contains(family) => format!("/v1/{family}/{{id}}"),
        ["v1", "sandbox", _, "connect"] => "/v1/sandboxes/{id}/connect".to_owned(),
        ["v1", family, _, rest @ ..] if FAMILIES.contains(family) => format!("/v1/{family}/{{id}}/{}", below(rest)),
        _ => "…".to_owned(),
    }
}

/// Words that follow a name.
const WORDS: [&str; 19] = [
    "archive",
    "archives",
    "audit",
    "audit/verify",
    "connect",
    "env",
    "events",
    "files",
    "fork",
    "links",
    "mcp",
    "metrics",
    "ports",
    "restart",
    "snapshots",
    "start",
    "stop",
    "tokens",
    "upgrade",
];

fn below(rest: &[&str]) -> String {
    let rest = rest.join("/");
    let known = WORDS.contains(&rest.as_str()) || cabana_protocol::table::find(&rest.replace('/', ".")).is_some();
    if known { rest } else { "…".to_owned() }
}

fn line(level: &str, request_id: Option<&str>, message: &str) -> String {
    let mut line = Map::from_iter([("level".to_owned(), level.into()), ("message".to_owned(), Value::from(message))]);
    if let Some(request_id) = request_id {
        line.insert("request_id".to_owned(), request_id.into());
    }
    Value::Object(line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line() {
        for message in ["a\nb", "\r\n{\"level\":\"info\"}", "\u{1b}[2K", "\"", "\u{2028}"] {
            let line = line("warn", Some("r-1"), message);
            let read: Value = serde_json::from_str(&line).unwrap();
            assert_eq!((read["message"].as_str(), read["request_id"].as_str()), (Some(message), Some("r-1")));
            assert!(!line.contains(['\n', '\r', '\u{1b}']), "{line}");
        }
    }

    #[test]
    fn a_request_is_told_without_what_its_url_holds() {
        let route = route("/v1/sandboxes/sbx-a/connect");
        let answered = Answered {
            request_id: "r-1",
            method: "GET",
            route: &route,
            status: 101,
            duration_ms: 7,
            principal: Some("key:a\n"),
            tenant: None,
        };
        let expected = r#"{"duration_ms":7,"level":"info","message":"request","method":"GET","principal":"key:a\n","request_id":"r-1","route":"/v1/sandboxes/{id}/connect","status":101,"tenant":null}"#;
        assert_eq!(answered.line(), expected);
    }

    #[test]
    fn routes() {
        for (path, expected) in [
            ("/health", "/health"),
            ("/v1/sandboxes", "/v1/sandboxes"),
            ("/v1/sandboxes/", "/v1/sandboxes"),
            ("/v1/sandboxes/sbx-a", "/v1/sandboxes/{id}"),
            ("/v1/sandboxes/sbx-a/exec", "/v1/sandboxes/{id}/exec"),
            ("/v1/sandboxes/sbx-a/file/read", "/v1/sandboxes/{id}/file/read"),
            ("/v1/sandboxes/sbx-a/audit/verify", "/v1/sandboxes/{id}/audit/verify"),
            ("/v1/sandboxes/sbx-a/cab_secret", "/v1/sandboxes/{id}/…"),
            ("/v1/sandbox/sbx-a/connect", "/v1/sandboxes/{id}/connect"),
            ("/v1/keys/k1", "/v1/keys/{id}"),
            ("/cab_secret", "…"),
            ("/v1/\n", "…"),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }
}
