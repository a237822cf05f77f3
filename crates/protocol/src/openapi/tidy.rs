//! What the documentation of types has and a reader of the API has no use for, and what schemas lack.

use serde_json::{Map, Value};

/// Takes links to types out of all descriptions, gives each variant of a union a title, and writes schemas out that are but another name
/// of one: generators of clients make a class of each title, and none of a name that only refers.
pub(super) fn tidy(document: &mut Value) {
    write_out_aliases(document);
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    schemas.into_iter().flatten().for_each(|(name, schema)| clean(schema, name));
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for operation in paths.filter_map(|(_, item)| item.as_object_mut()).flat_map(|item| item.values_mut()) {
        let id = operation["operationId"].as_str().unwrap_or_default().replace('.', "_");
        clean(operation, &id);
    }
}

fn write_out_aliases(document: &mut Value) {
    let Some(schemas) = document.pointer("/components/schemas").and_then(Value::as_object) else { return };
    let written_out: Vec<_> = schemas
        .iter()
        .filter_map(|(name, alias)| {
            let target = alias["$ref"].as_str()?.rsplit('/').next()?;
            let mut schema = schemas.get(target)?.clone();
            schema.as_object_mut()?.extend(alias.as_object()?.iter().map(|(key, value)| (key.clone(), value.clone())));
            schema.as_object_mut()?.remove("$ref");
            Some((name.clone(), schema))
        })
        .collect();
    for (name, schema) in written_out {
        document["components"]["schemas"][name] = schema;
    }
}

/// Cleans what is within the schema or operation of this name.
fn clean(value: &mut Value, within: &str) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(description)) = fields.get_mut("description") {
                *description = without_links(description);
            }
            for union in ["oneOf", "anyOf"] {
                let variants = fields.get_mut(union).and_then(Value::as_array_mut).into_iter().flatten();
                variants.for_each(|variant| entitle(variant, within));
            }
            // What is no schema is left as it is.
            let schemas = fields.iter_mut().filter(|(key, _)| !["example", "x-examples"].contains(&key.as_str()));
            schemas.for_each(|(_, value)| clean(value, within));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| clean(value, within)),
        _ => {}
    }
}

/// The same text with `[label](path::to::Type)` and ``[`Type::field`]`` as plain words. Links to pages stay.
fn without_links(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some(start) = rest.find('[') {
        let Some(length) = rest[start..].find(']') else { break };
        let (label, after) = (&rest[start + 1..start + length], &rest[start + length + 1..]);
        let target = after.strip_prefix('(').and_then(|target| target.split_once(')'));
        plain.push_str(&rest[..start]);
        match target {
            Some((target, beyond)) if target.contains("::") => {
                plain.push_str(label);
                rest = beyond;
            }
            None if label.starts_with('`') && label.ends_with('`') && label.len() > 2 => {
                let name = label.trim_matches('`');
                plain.extend(["`", name.rsplit("::").next().unwrap_or(name), "`"]);
                rest = after;
            }
            _ => {
                plain.extend(["[", label, "]"]);
                rest = after;
            }
        }
    }
    plain + rest
}

/// A title for a variant that has none: its word, its tag, or its fields. That of an object is the only one of the document.
fn entitle(variant: &mut Value, within: &str) {
    let Some(fields) = variant.as_object() else { return };
    if fields.contains_key("title") || fields.contains_key("$ref") {
        return;
    }
    let title = word(fields).or_else(|| tag(fields)).or_else(|| required(fields)).or_else(|| kind(fields));
    let is_object = fields.get("type").is_some_and(|kind| kind == "object");
    let title = title.map(|title| if is_object { format!("{within} {title}") } else { title });
    if let (Some(title), Some(fields)) = (title, variant.as_object_mut()) {
        fields.insert("title".to_owned(), title.into());
    }
}

fn word(fields: &Map<String, Value>) -> Option<String> {
    fields.get("const")?.as_str().map(str::to_owned)
}

fn tag(fields: &Map<String, Value>) -> Option<String> {
    let properties = fields.get("properties")?.as_object()?;
    properties.values().find_map(|property| word(property.as_object()?))
}

fn required(fields: &Map<String, Value>) -> Option<String> {
    let names: Vec<_> = fields.get("required")?.as_array()?.iter().filter_map(Value::as_str).collect();
    Some(names.join(" and ")).filter(|names| !names.is_empty())
}

fn kind(fields: &Map<String, Value>) -> Option<String> {
    fields.get("type")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_to_types_become_words() {
        for (text, plain) in [
            ("See [`Sandbox::keep_alive`]. Default: false.", "See `keep_alive`. Default: false."),
            ("see [`git.clone`](crate::git::Clone::url).", "see `git.clone`."),
            ("of `[A-Za-z0-9._/-]`, a value", "of `[A-Za-z0-9._/-]`, a value"),
            ("[page](https://example.com) and [x", "[page](https://example.com) and [x"),
            ("`[200, 399]`", "`[200, 399]`"),
        ] {
            assert_eq!(without_links(text), plain);
        }
    }

    #[test]
    fn variants_have_titles() {
        let mut union = json!({ "oneOf": [
            { "const": "bash", "type": "string" },
            { "type": "object", "properties": { "type": { "const": "exited" }, "code": {} }, "required": ["type", "code"] },
            { "type": "object", "properties": { "port": {} }, "required": ["port"] },
            { "type": "string" },
            { "$ref": "#/components/schemas/Data" },
        ] });
        clean(&mut union, "Exit");
        let titles: Vec<_> = union["oneOf"].as_array().unwrap().iter().map(|variant| variant["title"].as_str()).collect();
        assert_eq!(titles, [Some("bash"), Some("Exit exited"), Some("Exit port"), Some("string"), None]);
    }

    #[test]
    fn another_name_of_a_schema_is_written_out() {
        let data = json!({ "type": "string", "description": "bytes" });
        let path = json!({ "$ref": "#/components/schemas/Data", "description": "a path" });
        let mut document = json!({ "components": { "schemas": { "Data": data, "Path": path } }, "paths": {} });
        tidy(&mut document);
        assert_eq!(document["components"]["schemas"]["Path"], json!({ "type": "string", "description": "a path" }));
    }
}
