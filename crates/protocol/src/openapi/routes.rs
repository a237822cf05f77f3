//! What is answered by the gateway or the Durable Object, and the byte lanes of the agent.

use serde_json::{Map, Value, json};

use super::{Path, Schemas, describe, id_parameter, with_errors};
use crate::{
    audit::{AuditPage, AuditVerification},
    file,
    key::{CreateKey, Key, KeyId, KeyPage, NewKey, UpdateKey},
    metrics::Metrics,
    preview::{ExposePort, ExposedPort, ExposedPorts},
    project::{CreateProject, Project, ProjectName, Projects},
    sandbox::{CreateSandbox, History, Kinds, Sandbox, Sandboxes, UpdateSandbox},
    token::{ConnectToken, CreateToken},
};

/// A route that is no operation of the agent's.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The method, in lower case.
    pub method: &'static str,
    /// The path, its parameters in braces.
    pub path: &'static str,
    /// What a request of it amounts to, see [`Access`](crate::Access); unique among all routes and operations as an `operationId`
    /// unless it is followed by `#` and a word that tells several apart.
    pub operation: &'static str,
    /// What it does; the first paragraph is the summary.
    pub documentation: &'static str,
    /// Its query, each parameter with its JSON type and description.
    pub query: &'static [(&'static str, &'static str, &'static str)],
    /// What goes in.
    pub request: Body,
    /// The statuses of success.
    pub success: &'static [u16],
    /// What comes out.
    pub response: Body,
}

/// What a body holds.
#[derive(Debug, Clone, Copy)]
pub enum Body {
    /// Nothing.
    None,
    /// JSON.
    Json(fn(&mut Schema) -> Value),
    /// Bytes of a media type.
    Bytes(&'static str),
}

/// Makes schemas, for [`Body::Json`].
#[allow(missing_debug_implementations)]
pub struct Schema<'a>(&'a mut Schemas);

/// JSON of this type.
const fn json<T: schemars::JsonSchema>() -> Body {
    Body::Json(|schema| schema.0.reference::<T>())
}

/// What needs no credentials.
const OPEN: [&str; 3] = ["health", "openapi", "docs"];

/// The content of a path, which the byte lanes take from the query.
const PATH: (&str, &str, &str) = ("path", "string", "A path inside the sandbox, percent-encoded; relative to `/workspace`.");

/// All of them.
pub fn table() -> Vec<Route> {
    vec![
        Route {
            method: "get",
            path: "/health",
            operation: "health",
            documentation: "Tells whether the gateway is up. Open to everyone.",
            query: &[],
            request: Body::None,
            success: &[200],
            response: json::<Health>(),
        },
        Route {
            method: "get",
            path: "/v1/openapi.json",
            operation: "openapi",
            documentation: "This document. Open to everyone.",
            query: &[],
            request: Body::None,
            success: &[200],
            response: Body::Json(|_| json!({ "type": "object" })),
        },
        Route {
            method: "get",
            path: "/v1/docs",
            operation: "docs",
            documentation: "The same document as a page to read. Open to everyone.",
            query: &[],
            request: Body::None,
            success: &[200],
            response: Body::Bytes("text/html"),
        },
        Route {
            method: "get",
            path: "/v1/kinds",
            operation: "kind.list",
            documentation: "The kinds of sandboxes that there are, with what a sandbox of each gets.",
            query: &[],
            request: Body::None,
            success: &[200],
            response: json::<Kinds>(),
        },
        Route {
            method: "get",
            path: "/v1/projects",
            operation: "project.list",
            documentation: "The tenant's projects, in the order of their names.",
            query: &[
                ("limit", "integer", "How many in one answer, 1 to 1,000; default 100."),
                ("cursor", "string", "`next_cursor` of the answer before."),
            ],
            request: Body::None,
            success: &[200],
            response: json::<Projects>(),
        },
        Route {
            method: "post",
            path: "/v1/projects",
            operation: "project.create",
            documentation: "Makes a project.\n\nIts name is free, or the answer is `conflict`.",
            query: &[],
            request: json::<CreateProject>(),
            success: &[201],
            response: json::<Project>(),
        },
        Route {
            method: "get",
            path: "/v1/projects/{name}",
            operation: "project.get",
            documentation: "Shows a project, its variables by their names only.",
            query: &[],
            request: Body::None,
            success: &[200],
            response: json::<Project>(),
        },
        Route {
            method: "patch",
            path: "/v1/projects/{name}",
            operation: "project.update",
            documentation: "Changes a project.\n\nWhat is not named stays as it is; null resets a field; `env` is replaced as a whole. \
                            Sandboxes that there are do not change. `conflict` where somebody else changes it at the same time: repeat.",
            query: &[],
            request: Body::Json(|_| json!({ "type": "object" })),
            success: &[200],
            response: json::<Project>(),
        },
        Route {
            method: "delete",
            path: "/v1/projects/{name}",
            operation: "project.delete",
            documentation: "Forgets a project, if there is one. Its sandboxes stay.",
            query: &[],
            request: Body::None,
            success: &[204],
            response: Body::None,
        },
        Route {
            method: "post",
            path: "/v1/sandboxes",
            operation: "sandbox.create",
            documentation: "Makes a sandbox, or finds the one of that name.\n\nAnswers 201 where it was made and 200 where it was there. Its \
                            container starts with its first operation.",
            query: &[],
            request: json::<CreateSandbox>(),
            success: &[200, 201],
            response: json::<Sandbox>(),
        },
        Route {
            method: "get",
            path: "/v1/sandboxes",
            operation: "sandbox.list",
            documentation: "Lists sandboxes, those that the caller may see and all filters hold for.\n\nWhat changes is known here a moment \
                            later. A parameter that does not exist is an `invalid_request`.",
            query: &[
                ("label", "array", "`name=value`, or a name alone: has that label. All must hold."),
                ("kind", "string", "Of this kind."),
                ("project", "string", "Of this project."),
                ("state", "string", "In this state."),
                ("name", "string", "Of this name, the part of the id after the kind."),
                ("tenant", "string", "Of this tenant; for operators, who see all otherwise."),
                ("sort", "string", "`created_at` (default), `updated_at` or `id`."),
                ("order", "string", "`desc` (default) or `asc`."),
                ("limit", "integer", "How many in one answer, 1 to 1,000; default 100."),
                ("cursor", "string", "`next_cursor` of the answer before; the other parameters stay as they were."),
            ],
            request: Body::None,
            success: &[200],
            response: json::<Sandboxes>(),
        },
        Route {
            method: "patch",
            path: "/v1/sandboxes/{id}",
            operation: "sandbox.update",
            documentation: "Changes a sandbox, without waking it.\n\nWhat is not named stays as it is, and null resets to the default. Setting what is set \
                            already changes nothing, and no timer begins anew.",
            query: &[],
            request: json::<UpdateSandbox>(),
            success: &[200],
            response: json::<Sandbox>(),
        },
        Route {
            method: "get",
            path: "/v1/sandboxes/{id}",
            operation: "sandbox.get",
            documentation: "Shows a sandbox, without waking it.",
            query: &[],
            request: Body::None,
            success: &[200],
            response: json::<Sandbox>(),
        },
        Route {
            method: "delete",
            path: "/v1/sandboxes/{id}",
            operation: "sandbox.delete",
            documentation: "Ends and forgets a sandbox, however often.",
            query: &[],
            request: Body::None,
            success: &[204],
            response: Body::None,
        },
        Route {
            method: "post",
            path: "/v1/sandboxes/{id}/start",
            operation: "sandbox.start",
            documentation: "Starts a sandbox, and answers when it is ready; does nothing to one that runs.",
            query: &[],
            request: Body::None,
            success: &[200],
            response: json::<Sandbox>(),
        },
        Route {
            method: "post",
            path: "/v1/sandboxes/{id}/stop",
            operation: "sandbox.stop",
            documentation: "Stops a sandbox, and answers when its container has ended; does nothing to one that does not run.\n\nIts \
                            programs get SIGTERM, and are killed after 10 s at most. Its files go with its container. The next operation \
                            starts it again.",
            query: &[],
            request: Body::None,
            success: &[200],
            response: json::<Sandbox>(),
        },
        Route {
            method: "post",
            path: "/v1/sandboxes/{id}/restart",
            operation: "sandbox.restart",
            documentation: "Stops a sandbox and starts it again.",
            query: &[],
            request: Body::None,
            success: &[200],
            response: json::<Sandbox>(),
        },
        Route {
            method: "get",
            path: "/v1/sandboxes/{id}/events",
            operation: "sandbox.events",
            documentation: "What happened in a sandbox's life: its states and how it came into them, the last 256.\n\nWith `Accept: \
                            application/x-ndjson` a line for each, with `text/event-stream` server-sent events, which `Last-Event-ID` \
                            goes on from. Wakes nothing, and keeps nothing awake.",
            query: &[
                ("from", "integer", "Only what came after the event of this number."),
                ("follow", "boolean", "Go on with what happens from now on; ends with the sandbox."),
            ],
            request: Body::None,
            success: &[200],
            response: json::<History>(),
        },
        Route {
            method: "post",
            path: "/v1/sandboxes/{id}/tokens",
            operation: "token.create",
            documentation: "Makes a connect token, good for this sandbox alone.\n\nIt makes no tokens and no keys in turn, and ends with the \
                            credentials that made it, at the latest.",
            query: &[],
            request: json::<CreateToken>(),
            success: &[201],
            response: json::<ConnectToken>(),
        },
        Route {
            method: "post",
            path: "/v1/keys",
            operation: "key.create",
            documentation: "Makes an API key, which is shown this once.",
            query: &[],
            request: json::<CreateKey>(),
            success: &[201],
            response: json::<NewKey>(),
        },
        Route {
            method: "get",
            path: "/v1/keys",
            operation: "key.list",
            documentation: "Lists the keys of the caller's tenant, or of all for the operator, the newest first.",
            query: &[
                ("limit", "integer", "How many at most, 1 to 200; default 50."),
                ("cursor", "string", "Where an earlier page said that the next one begins."),
                ("revoked", "boolean", "Those that were revoked, too."),
                ("tenant", "string", "Only this tenant's; for the operator."),
            ],
            request: Body::None,
            success: &[200],
            response: json::<KeyPage>(),
        },
        Route {
            method: "get",
            path: "/v1/keys/{key}",
            operation: "key.get",
            documentation: "Shows a key, also one that was revoked.",
            query: &[],
            request: Body::None,
            success: &[200],
            response: json::<Key>(),
        },
        Route {
            method: "patch",
            path: "/v1/keys/{key}",
            operation: "key.update",
            documentation: "Renames a key.",
            query: &[],
            request: json::<UpdateKey>(),
            success: &[200],
            response: json::<Key>(),
        },
        Route {
            method: "delete",
            path: "/v1/keys/{key}",
            operation: "key.delete",
            documentation: "Revokes a key, however often.\n\nWithin 60 s nobody is let in with it, nor with what was made with it.",
            query: &[],
            request: Body::None,
            success: &[204],
            response: Body::None,
        },
        Route {
            method: "get",
            path: "/v1/sandboxes/{id}/audit",
            operation: "audit.list",
            documentation: "What was asked of a sandbox, by whom, and what came of it, newest first.\n\nEvery operation and connection has an \
                            entry, refused ones of known callers too; only what merely looks at the sandbox, as this does, has none. \
                            Entries are kept for 30 days, where the deployment does not say otherwise, also those of a sandbox that was \
                            destroyed. Wakes nothing.",
            query: &[
                ("from", "string", "Only what came at this time, RFC 3339, or later."),
                ("to", "string", "Only what came before this time."),
                ("operation", "string", "Only this operation, or this family."),
                ("principal", "string", "Only what this caller asked."),
                ("outcome", "string", "Only what came to this: `ok`, a code, `open`, `finished`, `cut`, `broken` or `lost`."),
                ("limit", "integer", "How many at most, 1 to 1,000. Default: 100."),
                ("cursor", "string", "What the page before gave."),
            ],
            request: Body::None,
            success: &[200],
            response: json::<AuditPage>(),
        },
        Route {
            method: "get",
            path: "/v1/sandboxes/{id}/audit/verify",
            operation: "audit.verify",
            documentation: "Checks that no entry of the audit was changed, taken out or moved.",
            query: &[],
            request: Body::None,
            success: &[200],
            response: json::<AuditVerification>(),
        },
        Route {
            method: "get",
            path: "/v1/sandboxes/{id}/metrics",
            operation: "metrics.get",
            documentation: "What is measured of a sandbox.\n\nWith `Accept: text/plain` in the text form of Prometheus. Wakes nothing.",
            query: &[("format", "string", "`json` or `prometheus`, whatever is accepted.")],
            request: Body::None,
            success: &[200],
            response: json::<Metrics>(),
        },
        Route {
            method: "get",
            path: "/v1/sandboxes/{id}/files",
            operation: "file.read#lane",
            documentation: "The content of a file.\n\n`Range` and `If-None-Match` work as RFC 9110 says.",
            query: &[PATH],
            request: Body::None,
            success: &[200],
            response: Body::Bytes("application/octet-stream"),
        },
        Route {
            method: "put",
            path: "/v1/sandboxes/{id}/files",
            operation: "file.write#lane",
            documentation: "Writes a file, of any size, and makes missing directories.\n\nIt appears whole and in place of what had its \
                            name, with 200 then and 201 otherwise; `If-Match` and `If-None-Match` work.",
            query: &[PATH, ("mode", "string", "Permission bits in octal.")],
            request: Body::Bytes("application/octet-stream"),
            success: &[200, 201],
            response: json::<file::Written>(),
        },
        Route {
            method: "delete",
            path: "/v1/sandboxes/{id}/files",
            operation: "file.write#delete",
            documentation: "Removes a file.",
            query: &[PATH],
            request: Body::None,
            success: &[204],
            response: Body::None,
        },
        Route {
            method: "get",
            path: "/v1/sandboxes/{id}/archive",
            operation: "file.read#archive",
            documentation: "A directory, or a file, as a tar archive.",
            query: &[
                PATH,
                ("format", "string", "`tar`, `tar.gz` or `tar.zst`."),
                ("include", "array", "Globs of what to store."),
                ("exclude", "array", "Globs of what to leave out."),
            ],
            request: Body::None,
            success: &[200],
            response: Body::Bytes("application/x-tar"),
        },
        Route {
            method: "put",
            path: "/v1/sandboxes/{id}/archive",
            operation: "file.write#archive",
            documentation: "Extracts a tar archive, plain or compressed, into a directory, which is made where it is missing.",
            query: &[PATH],
            request: Body::Bytes("application/octet-stream"),
            success: &[200],
            response: json::<file::Extracted>(),
        },
        Route {
            method: "post",
            path: "/v1/sandboxes/{id}/ports",
            operation: "port.expose",
            documentation: "Gives a port of the sandbox a URL, or changes how it is reached.\n\nAnswers 201 where it had none and 200 where it \
                            had one; what the request does not name stays as it is, the URL included. Wakes nothing.",
            query: &[],
            request: json::<ExposePort>(),
            success: &[200, 201],
            response: json::<ExposedPort>(),
        },
        Route {
            method: "get",
            path: "/v1/sandboxes/{id}/ports",
            operation: "port.get#all",
            documentation: "Lists the ports that have a URL, without waking the sandbox.\n\nWho listens in the sandbox, `port.list` tells.",
            query: &[],
            request: Body::None,
            success: &[200],
            response: json::<ExposedPorts>(),
        },
        Route {
            method: "get",
            path: "/v1/sandboxes/{id}/ports/{port}",
            operation: "port.get",
            documentation: "Shows a port that has a URL, without waking the sandbox.",
            query: &[],
            request: Body::None,
            success: &[200],
            response: json::<ExposedPort>(),
        },
        Route {
            method: "delete",
            path: "/v1/sandboxes/{id}/ports/{port}",
            operation: "port.close",
            documentation: "Takes a port's URL away, however often. What listens there goes on.",
            query: &[],
            request: Body::None,
            success: &[204],
            response: Body::None,
        },
        Route {
            method: "get",
            path: "/v1/sandboxes/{id}/ports/{port}/proxy/{path}",
            operation: "port.proxy",
            documentation: "What a program in the sandbox answers on this port, whether the port has a URL or not; starts the container if it \
                            has to.\n\nAny method and body, WebSocket too; credentials and cookies do not reach the program.",
            query: &[],
            request: Body::None,
            success: &[200],
            response: Body::Bytes("*/*"),
        },
        Route {
            method: "get",
            path: "/v1/sandboxes/{id}/connect",
            operation: "connect",
            documentation: "A WebSocket for operations.",
            query: &[("token", "string", "The credential, of a client that cannot set headers.")],
            request: Body::None,
            success: &[101],
            response: Body::None,
        },
    ]
}

/// `GET /health`.
#[derive(schemars::JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Health {
    /// `ok`.
    status: String,
    /// The gateway's version.
    version: String,
}

pub(super) fn paths(schemas: &mut Schemas) -> Vec<Path> {
    table().iter().map(|route| (route.path.to_owned(), route.method, operation(route, schemas))).collect()
}

fn operation(route: &Route, schemas: &mut Schemas) -> Value {
    let (summary, description) = describe(route.documentation);
    let tag = route.operation.split(['.', '#']).next().unwrap_or_default();
    let mut parameters: Vec<_> = route.path.split('/').filter_map(path_parameter).collect();
    parameters.extend(route.query.iter().map(parameter));
    let mut response = json!({ "description": "What came of it." });
    if let Some(content) = content(route.response, schemas) {
        response["content"] = content;
    }
    let responses: Map<_, _> = route.success.iter().map(|status| (status.to_string(), response.clone())).collect();
    let mut operation = json!({
        "operationId": route.operation,
        "tags": [tag],
        "summary": summary,
        "description": description,
        "parameters": parameters,
        "responses": with_errors(responses.into()),
    });
    if let Some(content) = content(route.request, schemas) {
        operation["requestBody"] = json!({ "content": content });
    }
    if OPEN.contains(&tag) {
        operation["security"] = json!([]);
    }
    operation
}

/// The parameter that a segment of a path is.
fn path_parameter(segment: &str) -> Option<Value> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    let (description, schema) = match name {
        "id" => return Some(id_parameter()),
        "key" => ("The key's id.", json!({ "type": "string", "minLength": KeyId::LENGTH, "maxLength": KeyId::LENGTH })),
        "port" => ("A port of the sandbox.", json!({ "type": "integer", "minimum": 1, "maximum": 65535 })),
        "name" => {
            let schema = json!({ "type": "string", "maxLength": ProjectName::MAX_LENGTH, "examples": ["web-app"] });
            ("The project.", schema)
        }
        _ => ("The rest of the path.", json!({ "type": "string" })),
    };
    Some(json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema }))
}

fn parameter((name, kind, description): &(&str, &str, &str)) -> Value {
    let schema = match *kind {
        "array" => json!({ "type": "array", "items": { "type": "string" } }),
        kind => json!({ "type": kind }),
    };
    json!({ "name": name, "in": "query", "required": *name == PATH.0, "description": description, "schema": schema })
}

/// The parameter of a key's routes.
fn content(body: Body, schemas: &mut Schemas) -> Option<Value> {
    match body {
        Body::None => None,
        Body::Json(schema) => Some(json!({ "application/json": { "schema": schema(&mut Schema(schemas)) } })),
        Body::Bytes(media_type) => Some(json!({ media_type: { "schema": { "type": "string", "format": "binary" } } })),
    }
}
