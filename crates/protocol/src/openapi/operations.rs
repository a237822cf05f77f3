//! The agent's operations.

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{Path, Schemas, describe, id_parameter, streamed, with_errors};
use crate::{Fold, Operation, Streaming, operations};

pub(super) fn paths(schemas: &mut Schemas) -> Vec<Path> {
    macro_rules! list {
        (calls: [$($call:ty),* $(,)?], streams: [$($stream:ty),* $(,)?] $(,)?) => {
            vec![$(call::<$call>(schemas),)* $(stream::<$stream>(schemas),)*]
        };
    }
    operations!(list)
}

fn call<O>(schemas: &mut Schemas) -> Path
where
    O: Operation + JsonSchema,
    O::Response: JsonSchema,
{
    let response = schemas.inline::<O::Response>();
    path::<O>(schemas, json!({ "application/json": { "schema": response } }))
}

fn stream<O>(schemas: &mut Schemas) -> Path
where
    O: Streaming + JsonSchema,
    O::Event: JsonSchema,
    <O::Fold as Fold<O>>::Output: JsonSchema,
{
    let whole = schemas.inline::<<O::Fold as Fold<O>>::Output>();
    let event = schemas.inline::<O::Event>();
    let lines = "One event a line; the last line is the result, `{\"type\": \"result\", …}`, or the error.";
    path::<O>(schemas, streamed(whole, event, lines))
}

fn path<O: Operation + JsonSchema>(schemas: &mut Schemas, content: Value) -> Path {
    let mut request = schemas.inline::<O>();
    let documentation = request.as_object_mut().and_then(|schema| schema.remove("description"));
    let (summary, description) = describe(documentation.as_ref().and_then(Value::as_str).unwrap_or_default());
    let family = O::NAME.split('.').next().unwrap_or_default();
    let operation = json!({
        "operationId": O::NAME,
        "tags": [family],
        "summary": summary,
        "description": description,
        "parameters": [id_parameter()],
        "requestBody": { "required": true, "content": { "application/json": { "schema": request } } },
        "responses": with_errors(json!({ "200": { "description": "What came of it.", "content": content } })),
        "x-read-only": O::READ_ONLY,
        "x-idempotent": O::IDEMPOTENT,
    });
    (format!("/v1/sandboxes/{{id}}/{}", O::NAME.replace('.', "/")), "post", operation)
}
