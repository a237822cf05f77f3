//! The README's table of operations is made from the operations: `CABANA_BLESS=1 cargo test -p cabana-protocol` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::PathBuf};

use cabana_protocol::{Operation, operations, table};
use schemars::{JsonSchema, schema_for};

const BEGIN: &str = "<!-- operations: begin -->\n";
const END: &str = "<!-- operations: end -->\n";

/// A line of the table; what the operation does is the first paragraph of its documentation, without line breaks.
fn line<O: Operation + JsonSchema>() -> String {
    let descriptor = table::find(O::NAME).unwrap();
    let schema = schema_for!(O);
    let description = schema.get("description").and_then(|description| description.as_str()).unwrap();
    let summary = description.split("\n\n").next().unwrap().replace('\n', " ");
    let fields = schema.get("properties").and_then(|fields| fields.as_object()).cloned().unwrap_or_default();
    let required = schema.get("required").and_then(|names| names.as_array()).cloned().unwrap_or_default();
    let names = |optional: bool| {
        let names = fields.keys().filter(move |name| required.iter().any(|one| one == name.as_str()) != optional);
        names.map(move |name| if optional { format!("`{name}`?") } else { format!("`{name}`") }).collect::<Vec<_>>()
    };
    let fields = [names.clone()(false), names(true)].concat().join(" ");
    let streams = if descriptor.streaming { "yes" } else { "" };
    format!("| `{}` | {fields} | {streams} | {summary} |\n", O::NAME)
}

macro_rules! lines {
    (calls: [$($call:ty),* $(,)?], streams: [$($stream:ty),* $(,)?] $(,)?) => {
        [$(line::<$stream>(),)* $(line::<$call>(),)*].concat()
    };
}

#[test]
fn the_readme_lists_every_operation() {
    let table = format!("| operation | request | streams | what it does |\n| --- | --- | --- | --- |\n{}", operations!(lines));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("the README says where the table begins");
    let (kept, after) = rest.split_once(END).expect("the README says where the table ends");
    if std::env::var_os("CABANA_BLESS").is_some() {
        fs::write(&path, [before, BEGIN, &table, END, after].concat()).unwrap();
    } else {
        assert!(kept == table, "CABANA_BLESS=1 cargo test -p cabana-protocol writes the README's table anew:\n{table}");
    }
}
