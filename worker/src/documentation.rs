//! The document as one page to read, from which a request can be written. Nothing is fetched.

mod shape;

use std::fmt::Write;

use serde_json::{Map, Value};

use self::shape::{Fields, kind_of};

const STYLE: &str = include_str!("documentation/style.css");

/// Filters the operations by what is typed. The gateway's policy names its digest.
const SCRIPT: &str = include_str!("documentation/search.js");

/// The families in the order in which a newcomer needs them; others come before the last.
const ORDER: [&str; 13] =
    ["sandbox", "exec", "code", "process", "session", "file", "archive", "git", "port", "system", "project", "kind", "connect"];
const LAST: [&str; 7] = ["token", "key", "metrics", "health", "openapi", "docs", "audit"];

/// What ends the id of an operation's `GET` form, which stands beside its `POST`.
const BY_QUERY: &str = "_by_query";

/// The page of an OpenAPI document of ours.
pub(crate) fn page(document: &Value) -> String {
    let families = families(document);
    let links: String = families.iter().map(|(tag, _)| format!("<a href=\"#{0}\">{0}</a> ", escape(tag))).collect();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>Cabana: the API</title>\
         <style>{STYLE}</style></head><body>\n<header><h1>Cabana: the API</h1><p>Version {}. For programs: \
         <a href=\"/v1/openapi.json\">/v1/openapi.json</a>.</p><input id=\"search\" type=\"search\" placeholder=\"Search operations and fields\" \
         aria-label=\"Search operations and fields\"><nav>{links}</nav></header>\n<main>\n",
        escape(text(&document["info"]["version"]))
    );
    page.push_str(include_str!("documentation/introduction.html"));
    codes(&mut page, document);
    for (tag, operations) in families {
        let _ = writeln!(page, "<h2 id=\"{0}\"><a href=\"#{0}\">{0}</a></h2>", escape(tag));
        for operation in operations {
            describe(&mut page, document, &operation);
        }
    }
    let _ = writeln!(page, "</main><script>{SCRIPT}</script></body></html>");
    page
}

/// An operation, and where it is.
struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    operation: &'a Value,
}

/// The operations of each family.
fn families(document: &Value) -> Vec<(&str, Vec<Operation<'_>>)> {
    let mut families: Vec<(&str, Vec<Operation<'_>>)> = Vec::new();
    for (path, item) in entries(&document["paths"]) {
        for (method, operation) in entries(item) {
            if text(&operation["operationId"]).ends_with(BY_QUERY) {
                continue;
            }
            let tag = text(&operation["tags"][0]);
            let entry = Operation { method, path, operation };
            match families.iter_mut().find(|(known, _)| *known == tag) {
                Some((_, operations)) => operations.push(entry),
                None => families.push((tag, vec![entry])),
            }
        }
    }
    let place = |tag: &str| {
        let first = ORDER.iter().position(|known| *known == tag);
        let last = LAST.iter().position(|known| *known == tag).map(|place| ORDER.len() + 1 + place);
        first.or(last).unwrap_or(ORDER.len())
    };
    families.sort_by_key(|(tag, _)| (place(tag), *tag));
    for (_, operations) in &mut families {
        // What makes something is asked for first.
        operations
            .sort_by_key(|one| (!text(&one.operation["operationId"]).ends_with(".create"), text(&one.operation["operationId"])));
    }
    families
}

/// The codes of errors, each with its status and meaning.
fn codes(page: &mut String, document: &Value) {
    page.push_str(
        "<h2 id=\"errors\"><a href=\"#errors\">Errors</a></h2>\n<p>Every error has this form; the status is the code's. An \
         operation that takes long is answered with spaces and with status 200 meanwhile: what fails after that has this form as the \
         body.</p>\n",
    );
    page.push_str(
        "<pre>{\"error\": {\"code\": \"not_found\", \"message\": \"…\", \"retryable\": false, \"details\": {\"reason\": \"…\"}}, \
         \"request_id\": \"…\"}</pre>\n<div class=\"wide\"><table>\n",
    );
    for code in document.pointer("/components/schemas/Code/oneOf").and_then(Value::as_array).into_iter().flatten() {
        let (status, meaning) = text(&code["description"]).split_once(": ").unwrap_or_default();
        let _ = writeln!(
            page,
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
            escape(text(&code["const"])),
            escape(status),
            prose(meaning)
        );
    }
    page.push_str("</table></div>\n");
}

fn describe(page: &mut String, document: &Value, Operation { method, path, operation }: &Operation<'_>) {
    let (id, summary) = (escape(text(&operation["operationId"])), prose(text(&operation["summary"])));
    let (method, path) = (escape(&method.to_uppercase()), escape(path));
    let _ = writeln!(
        page,
        "<details class=\"operation\" id=\"{id}\"><summary><b>{id}</b> <code>{method} {path}</code><br>{summary}</summary>"
    );
    let description = text(&operation["description"]);
    for paragraph in description.split("\n\n").skip(1) {
        let _ = writeln!(page, "<p>{}</p>", prose(paragraph));
    }
    if operation["x-read-only"] == true {
        let _ =
            writeln!(page, "<p>Changes nothing. <code>GET</code> does the same, with the fields as parameters of the query.</p>");
    }
    let fields = Fields::new(document);
    let query: Vec<_> = operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "query").collect();
    if !query.is_empty() {
        page.push_str("<h4>Query</h4>");
        fields.parameters(page, &query);
    }
    for (media_type, content) in entries(&operation["requestBody"]["content"]) {
        body(page, document, &format!("Request, {media_type}"), content);
    }
    for (status, response) in entries(&operation["responses"]).filter(|(status, _)| *status != "default") {
        for (media_type, content) in entries(&response["content"]) {
            body(page, document, &format!("Answer {status}, {media_type}"), content);
        }
    }
    page.push_str("</details>\n");
}

/// A body: its fields, and an example.
fn body(page: &mut String, document: &Value, title: &str, content: &Value) {
    let _ = writeln!(page, "<h4>{}</h4>", escape(title));
    let (fields, schema) = (Fields::new(document), &content["schema"]);
    if !fields.table(page, schema) {
        let _ = writeln!(page, "<p>{}. {}</p>", escape(&kind_of(document, schema)), prose(text(&schema["description"])));
    }
    if content["x-event"].is_object() {
        page.push_str("<p>An event:</p>");
        fields.table(page, &content["x-event"]);
    }
    for example in content.get("example").into_iter().chain(content["x-examples"].as_array().into_iter().flatten()) {
        let _ = writeln!(page, "<pre class=\"example\">{}</pre>", escape(&example.to_string()));
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text with code in backticks.
fn prose(text: &str) -> String {
    let escaped = escape(text);
    let parts: Vec<_> = escaped.split('`').collect();
    // A backtick without another one is one.
    if parts.len().is_multiple_of(2) {
        return escaped;
    }
    let code = |(number, part): (usize, &&str)| if number % 2 == 1 { format!("<code>{part}</code>") } else { (*part).to_owned() };
    parts.iter().enumerate().map(code).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
