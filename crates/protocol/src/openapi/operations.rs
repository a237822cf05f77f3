//! The agent's operations.

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{Golden, Path, Schemas, describe, id_parameter, query, streamed, with_errors};
use crate::{Fold, Operation, Streaming, operations};

/// What an answer with status 200 is. No union of schemas says the second sentence: whoever calls by a generated client would have to tell
/// the two apart at each call, for what few of them meet.
const RESULT: &str = "What came of it. Where that takes longer than some seconds, the body begins with spaces, and what fails after that is an \
                      `ErrorBody` under this status.";

pub(super) fn paths(schemas: &mut Schemas, golden: &Golden<'_>) -> Vec<Path> {
    macro_rules! list {
        (calls: [$($call:ty),* $(,)?], streams: [$($stream:ty),* $(,)?] $(,)?) => {
            [$(call::<$call>(schemas, golden),)* $(stream::<$stream>(schemas, golden),)*].into_iter().flatten().collect()
        };
    }
    operations!(list)
}

fn call<O>(schemas: &mut Schemas, golden: &Golden<'_>) -> Vec<Path>
where
    O: Operation + JsonSchema,
    O::Response: JsonSchema,
{
    let response = schemas.inline::<O::Response>();
    let golden = golden(O::NAME);
    let example = &golden["response"]["example"];
    paths_of::<O>(schemas, &golden, json!({ "application/json": { "schema": response, "example": example } }))
}

fn stream<O>(schemas: &mut Schemas, golden: &Golden<'_>) -> Vec<Path>
where
    O: Streaming + JsonSchema,
    O::Event: JsonSchema,
    <O::Fold as Fold<O>>::Output: JsonSchema,
{
    let whole = schemas.inline::<<O::Fold as Fold<O>>::Output>();
    let event = schemas.inline::<O::Event>();
    let lines = "One event a line; the last line is the result, `{\"type\": \"result\", …}`, or the error.";
    let golden = golden(O::NAME);
    let mut content = streamed(whole, event, lines);
    content["application/json"]["example"] = golden["fold"]["example"].clone();
    content["application/x-ndjson"]["x-examples"] = golden["event"]["examples"].clone();
    paths_of::<O>(schemas, &golden, content)
}

/// The operation by `POST`, and by `GET` where it only looks.
fn paths_of<O: Operation + JsonSchema>(schemas: &mut Schemas, golden: &Value, content: Value) -> Vec<Path> {
    let mut request = schemas.inline::<O>();
    let documentation = request.as_object_mut().and_then(|schema| schema.remove("description"));
    let (summary, description) = describe(documentation.as_ref().and_then(Value::as_str).unwrap_or_default());
    let family = O::NAME.split('.').next().unwrap_or_default();
    let mut operation = json!({
        "operationId": O::NAME,
        "x-operation": O::NAME,
        "tags": [family],
        "summary": summary,
        "description": description,
        "parameters": [id_parameter()],
        "responses": with_errors(json!({ "200": { "description": RESULT, "content": content } })),
        "x-read-only": O::READ_ONLY,
        "x-idempotent": O::IDEMPOTENT,
    });
    let path = format!("/v1/sandboxes/{{id}}/{}", O::NAME.replace('.', "/"));
    let mut paths = Vec::new();
    if O::READ_ONLY {
        let mut look = operation.clone();
        look["operationId"] = format!("{}_by_query", O::NAME).into();
        let parameters = [vec![id_parameter()], query::parameters(&request, schemas)].concat();
        look["parameters"] = parameters.into();
        paths.push((path.clone(), "get", look));
    }
    operation["requestBody"] = json!({
        "required": true,
        "content": { "application/json": { "schema": request, "example": golden["request"]["example"] } },
    });
    paths.push((path, "post", operation));
    paths
}
