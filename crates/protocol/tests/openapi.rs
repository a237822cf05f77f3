//! `openapi.json` is made from the types: `CABANA_BLESS=1 cargo test -p cabana-protocol` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use cabana_protocol::{openapi, table::DESCRIPTORS};
use serde_json::Value;

/// The document, with examples of the golden files.
fn document() -> Value {
    openapi::document(&|name| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.json"));
        serde_json::from_str(&fs::read_to_string(path).unwrap_or_default()).unwrap_or_default()
    })
}

#[test]
fn the_file_is_up_to_date() {
    let content = format!("{:#}\n", document());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    if std::env::var_os("CABANA_BLESS").is_some() {
        fs::write(&path, content).unwrap();
    } else {
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == content, "CABANA_BLESS=1 cargo test -p cabana-protocol writes openapi.json anew");
    }
}

/// Every operation object of the document.
fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values())
}

#[test]
fn every_operation_is_in_it_once() {
    let document = document();
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
    let document = document();
    check(&document, &document);
}

#[test]
fn no_type_of_ours_shows() {
    let text = document().to_string();
    for leak in ["](crate::", "[`", "Self::", "super::"] {
        let found = text.find(leak).map(|at| &text[at.saturating_sub(60)..(at + 60).min(text.len())]);
        assert_eq!(found, None, "{leak}");
    }
    let names = operations(&document()).map(|one| one["operationId"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte))), "{names:?}");
}

#[test]
fn everything_is_described() {
    for operation in operations(&document()) {
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.ends_with('.')), "{operation}");
    }
}
