//! What is answered by the gateway or the Durable Object, and the byte lanes of the agent.

mod table;

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

pub use self::table::table;
use super::{Path, Schemas, describe, id_parameter, streamed, with_errors};
use crate::{key::KeyId, project::ProjectName};

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
    /// JSON, or a stream of events, of which each line says so much.
    Stream {
        /// What comes as JSON.
        whole: fn(&mut Schema) -> Value,
        /// An event.
        event: fn(&mut Schema) -> Value,
        /// What the lines are.
        lines: &'static str,
    },
}

/// Makes schemas, for [`Body::Json`].
#[allow(missing_debug_implementations)]
pub struct Schema<'a>(&'a mut Schemas);

/// Builds a row of the table: a method with its path, name and documentation, and then whatever goes in and comes out, if anything.
impl Route {
    const fn get(path: &'static str, operation: &'static str, documentation: &'static str) -> Self {
        Self::new("get", path, operation, documentation)
    }

    const fn post(path: &'static str, operation: &'static str, documentation: &'static str) -> Self {
        Self::new("post", path, operation, documentation)
    }

    const fn put(path: &'static str, operation: &'static str, documentation: &'static str) -> Self {
        Self::new("put", path, operation, documentation)
    }

    const fn patch(path: &'static str, operation: &'static str, documentation: &'static str) -> Self {
        Self::new("patch", path, operation, documentation)
    }

    const fn delete(path: &'static str, operation: &'static str, documentation: &'static str) -> Self {
        Self::new("delete", path, operation, documentation).status(&[204])
    }

    const fn new(method: &'static str, path: &'static str, operation: &'static str, documentation: &'static str) -> Self {
        let (query, success) = (&[], &[200]);
        Self { method, path, operation, documentation, query, request: Body::None, success, response: Body::None }
    }

    const fn query(self, query: &'static [(&'static str, &'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }

    const fn takes<T: JsonSchema>(self) -> Self {
        Self { request: Body::Json(|schema| schema.0.reference::<T>()), ..self }
    }

    const fn takes_object(self) -> Self {
        Self { request: Body::Json(|_| object()), ..self }
    }

    const fn takes_bytes(self, media_type: &'static str) -> Self {
        Self { request: Body::Bytes(media_type), ..self }
    }

    const fn gives<T: JsonSchema>(self) -> Self {
        Self { response: Body::Json(|schema| schema.0.reference::<T>()), ..self }
    }

    /// Either the whole, or these events as lines.
    const fn streams<T: JsonSchema, E: JsonSchema>(self, lines: &'static str) -> Self {
        let (whole, event) = (|schema: &mut Schema| schema.0.reference::<T>(), |schema: &mut Schema| schema.0.reference::<E>());
        Self { response: Body::Stream { whole, event, lines }, ..self }
    }

    const fn gives_object(self) -> Self {
        Self { response: Body::Json(|_| object()), ..self }
    }

    const fn gives_bytes(self, media_type: &'static str) -> Self {
        Self { response: Body::Bytes(media_type), ..self }
    }

    /// Other statuses of success than what the method suggests.
    const fn status(self, success: &'static [u16]) -> Self {
        Self { success, ..self }
    }
}

/// JSON that is only known to be an object.
fn object() -> Value {
    json!({ "type": "object" })
}

/// What needs no credentials.
const OPEN: [&str; 3] = ["health", "openapi", "docs"];

/// The content of a path, which the byte lanes take from the query.
const PATH: (&str, &str, &str) = ("path", "string", "A path inside the sandbox, percent-encoded; relative to `/workspace`.");

/// `GET /health`.
#[derive(JsonSchema)]
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

/// A body, by its media type.
fn content(body: Body, schemas: &mut Schemas) -> Option<Value> {
    match body {
        Body::None => None,
        Body::Json(schema) => Some(json!({ "application/json": { "schema": schema(&mut Schema(schemas)) } })),
        Body::Stream { whole, event, lines } => {
            let (whole, event) = (whole(&mut Schema(schemas)), event(&mut Schema(schemas)));
            Some(streamed(whole, event, lines))
        }
        Body::Bytes(media_type) => Some(json!({ media_type: { "schema": { "type": "string", "format": "binary" } } })),
    }
}
