//! Which request is which: method and path in, a route out. Pure.

use std::borrow::Cow;

use cabana_protocol::{
    Access, Code, Error, SandboxId,
    sandbox::{ArchiveId, SnapshotId},
    table,
};
use serde_json::json;

use crate::preview::{self, Port};

/// What a request under `/v1/sandboxes` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    /// `POST /v1/sandboxes`
    Create,
    /// `GET /v1/sandboxes`
    List,
    /// `GET /v1/sandboxes/{id}`
    Info(SandboxId),
    /// `PATCH /v1/sandboxes/{id}`
    Update(SandboxId),
    /// `DELETE /v1/sandboxes/{id}`
    Destroy(SandboxId),
    /// What else the sandbox's Durable Object answers for itself: `/v1/sandboxes/{id}/<action>`.
    Control {
        /// The sandbox.
        id: SandboxId,
        /// What follows the id, without the slash.
        action: &'a str,
    },
    /// `GET`, `DELETE /v1/sandboxes/{id}/snapshots/{snapshot}`, `POST …/restore`
    Snapshot {
        /// The sandbox.
        id: SandboxId,
        /// The snapshot.
        snapshot: SnapshotId,
        /// Whether it is to be restored.
        restores: bool,
    },
    /// `GET`, `DELETE /v1/sandboxes/{id}/archives/{archive}`, `POST …/restore`
    Archive {
        /// The sandbox.
        id: SandboxId,
        /// The archive.
        archive: ArchiveId,
        /// Whether it is to be restored.
        restores: bool,
    },
    /// `GET`, `POST /v1/sandboxes/{id}/ports`
    Ports(SandboxId),
    /// `GET`, `DELETE /v1/sandboxes/{id}/ports/{port}`
    Port(SandboxId, Port),
    /// Any method on `/v1/sandboxes/{id}/ports/{port}/proxy/<rest>`: for a program in the sandbox.
    Proxy {
        /// The sandbox.
        id: SandboxId,
        /// Where the program listens.
        port: Port,
        /// The program's own path, without the slash that it begins with, as it came.
        rest: &'a str,
    },
    /// Any method on `/v1/sandboxes/{id}/<rest>`: for the agent, which alone knows its operations.
    Agent {
        /// The sandbox.
        id: SandboxId,
        /// What follows the id, without the slash, as it came.
        rest: &'a str,
    },
}

/// What a Durable Object answers for itself below a sandbox's id, and by which methods.
const ACTIONS: [Action; 13] = [
    ("start", &["POST"], &[]),
    ("stop", &["POST"], &[]),
    ("restart", &["POST"], &[]),
    ("env", &["GET", "HEAD"], &[]),
    ("snapshots", &["GET", "HEAD", "POST"], &[]),
    ("upgrade", &["POST"], &[]),
    ("archives", &["GET", "HEAD", "POST"], &[]),
    ("fork", &["POST"], &[]),
    ("events", &["GET", "HEAD"], &["follow", "from"]),
    ("audit", &["GET", "HEAD"], &["from", "to", "operation", "principal", "outcome", "limit", "cursor"]),
    ("audit/verify", &["GET", "HEAD"], &["cursor"]),
    ("metrics", &["GET", "HEAD"], &["format"]),
    ("network", &["GET", "HEAD"], &[]),
];

/// What follows a sandbox's id, its methods, and the parameters of its query.
type Action = (&'static str, &'static [&'static str], &'static [&'static str]);

/// The parameters of `GET /v1/sandboxes`.
pub(crate) const LIST_PARAMETERS: &[&str] =
    &["label", "kind", "project", "state", "name", "tenant", "sort", "order", "limit", "cursor"];

impl<'a> Route<'a> {
    /// The route of a method and a URL's path, which the URL parser has freed of dot segments.
    ///
    /// Ids may be percent-encoded, and a trailing slash after `sandboxes` or the id is of no account. `HEAD` counts as `GET`.
    /// Fails with `not_found` (no such path), `invalid_request` (bad id), and `method_not_allowed`, whose details name the methods that
    /// the path takes.
    pub fn parse(method: &str, path: &'a str) -> Result<Self, Error> {
        if let Some(sandbox) = path.strip_prefix("/v1/sandbox/") {
            return Self::connect_alias(method, sandbox).unwrap_or_else(|| Err(unknown(path)));
        }
        let Some(sandboxes) = path.strip_prefix("/v1/sandboxes") else {
            return Err(unknown(path));
        };
        match sandboxes.strip_prefix('/') {
            None if !sandboxes.is_empty() => Err(unknown(path)),
            None | Some("") => {
                allow(method, &["GET", "HEAD", "POST"], |method| Ok(if method == "POST" { Self::Create } else { Self::List }))
            }
            Some(sandbox) => match sandbox.split_once('/') {
                None | Some((_, "")) => Self::of_sandbox(method, sandbox.trim_end_matches('/')),
                Some((id, rest)) => Self::within(method, parse_id(id)?, rest),
            },
        }
    }

    /// The sandbox that it is about.
    pub fn sandbox(&self) -> Option<&SandboxId> {
        match self {
            Self::Create | Self::List => None,
            Self::Info(id) | Self::Update(id) | Self::Destroy(id) | Self::Ports(id) | Self::Port(id, _) => Some(id),
            Self::Archive { id, .. } => Some(id),
            Self::Control { id, .. } | Self::Snapshot { id, .. } | Self::Proxy { id, .. } | Self::Agent { id, .. } => Some(id),
        }
    }

    /// What a request of this route amounts to, passed to `then`.
    ///
    /// What the agent alone knows is taken for something that changes the sandbox.
    pub fn access<T>(&self, method: &str, then: impl FnOnce(&Access<'_>) -> T) -> T {
        let look = method == "GET" || method == "HEAD";
        let (operation, read_only) = match self {
            Self::Create => (Cow::Borrowed("sandbox.create"), false),
            Self::List => (Cow::Borrowed("sandbox.list"), true),
            Self::Update(_) => (Cow::Borrowed("sandbox.update"), false),
            Self::Info(_) => (Cow::Borrowed("sandbox.get"), true),
            Self::Destroy(_) => (Cow::Borrowed("sandbox.delete"), false),
            Self::Control { action: "audit", .. } => (Cow::Borrowed("audit.list"), true),
            Self::Control { action: "audit/verify", .. } => (Cow::Borrowed("audit.verify"), true),
            Self::Control { action: "metrics", .. } => (Cow::Borrowed("metrics.get"), true),
            Self::Control { action: "network", .. } => (Cow::Borrowed("network.get"), true),
            Self::Control { action: "snapshots", .. } if look => (Cow::Borrowed("snapshot.list"), true),
            Self::Control { action: "snapshots", .. } => (Cow::Borrowed("snapshot.create"), false),
            Self::Snapshot { restores: true, .. } => (Cow::Borrowed("snapshot.restore"), false),
            Self::Snapshot { .. } if look => (Cow::Borrowed("snapshot.get"), true),
            Self::Snapshot { .. } => (Cow::Borrowed("snapshot.delete"), false),
            Self::Control { action: "archives", .. } if look => (Cow::Borrowed("archive.list"), true),
            Self::Control { action: "archives", .. } => (Cow::Borrowed("archive.create"), false),
            Self::Archive { restores: true, .. } => (Cow::Borrowed("archive.restore"), false),
            Self::Archive { .. } if look => (Cow::Borrowed("archive.get"), true),
            Self::Archive { .. } => (Cow::Borrowed("archive.delete"), false),
            Self::Control { action, .. } => (Cow::Owned(format!("sandbox.{action}")), look),
            Self::Ports(_) | Self::Port(..) if look => (Cow::Borrowed("port.get"), true),
            Self::Ports(_) => (Cow::Borrowed("port.expose"), false),
            Self::Port(..) => (Cow::Borrowed("port.close"), false),
            // What it does, the program alone knows.
            Self::Proxy { .. } => (Cow::Borrowed(preview::OPERATION), false),
            Self::Agent { rest, .. } => match rest.trim_end_matches('/') {
                "files" | "archive" if look => (Cow::Borrowed("file.read"), true),
                "files" | "archive" => (Cow::Borrowed("file.write"), false),
                // What is said over the socket is judged frame by frame.
                "connect" => (Cow::Borrowed(Access::CONNECT), true),
                rest => {
                    let name = rest.replace('/', ".");
                    let read_only = table::find(&name).is_some_and(|operation| operation.read_only);
                    (Cow::Owned(name), read_only)
                }
            },
        };
        then(&Access { sandbox: self.sandbox(), operation: &operation, read_only })
    }

    fn of_sandbox(method: &str, id: &str) -> Result<Self, Error> {
        allow(method, &["GET", "HEAD", "PATCH", "DELETE"], |method| {
            let id = parse_id(id)?;
            Ok(match method {
                "DELETE" => Self::Destroy(id),
                "PATCH" => Self::Update(id),
                _ => Self::Info(id),
            })
        })
    }

    /// What follows a sandbox's id.
    fn within(method: &str, id: SandboxId, rest: &'a str) -> Result<Self, Error> {
        let action = rest.strip_suffix('/').unwrap_or(rest);
        if let Some((_, methods, _)) = ACTIONS.iter().find(|(name, ..)| *name == action) {
            return allow(method, methods, |_| Ok(Self::Control { id, action }));
        }
        if let Some(snapshot) = rest.strip_prefix("snapshots/") {
            let (methods, snapshot, restores) = Self::of_list("snapshots", snapshot)?;
            let snapshot = percent_decode(snapshot).parse()?;
            return allow(method, methods, |_| Ok(Self::Snapshot { id, snapshot, restores }));
        }
        if let Some(archive) = rest.strip_prefix("archives/") {
            let (methods, archive, restores) = Self::of_list("archives", archive)?;
            let archive = percent_decode(archive).parse()?;
            return allow(method, methods, |_| Ok(Self::Archive { id, archive, restores }));
        }
        let Some(ports) = rest.strip_prefix("ports").filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
            return Self::of_agent(method, id, rest);
        };
        let (port, rest) = match ports.trim_start_matches('/').split_once('/') {
            None => (ports.trim_start_matches('/'), ""),
            Some((port, rest)) => (port, rest),
        };
        match (port, rest.strip_prefix("proxy").filter(|rest| rest.is_empty() || rest.starts_with('/'))) {
            ("", _) => allow(method, &["GET", "HEAD", "POST"], |_| Ok(Self::Ports(id))),
            (port, None) if rest.is_empty() => {
                let port = port.parse()?;
                allow(method, &["GET", "HEAD", "DELETE"], |_| Ok(Self::Port(id, port)))
            }
            (port, Some(rest)) => Ok(Self::Proxy { id, port: port.parse()?, rest: rest.strip_prefix('/').unwrap_or(rest) }),
            (_, None) => Err(unknown(&format!("…/ports/{port}/{rest}"))),
        }
    }

    /// What follows a list of snapshots or archives: the methods, the id, and whether it is to be restored.
    fn of_list<'b>(list: &str, rest: &'b str) -> Result<(&'static [&'static str], &'b str, bool), Error> {
        let (id, verb) = rest.trim_end_matches('/').split_once('/').unwrap_or((rest.trim_end_matches('/'), ""));
        match verb {
            "" => Ok((&["GET", "HEAD", "DELETE"], id, false)),
            "restore" => Ok((&["POST"], id, true)),
            _ => Err(unknown(&format!("…/{list}/{rest}"))),
        }
    }

    /// What the agent is known to take. It alone knows which operations it has.
    fn of_agent(method: &str, id: SandboxId, rest: &'a str) -> Result<Self, Error> {
        let name = rest.strip_suffix('/').unwrap_or(rest);
        let operation = table::find(&name.replace('/', "."));
        let methods: &[&str] = match (name, operation) {
            ("connect", _) => &["GET"],
            ("files", _) => &["GET", "HEAD", "PUT", "DELETE"],
            ("archive", _) => &["GET", "HEAD", "PUT"],
            (_, Some(operation)) if operation.read_only => &["GET", "HEAD", "POST"],
            (_, Some(_)) => &["POST"],
            (_, None) => return Ok(Self::Agent { id, rest }),
        };
        allow(method, methods, |_| Ok(Self::Agent { id, rest }))
    }

    /// The parameters that its query may have; `None` where somebody else judges them.
    pub fn parameters(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::List => Some(LIST_PARAMETERS),
            Self::Control { action, .. } => {
                ACTIONS.iter().find(|(name, ..)| name == action).map(|(_, _, parameters)| *parameters)
            }
            Self::Proxy { .. } | Self::Agent { .. } => None,
            Self::Create | Self::Info(_) | Self::Update(_) | Self::Destroy(_) => Some(&[]),
            Self::Snapshot { .. } | Self::Archive { .. } | Self::Ports(_) | Self::Port(..) => Some(&[]),
        }
    }

    /// `/v1/sandbox/{id}/connect`, the other spelling of `/v1/sandboxes/{id}/connect`.
    fn connect_alias(method: &str, sandbox: &'a str) -> Option<Result<Self, Error>> {
        let (id, rest) = sandbox.split_once('/')?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        (rest == "connect").then(|| Self::of_agent(method, parse_id(id)?, rest))
    }
}

/// The id in a segment of a path, which may be percent-encoded. Fails with `invalid_request`.
pub fn parse_id(segment: &str) -> Result<SandboxId, Error> {
    percent_decode(segment).parse()
}

/// Undoes percent-encoding. What is malformed stays as it is; an id with a `%` in it is refused later.
fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = match (byte, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn allow<T>(method: &str, allowed: &[&str], then: impl FnOnce(&str) -> Result<T, Error>) -> Result<T, Error> {
    if allowed.contains(&method) {
        return then(method);
    }
    Err(not_allowed(method, allowed))
}

/// The error for a method that a path does not take.
pub fn not_allowed(method: &str, allowed: &[&str]) -> Error {
    let message = format!("the method {method} is not allowed here, only {}", allowed.join(", "));
    Error::new(Code::MethodNotAllowed, message).with_details(json!({ "allowed_methods": allowed }))
}

fn unknown(path: &str) -> Error {
    let shown: String = path.chars().take(100).collect();
    Error::not_found(format!("there is no route {shown}")).with_details(json!({ "reason": "no_such_route" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> SandboxId {
        text.parse().unwrap()
    }

    fn check(method: &str, path: &str, expected: Route<'_>) {
        assert_eq!(Route::parse(method, path), Ok(expected), "{method} {path}");
    }

    fn check_error(method: &str, path: &str, code: Code) {
        assert_eq!(Route::parse(method, path).map_err(|error| error.code), Err(code), "{method} {path}");
    }

    #[test]
    fn control() {
        check("POST", "/v1/sandboxes", Route::Create);
        check("POST", "/v1/sandboxes/", Route::Create);
        check("GET", "/v1/sandboxes", Route::List);
        check("HEAD", "/v1/sandboxes/", Route::List);
        check("PATCH", "/v1/sandboxes/sbx-a", Route::Update(id("sbx-a")));
        check("GET", "/v1/sandboxes/sbx-a", Route::Info(id("sbx-a")));
        check("HEAD", "/v1/sandboxes/sbx-a", Route::Info(id("sbx-a")));
        check("GET", "/v1/sandboxes/sbx-a/", Route::Info(id("sbx-a")));
        check("DELETE", "/v1/sandboxes/sbx-a", Route::Destroy(id("sbx-a")));
    }

    #[test]
    fn what_the_object_answers_for_itself() {
        for (method, rest, action) in [("POST", "/start", "start"), ("POST", "/stop/", "stop"), ("GET", "/events", "events")] {
            check(method, &format!("/v1/sandboxes/sbx-a{rest}"), Route::Control { id: id("sbx-a"), action });
        }
        check_error("GET", "/v1/sandboxes/sbx-a/start", Code::MethodNotAllowed);
        check_error("DELETE", "/v1/sandboxes/sbx-a/events", Code::MethodNotAllowed);
        check_error("PUT", "/v1/sandboxes/sbx-a/env", Code::MethodNotAllowed);
    }

    #[test]
    fn snapshots() {
        let text = format!("sbx-a.{}", "a".repeat(26));
        let route = |restores| Route::Snapshot { id: id("sbx-a"), snapshot: text.parse().unwrap(), restores };
        for method in ["GET", "HEAD", "DELETE"] {
            check(method, &format!("/v1/sandboxes/sbx-a/snapshots/{text}"), route(false));
        }
        check("POST", &format!("/v1/sandboxes/sbx-a/snapshots/{text}/restore/"), route(true));
        check("POST", "/v1/sandboxes/sbx-a/snapshots", Route::Control { id: id("sbx-a"), action: "snapshots" });
        check("POST", "/v1/sandboxes/sbx-a/fork", Route::Control { id: id("sbx-a"), action: "fork" });
        check_error("POST", &format!("/v1/sandboxes/sbx-a/snapshots/{text}"), Code::MethodNotAllowed);
        check_error("GET", &format!("/v1/sandboxes/sbx-a/snapshots/{text}/source"), Code::NotFound);
        check_error("GET", "/v1/sandboxes/sbx-a/snapshots/none", Code::InvalidRequest);
    }

    #[test]
    fn archives() {
        let text = format!("sbx-b.{}", "a".repeat(26));
        let route = |restores| Route::Archive { id: id("sbx-a"), archive: text.parse().unwrap(), restores };
        for method in ["GET", "HEAD", "DELETE"] {
            check(method, &format!("/v1/sandboxes/sbx-a/archives/{text}"), route(false));
        }
        check("POST", &format!("/v1/sandboxes/sbx-a/archives/{text}/restore"), route(true));
        check("POST", "/v1/sandboxes/sbx-a/archives", Route::Control { id: id("sbx-a"), action: "archives" });
        check_error("PUT", "/v1/sandboxes/sbx-a/archives", Code::MethodNotAllowed);
        check_error("GET", "/v1/sandboxes/sbx-a/archives/none", Code::InvalidRequest);
    }

    #[test]
    fn ids_are_decoded_and_normalised() {
        check("GET", "/v1/sandboxes/SBX_a", Route::Info(id("sbx-a")));
        check("GET", "/v1/sandboxes/sbx%2Da", Route::Info(id("sbx-a")));
        check("POST", "/v1/sandboxes/sbx%2da/exec", Route::Agent { id: id("sbx-a"), rest: "exec" });
        for bad in ["sbx", "-", "sbx-", "sbx-a%2Fb", "sbx-a%", "sbx-a%zz", "sbx-%00", "sbx-%ff", "sbx-a%252Db", "%2e%2e"] {
            check_error("GET", &format!("/v1/sandboxes/{bad}"), Code::InvalidRequest);
            check_error("POST", &format!("/v1/sandboxes/{bad}/exec"), Code::InvalidRequest);
        }
        check_error("GET", &format!("/v1/sandboxes/sbx-{}", "a".repeat(37)), Code::InvalidRequest);
    }

    #[test]
    fn the_rest_is_the_agents_as_it_came() {
        for (rest, methods) in [
            ("exec", &["POST"][..]),
            ("exec/", &["POST"]),
            ("file/stat", &["GET", "HEAD", "POST"]),
            ("files", &["GET", "HEAD", "PUT", "DELETE"]),
            ("archive/", &["GET", "HEAD", "PUT"]),
            ("connect", &["GET"]),
            ("no/such/operation", &["GET", "HEAD", "POST", "PUT", "DELETE", "PROPFIND"]),
            ("a%2Fb", &["GET", "HEAD", "POST", "PUT", "DELETE", "PROPFIND"]),
        ] {
            for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PROPFIND"] {
                let path = format!("/v1/sandboxes/sbx-a/{rest}");
                if methods.contains(&method) {
                    check(method, &path, Route::Agent { id: id("sbx-a"), rest });
                } else {
                    check_error(method, &path, Code::MethodNotAllowed);
                }
            }
        }
    }

    #[test]
    fn ports() {
        let port = |number: u16| Port::try_from(number).unwrap();
        for method in ["GET", "HEAD", "POST"] {
            check(method, "/v1/sandboxes/sbx-a/ports", Route::Ports(id("sbx-a")));
            check(method, "/v1/sandboxes/sbx-a/ports/", Route::Ports(id("sbx-a")));
        }
        check("GET", "/v1/sandboxes/sbx-a/ports/80", Route::Port(id("sbx-a"), port(80)));
        check("DELETE", "/v1/sandboxes/sbx-a/ports/80/", Route::Port(id("sbx-a"), port(80)));
        for (path, rest) in [("", ""), ("/", ""), ("/a/b%2Fc", "a/b%2Fc"), ("//169.254.169.254/", "/169.254.169.254/")] {
            let path = format!("/v1/sandboxes/sbx-a/ports/80/proxy{path}");
            check("PROPFIND", &path, Route::Proxy { id: id("sbx-a"), port: port(80), rest });
        }
        for port in ["0", "49983", "99999", "080", "3000@evil", "a", "%38%30"] {
            check_error("GET", &format!("/v1/sandboxes/sbx-a/ports/{port}"), Code::InvalidRequest);
            check_error("GET", &format!("/v1/sandboxes/sbx-a/ports/{port}/proxy/"), Code::InvalidRequest);
        }
        check_error("DELETE", "/v1/sandboxes/sbx-a/ports", Code::MethodNotAllowed);
        check_error("POST", "/v1/sandboxes/sbx-a/ports/80", Code::MethodNotAllowed);
        check_error("GET", "/v1/sandboxes/sbx-a/ports/80/other", Code::NotFound);
        check_error("GET", "/v1/sandboxes/sbx-a/ports/80/proxyless", Code::NotFound);
        check("POST", "/v1/sandboxes/sbx-a/port/list", Route::Agent { id: id("sbx-a"), rest: "port/list" });
        check("POST", "/v1/sandboxes/sbx-a/portside", Route::Agent { id: id("sbx-a"), rest: "portside" });
    }

    #[test]
    fn connect_has_a_second_spelling() {
        check("GET", "/v1/sandbox/sbx_a/connect", Route::Agent { id: id("sbx-a"), rest: "connect" });
        check("GET", "/v1/sandbox/sbx-a/connect/", Route::Agent { id: id("sbx-a"), rest: "connect" });
        check_error("POST", "/v1/sandbox/sbx-a/connect", Code::MethodNotAllowed);
        for path in ["/v1/sandbox", "/v1/sandbox/", "/v1/sandbox/sbx-a", "/v1/sandbox/sbx-a/exec"] {
            check_error("GET", path, Code::NotFound);
        }
    }

    #[test]
    fn what_a_request_amounts_to() {
        for (method, path, operation, read_only) in [
            ("POST", "/v1/sandboxes", "sandbox.create", false),
            ("GET", "/v1/sandboxes/sbx-a", "sandbox.get", true),
            ("DELETE", "/v1/sandboxes/sbx-a", "sandbox.delete", false),
            ("GET", "/v1/sandboxes", "sandbox.list", true),
            ("PATCH", "/v1/sandboxes/sbx-a", "sandbox.update", false),
            ("POST", "/v1/sandboxes/sbx-a/exec", "exec", false),
            ("POST", "/v1/sandboxes/sbx-a/file/read", "file.read", true),
            ("POST", "/v1/sandboxes/sbx-a/file/write", "file.write", false),
            ("GET", "/v1/sandboxes/sbx-a/files", "file.read", true),
            ("HEAD", "/v1/sandboxes/sbx-a/archive/", "file.read", true),
            ("PUT", "/v1/sandboxes/sbx-a/files", "file.write", false),
            ("DELETE", "/v1/sandboxes/sbx-a/files", "file.write", false),
            ("GET", "/v1/sandboxes/sbx-a/connect", "connect", true),
            ("GET", "/v1/sandboxes/sbx-a/snapshots", "snapshot.list", true),
            ("POST", "/v1/sandboxes/sbx-a/snapshots", "snapshot.create", false),
            ("POST", "/v1/sandboxes/sbx-a/fork", "sandbox.fork", false),
            ("POST", "/v1/sandboxes/sbx-a/ports", "port.expose", false),
            ("GET", "/v1/sandboxes/sbx-a/ports", "port.get", true),
            ("GET", "/v1/sandboxes/sbx-a/ports/80", "port.get", true),
            ("DELETE", "/v1/sandboxes/sbx-a/ports/80", "port.close", false),
            ("GET", "/v1/sandboxes/sbx-a/ports/80/proxy/", "port.proxy", false),
            ("POST", "/v1/sandboxes/sbx-a/port/list", "port.list", true),
            ("GET", "/v1/sandboxes/sbx-a/no/such", "no.such", false),
        ] {
            let route = Route::parse(method, path).unwrap();
            let found = route.access(method, |access| (access.operation.to_owned(), access.read_only));
            assert_eq!(found, (operation.to_owned(), read_only), "{method} {path}");
        }
    }

    #[test]
    fn other_paths_and_methods() {
        for path in ["/", "", "/v1", "/v1/", "/v2/sandboxes", "/v1/sandboxesx", "/v1/sandboxes-x/sbx-a", "/V1/sandboxes"] {
            check_error("GET", path, Code::NotFound);
        }
        check_error("PUT", "/v1/sandboxes", Code::MethodNotAllowed);
        check_error("PUT", "/v1/sandboxes/sbx-a", Code::MethodNotAllowed);
        let error = Route::parse("POST", "/v1/sandboxes/sbx-a").unwrap_err();
        assert_eq!(error.details, Some(json!({ "allowed_methods": ["GET", "HEAD", "PATCH", "DELETE"] })));
    }
}
