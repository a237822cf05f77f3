//! One golden file per operation: what it says on the wire, and the schema of every type it uses. A change of the wire
//! shows as a change of a file under `golden/`; `CABANA_BLESS=1 cargo test -p cabana-protocol` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "golden/code.rs"]
mod code_examples;
#[path = "golden/exec.rs"]
mod exec_examples;
#[path = "golden/file.rs"]
mod file_examples;
#[path = "golden/git.rs"]
mod git_examples;
#[path = "golden/process.rs"]
mod process_examples;
#[path = "golden/sandbox.rs"]
mod sandbox_examples;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use cabana_protocol::{exec::*, table::DESCRIPTORS, *};
use schemars::{JsonSchema, schema_for};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Every field of a request and of its response, filled. A listed operation without an example does not compile.
trait Example: Operation {
    fn request() -> Self;
    fn response() -> Self::Response;
}

/// The same for what a streaming operation says and can be told.
trait StreamExample: Example + Streaming {
    fn events() -> Vec<Self::Event>;
    fn inputs() -> Vec<Self::Input>;
}

fn tty() -> Tty {
    Tty { cols: Cells::new(120).unwrap(), rows: Cells::new(40).unwrap() }
}

fn process_id() -> ProcessId {
    ProcessId::new("k3x9ab", 17)
}

/// The value as JSON, after checking that it reads back to the same JSON, also with a field that nobody knows.
fn wire<T: Serialize + DeserializeOwned>(value: &T) -> Value {
    let encoded = serde_json::to_value(value).unwrap();
    let mut grown = encoded.clone();
    grown.as_object_mut().unwrap().insert("added_later".into(), json!(1));
    let back: T = serde_json::from_value(grown).unwrap();
    assert_eq!(serde_json::to_value(&back).unwrap(), encoded);
    encoded
}

/// A request or input as JSON, after checking that it reads back to the same JSON, and that a field which nobody knows is refused by name,
/// in whichever object it is.
fn asked<T: Serialize + DeserializeOwned>(value: &T) -> Value {
    let encoded = serde_json::to_value(value).unwrap();
    let read = |value: &Value| decode::<T>(value.to_string().as_bytes());
    assert_eq!(serde_json::to_value(read(&encoded).map_err(|error| error.message).ok().unwrap()).unwrap(), encoded);
    for pointer in objects(&encoded) {
        let mut misspelt = encoded.clone();
        misspelt.pointer_mut(&pointer).unwrap().as_object_mut().unwrap().insert("misspelt".into(), json!(1));
        let error = read(&misspelt).err().unwrap_or_else(|| panic!("a misspelt field is taken: {misspelt}"));
        // An object that is one word and what belongs to it takes the first field for the word.
        let reason = error.details.unwrap_or_default()["reason"].take();
        let refused = reason == "unknown_field" || reason == "invalid_field";
        assert!(error.message.contains("misspelt") && refused, "{misspelt}: {}", error.message);
    }
    encoded
}

/// The places of all objects whose fields have names of ours.
fn objects(value: &Value) -> Vec<String> {
    fn collect(value: &Value, pointer: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.push(pointer.to_owned());
                let named = fields.iter().filter(|(name, _)| *name != "env");
                named.for_each(|(name, value)| collect(value, &format!("{pointer}/{name}"), found));
            }
            Value::Array(values) => {
                values.iter().enumerate().for_each(|(index, value)| collect(value, &format!("{pointer}/{index}"), found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(value, "", &mut found);
    found
}

fn call<O: Example + JsonSchema>() -> Value
where
    O::Response: JsonSchema,
{
    let mut golden = json!({
        "name": O::NAME,
        "idempotent": O::IDEMPOTENT,
        "wakes": O::ASLEEP.is_none(),
        "request": { "example": asked(&O::request()), "schema": schema_for!(O) },
        "response": { "example": wire(&O::response()), "schema": schema_for!(O::Response) },
    });
    if let Some(asleep) = O::ASLEEP {
        golden["asleep"] = wire(&serde_json::from_str::<O::Response>(asleep).unwrap());
    }
    golden
}

fn stream<O: StreamExample + JsonSchema>() -> Value
where
    O::Response: JsonSchema,
    O::Event: JsonSchema + Clone,
    O::Input: JsonSchema,
    <O::Fold as Fold<O>>::Output: JsonSchema,
{
    let mut fold = O::Fold::new(&O::request());
    O::events().into_iter().for_each(|event| fold.push(event));
    let mut golden = call::<O>();
    golden["event"] = json!({ "examples": O::events().iter().map(wire).collect::<Vec<_>>(), "schema": schema_for!(O::Event) });
    golden["input"] = json!({ "examples": O::inputs().iter().map(asked).collect::<Vec<_>>(), "schema": schema_for!(O::Input) });
    golden["fold"] = json!({
        "example": wire(&fold.finish(O::response())),
        "schema": schema_for!(<O::Fold as Fold<O>>::Output),
    });
    golden
}

macro_rules! goldens {
    (calls: [$($call:ty),* $(,)?], streams: [$($stream:ty),* $(,)?] $(,)?) => {
        vec![$(call::<$call>(),)* $(stream::<$stream>(),)*]
    };
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

#[test]
fn the_wire_is_what_the_golden_files_say() {
    for golden in operations!(goldens) {
        let name = golden["name"].as_str().unwrap();
        let path = directory().join(format!("{name}.json"));
        let text = format!("{golden:#}\n");
        if std::env::var_os("CABANA_BLESS").is_some() {
            fs::write(&path, text).unwrap();
        } else {
            let kept = fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == text, "the wire of {name} has changed; CABANA_BLESS=1 cargo test -p cabana-protocol writes:\n{text}");
        }
    }
}

#[test]
fn every_golden_file_belongs_to_an_operation() {
    let files = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = DESCRIPTORS.iter().map(|descriptor| format!("{}.json", descriptor.name));
    assert_eq!(files.collect::<BTreeSet<_>>(), names.collect::<BTreeSet<_>>());
}

/// How many operations the sources below this directory define.
fn count(directory: &Path) -> usize {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let counts = paths.map(|path| match path.is_dir() {
        true => count(&path),
        false => fs::read_to_string(path).unwrap().lines().filter(|line| line.starts_with("impl Operation for ")).count(),
    });
    counts.sum()
}

#[test]
fn every_operation_of_the_crate_is_listed() {
    let written = count(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert_eq!(written, DESCRIPTORS.len());
}

#[test]
fn names_are_family_and_verb() {
    for descriptor in DESCRIPTORS {
        let parts: Vec<_> = descriptor.name.split('.').collect();
        let words = parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        assert!(words && (parts.len() == 2 || descriptor.name == "exec"), "{}", descriptor.name);
    }
}
