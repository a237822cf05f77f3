//! The bridge: the HTTP interface of Cloudflare's TypeScript Sandbox SDK 0.x below `/v1/sandbox`, as the OpenAI Agents SDKs speak it.
//!
//! Each request becomes one or two requests to the API on behalf of the same caller, so that scopes, quotas, audit and wake hold as for any
//! other. An id is that of a sandbox. Every error is `{"error": <text>, "code": <code>}`.

mod exec;
mod pty;

use cabana::{RequestId, SandboxId, proxy_to_sandbox, request_id};
use cabana_protocol::{Code, Error, error::ErrorBody};
use serde_json::{Value, json};
use worker::{
    Headers, Method, Request, RequestInit, Response, ResponseBuilder, Url,
    wasm_bindgen::JsValue,
    web_sys::{self, ReadableStream},
};

use crate::{BINDING, call::Call};

/// The directory that is saved and loaded, and that sessions start in.
const WORKSPACE: &str = "/workspace";

/// A request of the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `POST /v1/sandbox`: makes a sandbox.
    Create,
    /// `DELETE /v1/sandbox/{id}`: destroys it.
    Delete(String),
    /// `GET /v1/sandbox/{id}/running`: whether it can be used.
    Running(String),
    /// `POST /v1/sandbox/{id}/exec`: runs a command and streams its output.
    Exec(String),
    /// `GET /v1/sandbox/{id}/file/{path}`, with the path as it is in the URL.
    Read(String, String),
    /// `PUT /v1/sandbox/{id}/file/{path}`
    Write(String, String),
    /// `POST /v1/sandbox/{id}/persist`: the workspace as a tar archive.
    Persist(String),
    /// `POST /v1/sandbox/{id}/hydrate`: extracts one.
    Hydrate(String),
    /// `POST /v1/sandbox/{id}/mount`: refused.
    Mount(String),
    /// `POST /v1/sandbox/{id}/unmount`: there is nothing to do.
    Unmount(String),
    /// `POST /v1/sandbox/{id}/session`
    CreateSession(String),
    /// `DELETE /v1/sandbox/{id}/session/{name}`
    DeleteSession(String, String),
    /// `GET /v1/sandbox/{id}/pty`, a WebSocket.
    Pty(String),
    /// `GET /v1/pool/stats`: there is no pool.
    PoolStats,
    /// `POST /v1/pool/prime` and `/v1/pool/shutdown-prewarmed`: there is nothing to do.
    PoolChange,
}

impl Route {
    /// The route of a path's segments behind `/v1`; `None` where the bridge has none.
    pub fn parse(method: &str, segments: &[&str]) -> Option<Self> {
        let id = |id: &&str| (*id).to_owned();
        Some(match (method, segments) {
            ("POST", ["sandbox"]) => Self::Create,
            ("DELETE", ["sandbox", sandbox]) => Self::Delete(id(sandbox)),
            ("GET", ["sandbox", sandbox, "running"]) => Self::Running(id(sandbox)),
            ("POST", ["sandbox", sandbox, "exec"]) => Self::Exec(id(sandbox)),
            ("GET", ["sandbox", sandbox, "file", path @ ..]) => Self::Read(id(sandbox), path.join("/")),
            ("PUT", ["sandbox", sandbox, "file", path @ ..]) => Self::Write(id(sandbox), path.join("/")),
            ("POST", ["sandbox", sandbox, "persist"]) => Self::Persist(id(sandbox)),
            ("POST", ["sandbox", sandbox, "hydrate"]) => Self::Hydrate(id(sandbox)),
            ("POST", ["sandbox", sandbox, "mount"]) => Self::Mount(id(sandbox)),
            ("POST", ["sandbox", sandbox, "unmount"]) => Self::Unmount(id(sandbox)),
            ("POST", ["sandbox", sandbox, "session"]) => Self::CreateSession(id(sandbox)),
            ("DELETE", ["sandbox", sandbox, "session", name]) => Self::DeleteSession(id(sandbox), id(name)),
            ("GET", ["sandbox", sandbox, "pty"]) => Self::Pty(id(sandbox)),
            ("GET", ["pool", "stats"]) => Self::PoolStats,
            ("POST", ["pool", "prime" | "shutdown-prewarmed"]) => Self::PoolChange,
            _ => return None,
        })
    }
}

/// Whether errors of this path have the bridge's form.
pub fn is_bridge(path: &str) -> bool {
    let mut segments = path.trim_matches('/').split('/');
    segments.next() == Some("v1") && matches!(segments.next(), Some("sandbox" | "pool"))
}

/// Moves the credentials of a terminal's URL to the header: a browser's WebSocket cannot set one. Other paths stay as they are.
pub fn with_credentials(request: Request, url: &Url) -> Request {
    if !url.path().trim_end_matches('/').ends_with("/pty") || !is_bridge(url.path()) {
        return request;
    }
    let credentials = url.query_pairs().find(|(name, _)| name == "authorization").map(|(_, value)| value.into_owned());
    let Some(credentials) = credentials.filter(|_| !request.headers().has("authorization").unwrap_or(true)) else {
        return request;
    };
    let Ok(mut copy) = request.clone_mut() else { return request };
    let is_set = copy.headers_mut().is_ok_and(|headers| headers.set("authorization", &credentials).is_ok());
    if is_set { copy } else { request }
}

/// The response for an error.
pub fn error(error: &Error, request_id: &RequestId) -> Response {
    let message = if error.code == Code::Internal { "internal error" } else { &error.message };
    let body = json!({ "error": message, "code": error.code });
    cabana::reply::json(error.code.status(), &body, request_id)
}

/// Answers a request.
pub async fn answer(mut call: Call, route: Route) -> Result<Response, Error> {
    match route {
        Route::Create => {
            // The body is ignored: ports, times and mounts of a client have no meaning here.
            let made = Bridge::new(&call).json(Method::Post, "/v1/sandboxes", Some(&json!({}))).await?;
            Ok(call.json(200, &json!({ "id": made["id"] })))
        }
        Route::Delete(id) => {
            let id = parse_id(&id)?;
            Bridge::new(&call).json(Method::Delete, &format!("/v1/sandboxes/{id}"), None).await?;
            Ok(call.empty())
        }
        Route::Running(id) => {
            let id = parse_id(&id)?;
            // One that sleeps keeps its files, and wakes with the next call.
            let running = match Bridge::new(&call).json(Method::Get, &format!("/v1/sandboxes/{id}"), None).await {
                Ok(_) => true,
                Err(error) if error.code == Code::NotFound => false,
                Err(error) => return Err(error),
            };
            Ok(call.json(200, &json!({ "running": running })))
        }
        Route::Exec(id) => exec::answer(call, parse_id(&id)?).await,
        Route::Read(id, path) => {
            let target = file(&parse_id(&id)?, &path)?;
            let answer = Bridge::new(&call).send(Method::Get, &target, JsValue::UNDEFINED).await?;
            // The content's own type could have a client take it for something else.
            Ok(cabana::reply::with_header(answer, "content-type", "application/octet-stream"))
        }
        Route::Write(id, path) => {
            let target = file(&parse_id(&id)?, &path)?;
            Bridge::new(&call).send(Method::Put, &target, body(&call.request)).await?;
            Ok(call.json(200, &json!({ "ok": true })))
        }
        Route::Persist(id) => {
            let id = parse_id(&id)?;
            let excludes = call.parameter("excludes").unwrap_or_default();
            let target = archive(&id, excludes.split(',').filter(|exclude| !exclude.is_empty()))?;
            let answer = Bridge::new(&call).send(Method::Get, &target, JsValue::UNDEFINED).await?;
            Ok(cabana::reply::with_header(answer, "content-type", "application/octet-stream"))
        }
        Route::Hydrate(id) => {
            let target = archive(&parse_id(&id)?, [])?;
            let content = body(&call.request);
            let is_empty = call.request.headers().get("content-length").ok().flatten().as_deref() == Some("0");
            if is_empty || content.is_undefined() {
                return Err(Error::invalid_request("Empty tar payload"));
            }
            Bridge::new(&call).send(Method::Put, &target, content).await?;
            Ok(call.json(200, &json!({ "ok": true })))
        }
        Route::Mount(id) => {
            parse_id(&id)?;
            let message = "buckets cannot be mounted: copy files by PUT …/file, or give a program in the sandbox its own access";
            Err(Error::new(Code::NotImplemented, message))
        }
        Route::Unmount(id) => {
            parse_id(&id)?;
            Ok(call.json(200, &json!({ "ok": true })))
        }
        Route::CreateSession(id) => {
            let id = parse_id(&id)?;
            let fields: serde_json::Map<String, Value> = call.body().await?;
            let mut session = json!({});
            for (from, to) in [("id", "name"), ("cwd", "cwd"), ("env", "env")] {
                if let Some(value) = fields.get(from).filter(|value| !value.is_null()) {
                    session[to] = value.clone();
                }
            }
            let path = format!("/v1/sandboxes/{id}/session/create");
            let made = Bridge::new(&call).json(Method::Post, &path, Some(&session)).await?;
            let name = session.get("name").unwrap_or(&made["session"]);
            Ok(call.json(200, &json!({ "id": name })))
        }
        Route::DeleteSession(id, name) => {
            let id = parse_id(&id)?;
            let path = format!("/v1/sandboxes/{id}/session/delete");
            Bridge::new(&call).json(Method::Post, &path, Some(&json!({ "session": decode(&name)? }))).await?;
            let timestamp = crate::time::format(crate::time::now());
            Ok(call.json(200, &json!({ "success": true, "sessionId": name, "timestamp": timestamp })))
        }
        Route::Pty(id) => pty::answer(&call, &parse_id(&id)?).await,
        Route::PoolStats => Ok(call.json(200, &json!({ "warm": 0, "assigned": 0, "total": 0, "maxInstances": null }))),
        Route::PoolChange => Ok(call.json(200, &json!({ "ok": true }))),
    }
}

fn parse_id(id: &str) -> Result<SandboxId, Error> {
    id.parse().map_err(|_| Error::invalid_request(format!("Invalid sandbox ID format: {id:.128}")))
}

/// The session that a request names in its header.
///
/// Fails with `invalid_request` where that is no name of a session.
fn session(call: &Call) -> Result<Option<String>, Error> {
    let name = call.request.headers().get("session-id").ok().flatten().filter(|name| !name.is_empty());
    name.map(check_session).transpose()
}

fn check_session(name: String) -> Result<String, Error> {
    let is_name = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let wrong = || Error::invalid_request("Session-Id takes 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'");
    if is_name { Ok(name) } else { Err(wrong()) }
}

/// The body of a request, to be passed on as it comes; undefined where there is none.
fn body(request: &Request) -> JsValue {
    request.inner().body().map_or(JsValue::UNDEFINED, ReadableStream::into)
}

/// Where the API has the file of a path in a URL of the bridge.
fn file(id: &SandboxId, path: &str) -> Result<String, Error> {
    let segments: Vec<String> = path.split('/').map(decode).collect::<Result<_, _>>()?;
    let path = format!("/{}", segments.join("/"));
    if path == "/" {
        return Err(Error::invalid_request("the path of a file is missing"));
    }
    target(id, "files", [("path", path.as_str())])
}

/// Where the API has the archive of the workspace.
fn archive<'a>(id: &SandboxId, excludes: impl IntoIterator<Item = &'a str>) -> Result<String, Error> {
    let mut parameters = vec![("path", WORKSPACE)];
    for exclude in excludes {
        if exclude.split('/').any(|segment| segment == "..") {
            return Err(Error::invalid_request("excludes must be within /workspace: a path with `..` is not"));
        }
        parameters.push(("exclude", exclude));
    }
    target(id, "archive", parameters)
}

fn target<'a>(id: &SandboxId, name: &str, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<String, Error> {
    let mut url =
        Url::parse(&format!("http://cabana/v1/sandboxes/{id}/{name}")).map_err(|error| Error::internal(error.to_string()))?;
    url.query_pairs_mut().extend_pairs(parameters);
    Ok(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
}

/// A segment of a path without its percent-encoding.
fn decode(segment: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, after @ ..] = rest {
        let encoded = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match encoded.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid_request("the path is not UTF-8"))
}

/// The API on behalf of the caller.
struct Bridge<'a> {
    call: &'a Call,
}

impl<'a> Bridge<'a> {
    fn new(call: &'a Call) -> Self {
        Self { call }
    }

    /// Sends a request and returns its answer as a stream. An answer with an error status is that error.
    async fn send(&self, method: Method, path: &str, body: JsValue) -> Result<Response, Error> {
        let headers = Headers::new();
        self.dispatch(method, path, body, headers).await
    }

    async fn dispatch(&self, method: Method, path: &str, body: JsValue, headers: Headers) -> Result<Response, Error> {
        let failed = |error: worker::Error| Error::internal(format!("a request of the bridge: {error}"));
        headers.set(request_id::HEADER, self.call.request_id.as_str()).map_err(failed)?;
        let mut init = RequestInit::new();
        init.with_method(method).with_headers(headers);
        if !body.is_undefined() {
            init.with_body(Some(body));
        }
        let init: web_sys::RequestInit = (&init).into();
        // A client that disconnects aborts its request.
        init.set_signal(Some(&self.call.request.inner().signal()));
        let request = web_sys::Request::new_with_str_and_init(&format!("http://cabana{path}"), &init)
            .map_err(|error| Error::internal(format!("a request of the bridge: {error:?}")))?;
        let Call { env, context, principal, .. } = self.call;
        let mut answer = proxy_to_sandbox(request.into(), env, context, BINDING, principal).await;
        if answer.status_code() < 400 {
            return Ok(answer);
        }
        let bytes = answer.bytes().await.unwrap_or_default();
        let error = serde_json::from_slice::<ErrorBody>(&bytes).map(|body| body.error);
        Err(error.unwrap_or_else(|_| Error::new(Code::AgentUnavailable, "the answer cannot be understood")))
    }

    /// Sends JSON, and reads the answer; one without content is null.
    async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        let body = body.map_or(JsValue::UNDEFINED, |body| body.to_string().into());
        let mut answer = self.send(method, path, body).await?;
        let broken = |_| Error::new(Code::Interrupted, "the answer broke off; its work may have been done");
        let bytes = answer.bytes().await.map_err(broken)?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        if let Some(late) = ErrorBody::late(&bytes) {
            return Err(late.error);
        }
        serde_json::from_slice(&bytes).map_err(|_| Error::new(Code::AgentUnavailable, "the answer cannot be understood"))
    }
}

/// A streamed answer of this media type.
fn streamed(media_type: &str, response: Response, request_id: &RequestId) -> Response {
    let headers = [("content-type", media_type), ("cache-control", "no-store"), (request_id::HEADER, request_id.as_str())];
    headers.into_iter().fold(response, |response, (name, value)| cabana::reply::with_header(response, name, value))
}

/// An answer that opens a WebSocket.
fn upgraded(socket: worker::WebSocket, request_id: &RequestId) -> Result<Response, Error> {
    let response = ResponseBuilder::new().with_status(101).with_websocket(socket).empty();
    Ok(cabana::reply::with_header(response, request_id::HEADER, request_id.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes() {
        let id = "sbx-a".to_owned();
        for (method, path, route) in [
            ("POST", "sandbox", Some(Route::Create)),
            ("GET", "sandbox/sbx-a/file/workspace/a%2Fb", Some(Route::Read(id.clone(), "workspace/a%2Fb".to_owned()))),
            ("PUT", "sandbox/sbx-a/file/x", Some(Route::Write(id.clone(), "x".to_owned()))),
            ("GET", "sandbox/sbx-a/running", Some(Route::Running(id.clone()))),
            ("DELETE", "sandbox/sbx-a", Some(Route::Delete(id.clone()))),
            ("DELETE", "sandbox/sbx-a/session/s", Some(Route::DeleteSession(id.clone(), "s".to_owned()))),
            ("POST", "pool/prime", Some(Route::PoolChange)),
            ("GET", "sandbox", None),
            ("POST", "sandbox/sbx-a/tunnel/3000", None),
        ] {
            let segments: Vec<_> = path.split('/').collect();
            assert_eq!(Route::parse(method, &segments), route, "{method} {path}");
        }
        for (path, expected) in
            [("/v1/sandbox", true), ("/v1/sandbox/a/exec", true), ("/v1/sandboxes", false), ("/v2/sandbox", false)]
        {
            assert_eq!(is_bridge(path), expected, "{path}");
        }
    }

    #[test]
    fn names_of_sessions_are_checked() {
        assert_eq!(check_session("a-1._B".to_owned()), Ok("a-1._B".to_owned()));
        for wrong in ["a/../b", "a b", "é", &"x".repeat(65)] {
            assert!(check_session(wrong.to_owned()).unwrap_err().message.starts_with("Session-Id takes"), "{wrong}");
        }
    }

    #[test]
    fn paths_are_decoded_segment_by_segment() {
        let id: SandboxId = "sbx-a".parse().unwrap();
        for (path, expected) in [
            ("workspace/a", "/v1/sandboxes/sbx-a/files?path=%2Fworkspace%2Fa"),
            ("workspace/a%20b%25%C3%A9", "/v1/sandboxes/sbx-a/files?path=%2Fworkspace%2Fa+b%25%C3%A9"),
            ("workspace/a%2Fb%zz", "/v1/sandboxes/sbx-a/files?path=%2Fworkspace%2Fa%2Fb%25zz"),
        ] {
            assert_eq!(file(&id, path).unwrap(), expected, "{path}");
        }
        assert!(file(&id, "").is_err() && file(&id, "%ff").is_err());
        let excluded = archive(&id, ["node_modules", "a/b"]).unwrap();
        assert_eq!(excluded, "/v1/sandboxes/sbx-a/archive?path=%2Fworkspace&exclude=node_modules&exclude=a%2Fb");
        assert!(archive(&id, ["a/../.."]).is_err());
    }
}
