//! The whole HTTP API as an OpenAPI 3.1 document, made from the types that define it.
//!
//! Operations come from [`operations!`](crate::operations); what the gateway and the Durable Object answer, and the byte lanes, from
//! [`routes::table`]. A test keeps `openapi.json` beside this crate equal to [`document`]. The gateway serves that file,
//! and makes a page of it.

mod operations;
mod query;
pub mod routes;
mod tidy;

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::error::ErrorBody;

/// The document. `golden` gives the golden file of an operation, from which its examples are.
pub fn document(golden: &Golden<'_>) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for (path, method, operation) in routes::paths(&mut schemas).into_iter().chain(operations::paths(&mut schemas, golden)) {
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation;
    }
    let error = schemas.reference::<ErrorBody>();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Cabana",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Sandboxes for AI agents. Every request but the open ones needs a credential.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "An API key, a connect token or a JWT." },
            },
            "responses": {
                "error": {
                    "description": "What went wrong; the status is the code's.",
                    "content": { "application/json": { "schema": error } },
                },
            },
            "schemas": schemas.finish(),
        },
    });
    tidy::tidy(&mut document);
    document
}

/// The golden file of the operation of this name.
pub type Golden<'a> = dyn Fn(&str) -> Value + 'a;

/// A path, a method in lower case, and what OpenAPI calls an operation.
type Path = (String, &'static str, Value);

/// Makes schemas, and gathers those that they refer to.
struct Schemas(SchemaGenerator);

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
        Self(settings.into_generator())
    }

    /// The schema in its place: the types of operations have no name of their own, because several are a `List` or a `Status`.
    fn inline<T: JsonSchema>(&mut self) -> Value {
        let mut schema = T::json_schema(&mut self.0).to_value();
        // Said beside the operation.
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("title");
        }
        schema
    }

    /// The same as part of an answer, whose fields may grow in number.
    fn reference<T: JsonSchema>(&mut self) -> Value {
        self.0.subschema_for::<T>().to_value()
    }

    /// Whether the type of this name is one of some words.
    fn defines_words(&self, name: &str) -> bool {
        let Some(definition) = self.0.definitions().get(name) else { return false };
        let variants = definition["oneOf"].as_array();
        definition["enum"].is_array() || variants.is_some_and(|all| all.iter().all(|one| one["const"].is_string()))
    }

    fn finish(mut self) -> Map<String, Value> {
        self.0.take_definitions(true)
    }
}

/// The first paragraph, which is the summary, and the whole.
fn describe(documentation: &str) -> (String, &str) {
    let summary = documentation.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    (summary, documentation)
}

/// Every operation may fail: which codes it fails with, its description says.
fn with_errors(responses: Value) -> Value {
    let mut responses = responses;
    responses["default"] = json!({ "$ref": "#/components/responses/error" });
    responses
}

/// The forms of an answer that comes as a whole or as these events.
fn streamed(whole: Value, event: Value, lines: &str) -> Value {
    json!({
        "application/json": { "schema": whole },
        "application/x-ndjson": { "schema": { "type": "string", "description": lines }, "x-event": event },
        "text/event-stream": { "schema": { "type": "string", "description": "The same lines as data of server-sent events." } },
    })
}

/// The parameter of a sandbox's routes.
fn id_parameter() -> Value {
    let description = "The sandbox: `<kind>-<name>`.";
    let schema = json!({ "type": "string", "maxLength": crate::SandboxId::MAX_LENGTH, "examples": ["sbx-build-7"] });
    json!({ "name": "id", "in": "path", "required": true, "description": description, "schema": schema })
}
