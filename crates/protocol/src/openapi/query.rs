//! The query of an operation that only looks, which is its request by `GET`.

use serde_json::{Map, Value, json};

use super::Schemas;

/// The parameters that say what this request says.
pub(super) fn parameters(request: &Value, schemas: &Schemas) -> Vec<Value> {
    let required: Vec<_> = request["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = request["properties"].as_object().into_iter().flatten();
    fields.map(|(name, field)| parameter(name, field, required.contains(&name.as_str()), schemas)).collect()
}

fn parameter(name: &str, field: &Value, required: bool, schemas: &Schemas) -> Value {
    let mut description = field["description"].as_str().unwrap_or_default().to_owned();
    let schema = schema(field, schemas).unwrap_or_else(|| {
        description.push_str(" An object is written as JSON.");
        json!({ "type": "string" })
    });
    json!({ "name": name, "in": "query", "required": required, "description": description, "schema": schema })
}

/// The schema of a parameter; `None` where it is written as JSON.
fn schema(field: &Value, schemas: &Schemas) -> Option<Value> {
    let mut schema = field.as_object()?.clone();
    schema.remove("description");
    schema.remove("default");
    if let Some(variants) = schema.get("anyOf").and_then(Value::as_array) {
        // One of them says that it may be absent, which needs no words in a query.
        let [present] = variants.iter().filter(|variant| variant["type"] != "null").collect::<Vec<_>>()[..] else { return None };
        return self::schema(present, schemas);
    }
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return match reference.rsplit('/').next()? {
            // Text in a query may be any bytes.
            "FilePath" | "Data" => Some(json!({ "type": "string" })),
            name => schemas.defines_words(name).then_some(Value::Object(schema)),
        };
    }
    single_type(&mut schema);
    matches!(schema.get("type")?.as_str()?, "string" | "integer" | "number" | "boolean" | "array")
        .then_some(Value::Object(schema))
}

/// Of two types one is null.
fn single_type(schema: &mut Map<String, Value>) {
    let types = schema.get("type").and_then(Value::as_array);
    let present = types.and_then(|types| types.iter().find(|one| **one != "null").cloned());
    schema.extend(present.map(|present| ("type".to_owned(), present)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{file::Read, process::Wait};

    #[test]
    fn fields_become_parameters_by_their_types() {
        let mut schemas = Schemas::new();
        let (read, wait) = (schemas.inline::<Read>(), schemas.inline::<Wait>());
        let shown = |request: &Value| {
            let all = parameters(request, &schemas);
            let one = |one: &Value| format!("{} {} {}", one["name"].as_str().unwrap(), one["required"], one["schema"]["type"]);
            all.iter().map(one).collect::<Vec<_>>()
        };
        let read = shown(&read);
        for expected in [r#"path true "string""#, r#"offset false "integer""#, r#"lines false "string""#, "encoding false null"] {
            assert!(read.iter().any(|one| one == expected), "{expected}: {read:?}");
        }
        assert!(shown(&wait).iter().any(|one| one == r#"until true "string""#));
    }
}
