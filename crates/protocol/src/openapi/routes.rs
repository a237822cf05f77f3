//! What is answered by the gateway or the Durable Object, and the byte lanes of the agent.

mod table;

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
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
    /// What a request of it amounts to, see [`Access`](crate::Access).
    pub operation: &'static str,
    /// Its `operationId`.
    pub id: &'static str,
    /// What it does; the first paragraph is the summary.
    pub documentation: &'static str,
    /// Its query, each parameter with its JSON type, or its words with `|` between them, and its description.
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
    Json(Json),
    /// Bytes of a media type.
    Bytes(&'static str),
    /// JSON, or text of this media type.
    JsonOrText(Json, &'static str),
    /// JSON, or a stream of events, of which each line says so much.
    Stream {
        /// What comes as JSON.
        whole: Json,
        /// An event.
        event: Json,
        /// What the lines are.
        lines: &'static str,
    },
}

/// What a type is like as JSON.
#[derive(Debug, Clone, Copy)]
pub struct Json {
    schema: fn(&mut Schema) -> Value,
    /// What is written of a value that was read.
    #[cfg(test)]
    read: fn(&Value) -> Result<Value, String>,
}

impl Json {
    const fn of<T: JsonSchema + Serialize + DeserializeOwned>() -> Self {
        Self {
            schema: |schema| schema.0.reference::<T>(),
            #[cfg(test)]
            read: |value| {
                let value: T = crate::decode(value.to_string().as_bytes()).map_err(|error| error.message)?;
                serde_json::to_value(value).map_err(|error| error.to_string())
            },
        }
    }

    /// An object, and nothing more is known of it.
    const fn object() -> Self {
        Self {
            schema: |_| json!({ "type": "object" }),
            #[cfg(test)]
            read: |value| Ok(value.clone()),
        }
    }
}

/// Examples of requests and answers, by `operationId`.
static EXAMPLES: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("routes/examples.json")).unwrap_or_default());

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
        Self { method, path, operation, id: operation, documentation, query, request: Body::None, success, response: Body::None }
    }

    /// Where several routes amount to the same.
    const fn named(self, id: &'static str) -> Self {
        Self { id, ..self }
    }

    const fn query(self, query: &'static [(&'static str, &'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }

    const fn takes<T: JsonSchema + Serialize + DeserializeOwned>(self) -> Self {
        Self { request: Body::Json(Json::of::<T>()), ..self }
    }

    const fn takes_object(self) -> Self {
        Self { request: Body::Json(Json::object()), ..self }
    }

    const fn takes_bytes(self, media_type: &'static str) -> Self {
        Self { request: Body::Bytes(media_type), ..self }
    }

    const fn gives<T: JsonSchema + Serialize + DeserializeOwned>(self) -> Self {
        Self { response: Body::Json(Json::of::<T>()), ..self }
    }

    /// Either JSON, or the same as text.
    const fn gives_or_text<T: JsonSchema + Serialize + DeserializeOwned>(self, media_type: &'static str) -> Self {
        Self { response: Body::JsonOrText(Json::of::<T>(), media_type), ..self }
    }

    /// Either the whole, or these events as lines.
    const fn streams<T, E>(self, lines: &'static str) -> Self
    where
        T: JsonSchema + Serialize + DeserializeOwned,
        E: JsonSchema + Serialize + DeserializeOwned,
    {
        Self { response: Body::Stream { whole: Json::of::<T>(), event: Json::of::<E>(), lines }, ..self }
    }

    const fn gives_object(self) -> Self {
        Self { response: Body::Json(Json::object()), ..self }
    }

    const fn gives_bytes(self, media_type: &'static str) -> Self {
        Self { response: Body::Bytes(media_type), ..self }
    }

    /// Other statuses of success than what the method suggests.
    const fn status(self, success: &'static [u16]) -> Self {
        Self { success, ..self }
    }
}

/// What needs no credentials.
const OPEN: [&str; 4] = ["health", "openapi", "docs", "notebook"];

/// The content of a path, which the byte lanes take from the query.
const PATH: (&str, &str, &str) = (
    "path",
    "string",
    "A path inside the sandbox, percent-encoded. A relative one begins at the first root, or in the directory of `session`.",
);

/// Where a relative path begins.
const SESSION: (&str, &str, &str) =
    ("session", "string", "The session, by its id or name, in whose directory a relative path begins. Default: the first root.");

/// `GET /health`.
#[derive(Serialize, Deserialize, JsonSchema)]
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
    let tag = route.operation.split('.').next().unwrap_or_default();
    let mut parameters: Vec<_> = route.path.split('/').filter_map(path_parameter).collect();
    parameters.extend(route.query.iter().map(parameter));
    let mut response = json!({ "description": "What came of it." });
    if let Some(content) = content(route.response, &EXAMPLES[route.id]["answer"], schemas) {
        response["content"] = content;
    }
    let responses: Map<_, _> = route.success.iter().map(|status| (status.to_string(), response.clone())).collect();
    let mut operation = json!({
        "operationId": route.id,
        "x-operation": route.operation,
        "tags": [tag],
        "summary": summary,
        "description": description,
        "parameters": parameters,
        "responses": with_errors(responses.into()),
    });
    if let Some(content) = content(route.request, &EXAMPLES[route.id]["request"], schemas) {
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
        "snapshot" => ("A snapshot's id.", json!({ "type": "string", "examples": ["sbx-build-7.abcdefghijklmnopqrstuvwxyz"] })),
        "archive" => ("An archive's id.", json!({ "type": "string", "examples": ["sbx-build-7.abcdefghijklmnopqrstuvwxyz"] })),
        "id" => return Some(id_parameter()),
        "key" => ("The key's id.", json!({ "type": "string", "minLength": KeyId::LENGTH, "maxLength": KeyId::LENGTH })),
        "port" => ("A port of the sandbox.", json!({ "type": "integer", "minimum": 1, "maximum": 65535 })),
        "name" => {
            let schema = json!({ "type": "string", "maxLength": ProjectName::MAX_LENGTH, "examples": ["web-app"] });
            ("The name of what the path is about.", schema)
        }
        _ => ("The rest of the path.", json!({ "type": "string" })),
    };
    Some(json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema }))
}

fn parameter((name, kind, description): &(&str, &str, &str)) -> Value {
    let schema = match *kind {
        "array" => json!({ "type": "array", "items": { "type": "string" } }),
        words if words.contains('|') => json!({ "type": "string", "enum": words.split('|').collect::<Vec<_>>() }),
        kind => json!({ "type": kind }),
    };
    json!({ "name": name, "in": "query", "required": *name == PATH.0, "description": description, "schema": schema })
}

/// A body, by its media type.
fn content(body: Body, example: &Value, schemas: &mut Schemas) -> Option<Value> {
    let mut content = match body {
        Body::None => return None,
        Body::Json(json) => json!({ "application/json": { "schema": (json.schema)(&mut Schema(schemas)) } }),
        Body::JsonOrText(json, media_type) => json!({
            "application/json": { "schema": (json.schema)(&mut Schema(schemas)) },
            media_type: { "schema": { "type": "string" } },
        }),
        Body::Stream { whole, event, lines } => {
            let (whole, event) = ((whole.schema)(&mut Schema(schemas)), (event.schema)(&mut Schema(schemas)));
            streamed(whole, event, lines)
        }
        // Generators of clients read text as text.
        Body::Bytes(media_type) if media_type.starts_with("text/") => json!({ media_type: { "schema": { "type": "string" } } }),
        Body::Bytes(media_type) => json!({ media_type: { "schema": { "type": "string", "format": "binary" } } }),
    };
    if let Some(json) = content.get_mut("application/json").filter(|_| !example.is_null()) {
        json["example"] = example.clone();
    }
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_of_json_has_an_example_that_its_type_reads() {
        for route in table() {
            for (what, body) in [("request", route.request), ("answer", route.response)] {
                let json = match body {
                    Body::Json(json) | Body::JsonOrText(json, _) | Body::Stream { whole: json, .. } => json,
                    Body::None | Body::Bytes(_) => continue,
                };
                if route.id == "openapi" {
                    continue;
                }
                let example = &EXAMPLES[route.id][what];
                assert!(example.is_object(), "{}: the {what} has no example", route.id);
                let read = (json.read)(example).unwrap_or_else(|error| panic!("{}: {what}: {error}", route.id));
                // A request may leave out what has a default.
                assert!(what == "request" || read == *example, "{}: {what}: {read}", route.id);
            }
        }
    }
}
