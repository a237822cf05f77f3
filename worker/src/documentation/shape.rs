//! The fields of a schema as a table, each with its type and unit.

use std::fmt::Write;

use serde_json::Value;

use super::{entries, escape, prose, text};

/// How deep objects within objects are shown.
const DEPTH: usize = 3;

/// Shows fields of schemas of this document.
pub(super) struct Fields<'a> {
    document: &'a Value,
}

impl<'a> Fields<'a> {
    pub(super) fn new(document: &'a Value) -> Self {
        Self { document }
    }

    /// The parameters of a query.
    pub(super) fn parameters(&self, page: &mut String, parameters: &[&Value]) {
        page.push_str("<div class=\"wide\"><table>\n");
        for one in parameters {
            let kind = kind_of(self.document, &one["schema"]);
            row(page, text(&one["name"]), one["required"] == true, &kind, text(&one["description"]));
        }
        page.push_str("</table></div>\n");
    }

    /// The fields of an object, or of each variant of a union; false where it has none.
    pub(super) fn table(&self, page: &mut String, schema: &Value) -> bool {
        let mut rows = String::new();
        self.rows(&mut rows, schema, "", DEPTH);
        if rows.is_empty() {
            return false;
        }
        let _ = writeln!(page, "<div class=\"wide\"><table>\n{rows}</table></div>");
        true
    }

    fn rows(&self, rows: &mut String, schema: &Value, prefix: &str, depth: usize) {
        let schema = resolve(self.document, schema);
        for variant in variants(schema) {
            let variant = resolve(self.document, variant);
            if !variant["properties"].is_object() {
                continue;
            }
            let title = text(&variant["title"]);
            let _ = writeln!(
                rows,
                "<tr><td colspan=\"3\"><b>{}</b> {}</td></tr>",
                escape(title),
                prose(text(&variant["description"]))
            );
            self.rows(rows, variant, prefix, depth);
        }
        let required: Vec<_> = schema["required"].as_array().into_iter().flatten().map(text).collect();
        for (name, field) in entries(&schema["properties"]) {
            let path = format!("{prefix}{name}");
            row(
                rows,
                &path,
                required.contains(&name.as_str()),
                &unit(name, kind_of(self.document, field)),
                text(&field["description"]),
            );
            let inner = inner(self.document, field);
            if depth > 1
                && (inner["properties"].is_object() || variants(inner).next().is_some_and(|one| one["properties"].is_object()))
            {
                self.rows(rows, inner, &format!("{path}."), depth - 1);
            }
        }
    }
}

fn row(page: &mut String, name: &str, required: bool, kind: &str, description: &str) {
    let optional = if required { "" } else { "?" };
    let _ = writeln!(
        page,
        "<tr><td><code>{}</code>{optional}</td><td>{}</td><td>{}</td></tr>",
        escape(name),
        escape(kind),
        prose(description)
    );
}

/// What a value of this schema is, in a few words.
pub(super) fn kind_of(document: &Value, schema: &Value) -> String {
    let schema = resolve(document, schema);
    if let Some(words) = words(schema) {
        return words.join(" | ");
    }
    let kinds: Vec<_> = variants(schema).map(|variant| kind_of(document, variant)).filter(|kind| kind != "null").collect();
    if !kinds.is_empty() {
        let mut unique: Vec<String> = Vec::new();
        kinds.into_iter().for_each(|kind| {
            if !unique.contains(&kind) {
                unique.push(kind)
            }
        });
        return unique.join(" | ");
    }
    if let Some(word) = schema["const"].as_str() {
        return format!("\"{word}\"");
    }
    let kind = match &schema["type"] {
        Value::Array(types) => types.iter().map(text).find(|kind| *kind != "null").unwrap_or_default(),
        kind => text(kind),
    };
    match kind {
        "array" => format!("array of {}", kind_of(document, &schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("object of {}", kind_of(document, &schema["additionalProperties"]))
        }
        "" => "any".to_owned(),
        kind => kind.to_owned(),
    }
}

/// The unit that a name says.
fn unit(name: &str, kind: String) -> String {
    let unit = if name.ends_with("_ms") {
        "milliseconds"
    } else if name.ends_with("_bytes") || name == "size" {
        "bytes"
    } else if name.ends_with("_at") {
        "RFC 3339, UTC"
    } else {
        return kind;
    };
    format!("{kind}, {unit}")
}

/// The words of an enumeration.
fn words(schema: &Value) -> Option<Vec<String>> {
    let listed = schema["enum"].as_array().map(|words| words.iter().map(|word| format!("\"{}\"", text(word))).collect());
    listed.or_else(|| {
        let variants = schema["oneOf"].as_array()?;
        variants.iter().map(|one| one["const"].as_str().map(|word| format!("\"{word}\""))).collect()
    })
}

fn variants(schema: &Value) -> impl Iterator<Item = &Value> {
    ["oneOf", "anyOf"].into_iter().flat_map(|union| schema[union].as_array().into_iter().flatten())
}

/// The schema of what is in a field: of the elements of an array, or of what may be absent.
fn inner<'a>(document: &'a Value, field: &'a Value) -> &'a Value {
    let field = resolve(document, field);
    if field["items"].is_object() {
        return inner(document, &field["items"]);
    }
    let mut present = variants(field).filter(|variant| variant["type"] != "null");
    match (present.next(), present.next()) {
        (Some(only), None) => inner(document, only),
        _ => field,
    }
}

/// What a schema is that only refers to another.
fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let pointer = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(schema)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_are_said_in_words() {
        let document = json!({ "components": { "schemas": { "Shell": { "oneOf": [{ "const": "bash" }, { "const": "sh" }] } } } });
        for (schema, expected) in [
            (json!({ "type": "string" }), "string"),
            (json!({ "type": ["integer", "null"] }), "integer"),
            (json!({ "type": "array", "items": { "type": "string" } }), "array of string"),
            (json!({ "anyOf": [{ "$ref": "#/components/schemas/Shell" }, { "type": "null" }] }), "\"bash\" | \"sh\""),
            (json!({ "anyOf": [{ "type": "string" }, { "type": "object" }] }), "string | object"),
            (json!({ "type": "object", "additionalProperties": { "type": "string" } }), "object of string"),
            (json!({}), "any"),
        ] {
            assert_eq!(kind_of(&document, &schema), expected, "{schema}");
        }
    }

    #[test]
    fn units_are_those_of_the_names() {
        for (name, expected) in [("timeout_ms", "integer, milliseconds"), ("size_bytes", "integer, bytes"), ("pid", "integer")] {
            assert_eq!(unit(name, "integer".to_owned()), expected);
        }
    }
}
