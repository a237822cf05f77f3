//! Reading requests. What is wrong with one is said by the name of its field and without its value, which may be a secret.

use serde::de::{DeserializeOwned, Deserializer};
use serde_json::{Map, Value};

use crate::Error;

/// How messages begin that are ours and hold no value: those of `serde(expecting)`, and the one that names a field which is not there.
const OUR_OWN: [&str; 4] = ["missing field", "a string", "{", "`"];

/// Reads a request, which is a JSON object. Unknown fields are ignored.
///
/// Fails with `invalid_request`.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    // serde would take an array for a struct, field by field.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::invalid_request("the request is not a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let request = read(&mut json)?;
    json.end().map_err(|_| Error::invalid_request("something follows the request"))?;
    Ok(request)
}

/// The same for an object whose fields are known by name already.
///
/// Fails with `invalid_request`.
pub fn decode_fields<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, Error> {
    read(Value::Object(fields))
}

fn read<'de, T: DeserializeOwned>(json: impl Deserializer<'de, Error = serde_json::Error>) -> Result<T, Error> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let (path, error) = (error.path().to_string(), error.into_inner());
        let wrong = wrong(&error);
        // A request as a whole has no name, nor has a place where there is no JSON.
        let nameless = [".", "?"].contains(&path.as_str());
        Error::invalid_request(if nameless { wrong } else { format!("{path}: {wrong}") })
    })
}

/// What serde found wrong, without what it found.
fn wrong(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(", expected ") {
        _ if !error.is_data() => format!("not JSON at line {} column {}", error.line(), error.column()),
        Some((_, expected)) => format!("expected {expected}"),
        None if OUR_OWN.iter().any(|begin| text.starts_with(begin)) => text,
        None => "not allowed here".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exec::Exec, sandbox::CreateSandbox};

    #[test]
    fn what_is_wrong_is_said_by_its_field_and_without_its_value() {
        let create = |body: &str| decode::<CreateSandbox>(body.as_bytes()).map(|_| ());
        let exec = |body: &str| decode::<Exec>(body.as_bytes()).map(|_| ());
        let sizes = "`lite`, `standard-1`, `standard-2`, `standard-3`, `standard-4`, or {\"vcpu\", \"memory_mib\", \"disk_mb\"}";
        for (outcome, message) in [
            (create("{}"), None),
            (create(r#"{"unknown":["secret"]}"#), None),
            (create(""), Some("the request is not a JSON object")),
            (create(r#"["secret"]"#), Some("the request is not a JSON object")),
            (create(r#"{"name":"secret""#), Some("not JSON at line 1 column 16")),
            (create(r#"{"name":"a"} secret"#), Some("something follows the request")),
            (create(r#"{"env":{"A":["secret"]}}"#), Some("env.A: expected a string at line 1 column 12")),
            (create(r#"{"instance":"secret"}"#), Some(&*format!("instance: {sizes} at line 1 column 21"))),
            (exec("{}"), Some("missing field `command` at line 1 column 2")),
            (exec(r#"{"command":{"secret":1}}"#), Some("command: a string or an array of strings at line 1 column 24")),
            (exec(r#"{"command":"a","timeout_ms":"secret"}"#), Some("timeout_ms: expected u64 at line 1 column 36")),
        ] {
            assert_eq!(outcome.err().map(|error| error.message).as_deref(), message);
        }
    }

    #[test]
    fn fields_are_read_alike() {
        let fields = |value: Value| value.as_object().cloned().unwrap();
        assert!(decode_fields::<CreateSandbox>(fields(serde_json::json!({ "name": "a" }))).is_ok());
        let error = decode_fields::<CreateSandbox>(fields(serde_json::json!({ "keep_alive": "secret" }))).unwrap_err();
        assert_eq!(error.message, "keep_alive: expected a boolean");
    }
}
