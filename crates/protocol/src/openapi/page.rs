//! The document as one page to read: no script, nothing fetched.

use std::fmt::Write;

use serde_json::{Map, Value};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}\
code{font:14px/1.5 ui-monospace,monospace}summary{cursor:pointer;padding:.3rem 0}summary b{display:inline-block;min-width:4rem}\
table{border-collapse:collapse;margin:.5rem 0 1rem}td{border-top:1px solid #ccc;padding:.25rem .75rem .25rem 0;vertical-align:top}\
pre{white-space:pre-wrap}@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}a{color:#8ab4f8}td{border-color:#444}}";

/// The page of a [`document`](super::document).
pub fn page(document: &Value) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Cabana: the API</title><style>{STYLE}</style></head><body>\n<h1>Cabana: the API</h1>\n\
         <p>Version {}. The same as a document for programs: <a href=\"/v1/openapi.json\">/v1/openapi.json</a>.</p>\n",
        escape(text(&document["info"]["version"]))
    );
    for (tag, operations) in by_tag(document) {
        let _ = writeln!(page, "<h2 id=\"{0}\">{0}</h2>", escape(tag));
        for (method, path, operation) in operations {
            describe(&mut page, document, (method, path), operation);
        }
    }
    page.push_str("</body></html>\n");
    page
}

type Operations<'a> = Vec<(&'a str, &'a str, &'a Value)>;

/// The operations of each tag, the tags in the order in which they come.
fn by_tag(document: &Value) -> Vec<(&str, Operations<'_>)> {
    let mut tags: Vec<(&str, Operations<'_>)> = Vec::new();
    for (path, item) in fields(document, "paths") {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let tag = text(&operation["tags"][0]);
            let entry = (method.as_str(), path.as_str(), operation);
            match tags.iter_mut().find(|(known, _)| *known == tag) {
                Some((_, operations)) => operations.push(entry),
                None => tags.push((tag, vec![entry])),
            }
        }
    }
    tags.sort_by_key(|(tag, _)| *tag);
    tags
}

fn describe(page: &mut String, document: &Value, (method, path): (&str, &str), operation: &Value) {
    let (method, path, summary) = (escape(&method.to_uppercase()), escape(path), escape(text(&operation["summary"])));
    let _ = writeln!(page, "<details><summary><b>{method}</b> <code>{path}</code><br>{summary}</summary>");
    let _ = writeln!(page, "<pre>{}</pre>", escape(text(&operation["description"])));
    let query: Vec<_> = operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "query").collect();
    table(page, "Query", query.into_iter().map(|one| (text(&one["name"]), one, one["required"] == true)));
    for (media_type, content) in
        fields(operation, "requestBody").filter(|(key, _)| *key == "content").flat_map(|(_, content)| entries(content))
    {
        body(page, document, &format!("Request, {media_type}"), &content["schema"]);
    }
    for (status, response) in fields(operation, "responses").filter(|(status, _)| *status != "default") {
        for (media_type, content) in fields(response, "content") {
            body(page, document, &format!("Answer {status}, {media_type}"), &content["schema"]);
        }
    }
    page.push_str("</details>\n");
}

/// The fields of a schema, where it is an object's.
fn body(page: &mut String, document: &Value, title: &str, schema: &Value) {
    let schema = resolve(document, schema);
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().map(text).collect();
    table(
        page,
        title,
        fields(schema, "properties").map(|(name, field)| (name.as_str(), field, required.contains(&name.as_str()))),
    );
}

fn table<'a>(page: &mut String, title: &str, rows: impl Iterator<Item = (&'a str, &'a Value, bool)>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let _ = writeln!(page, "<h4>{}</h4><table>", escape(title));
    for (name, field, required) in rows {
        let (name, optional, description) = (escape(name), if required { "" } else { "?" }, escape(text(&field["description"])));
        let _ = writeln!(page, "<tr><td><code>{name}</code>{optional}</td><td>{description}</td></tr>");
    }
    page.push_str("</table>\n");
}

/// What a schema is that only refers to another.
fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let pointer = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(schema)
}

fn fields<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    entries(&value[key])
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
