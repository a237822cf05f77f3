//! `openapi.json` and `openapi.html` are made from the types: `CABANA_BLESS=1 cargo test -p cabana-protocol` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use cabana_protocol::{openapi, table::DESCRIPTORS};
use serde_json::Value;

#[test]
fn the_files_are_up_to_date() {
    let document = openapi::document();
    for (name, content) in [("openapi.json", format!("{document:#}\n")), ("openapi.html", openapi::page(&document))] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var_os("CABANA_BLESS").is_some() {
            fs::write(&path, content).unwrap();
        } else {
            let kept = fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == content, "CABANA_BLESS=1 cargo test -p cabana-protocol writes {name} anew");
        }
    }
}

/// Every operation object of the document.
fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values())
}

#[test]
fn every_operation_is_in_it_once() {
    let document = openapi::document();
    let names: Vec<_> = operations(&document).map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "names are unique");
    for descriptor in DESCRIPTORS {
        assert!(names.contains(&descriptor.name), "{}", descriptor.name);
    }
}

#[test]
fn whatever_it_refers_to_is_there() {
    fn check(value: &Value, document: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                fields.values().for_each(|value| check(value, document));
            }
            Value::Array(values) => values.iter().for_each(|value| check(value, document)),
            _ => {}
        }
    }
    let document = openapi::document();
    check(&document, &document);
}

#[test]
fn everything_is_described() {
    for operation in operations(&openapi::document()) {
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.ends_with('.')), "{operation}");
    }
}
