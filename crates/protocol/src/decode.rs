//! Reading requests, from JSON and from a query. What is not understood is refused: a misspelt field must not be taken for its default.
//!
//! What the service itself has written is read by [`Untyped::read`], which leaves out what it does not know.

mod fault;
mod untyped;

pub(crate) use fault::{TAKES, unknown_field};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub use self::untyped::Untyped;
use self::{
    fault::{Fault, Segment},
    untyped::NotParsed,
};
use crate::{Data, Error};

/// Most values of a request, nested ones included. A value takes up to 56 bytes while it is read, and two in JSON.
const MAX_VALUES: usize = 100_000;

/// Reads a request, which is a JSON object.
///
/// Fails with `invalid_request`, naming the field; `details.reason` and `details.field` say the same to programs.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    parse(body)?.into_request().map_err(Fault::into_error)
}

fn parse(body: &[u8]) -> Result<Untyped<'_>, Error> {
    let refused = |reason: &str, what: &str| {
        Error::invalid_request(format!("the request {what}")).with_details(json!({ "reason": reason }))
    };
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(refused("invalid_json", "is not a JSON object"));
    }
    Untyped::parse(body, MAX_VALUES).map_err(|fault| match fault {
        NotParsed::NotJson(error) => Fault::syntax(&error).into_error(),
        NotParsed::Followed => refused("invalid_json", "is followed by something else"),
        NotParsed::TooManyValues => refused("too_many_values", &format!("has more than {MAX_VALUES} values")),
    })
}

/// Reads what the service itself has written, a JSON value. Fails with `invalid_request`.
pub fn decode_own<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice::<Untyped<'_>>(json).map_err(|error| Fault::syntax(&error).into_error())?.read()
}

/// Reads an object whose fields have been parsed. Fails as [`decode`].
pub fn decode_fields<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, Error> {
    Untyped::from(Value::Object(fields)).into_request().map_err(Fault::into_error)
}

/// Reads the parameters of a query. A field that takes no text is written as JSON: `limit=10`, `lines={"from":1}`. One that takes an
/// array may come several times.
///
/// Fails as [`decode`].
pub fn decode_query<T: DeserializeOwned>(pairs: impl IntoIterator<Item = (String, Data)>) -> Result<T, Error> {
    let mut fields = Map::new();
    for (name, text) in pairs {
        let text = serde_json::to_value(text).map_err(|error| Error::internal(error.to_string()))?;
        match fields.get_mut(&name) {
            None => drop(fields.insert(name, text)),
            Some(Value::Array(texts)) => texts.push(text),
            Some(first) => *first = Value::Array(vec![first.take(), text]),
        }
    }
    loop {
        let fault = match Untyped::from(Value::Object(fields.clone())).into_request() {
            Ok(request) => return Ok(request),
            Err(fault) => fault,
        };
        // The type of a field is known when it has refused a text.
        let other = fault.refused_text().and_then(|(field, takes_array)| {
            let text = fields.get(field)?.as_str()?;
            let parsed = serde_json::from_str(text).ok().filter(|value: &Value| !value.is_string());
            let one = || takes_array.then(|| json!([text]));
            Some((field.to_owned(), parsed.or_else(one)?))
        });
        match other {
            Some((field, value)) => drop(fields.insert(field, value)),
            None => return Err(fault.into_error()),
        }
    }
}

/// Reads one parameter of a query, a text. Fails as [`decode`].
pub fn decode_parameter<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Error> {
    let parameter = Untyped::from(Value::from(text)).into_request();
    parameter.map_err(|fault| fault.within(Segment::Field(name.to_owned()), None).into_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        exec::{Exec, ExecInput},
        file::{Edit, List, Read},
        key::CreateKey,
        process::Attach,
        project::Definition,
        sandbox::CreateSandbox,
        session::Create,
    };

    fn message<T: DeserializeOwned>(body: &str) -> String {
        decode::<T>(body.as_bytes()).err().map(|error| error.message).unwrap_or_default()
    }

    #[test]
    fn unknown_fields_are_refused_by_name() {
        let create = "`name`, `kind`, `env`, `project`, `credentials`, `instance`, `network`, `roots`, `labels`, `sleep_after_ms`, `keep_alive`, \
                      `max_lifetime_ms`, `ephemeral`, `snapshot_every_ms`, `keep_snapshots`, `keep_snapshots_ms`, `before_sleep` and `from`";
        for (refused, expected) in [
            (message::<Exec>(r#"{"command":"a","timeout":50}"#), "unknown field `timeout`: did you mean `timeout_ms`?"),
            (message::<Exec>(r#"{"timeout":50}"#), "unknown field `timeout`: did you mean `timeout_ms`?"),
            (message::<Exec>(r#"{"command":"a","tty":{"col":50}}"#), "unknown field `tty.col`: did you mean `cols`?"),
            (
                message::<Exec>(r#"{"command":"a","stdin":{"base64":"","x":1}}"#),
                "unknown field `stdin.x`: the fields are `base64`, `stream` and `path`",
            ),
            (
                message::<Edit>(r#"{"path":"a","edits":[{"old":"a","new":"b"},{"old":"a","news":"b"}]}"#),
                "unknown field `edits[1].news`: did you mean `new`?",
            ),
            (message::<CreateSandbox>(r#"{"image":"python"}"#), &*format!("unknown field `image`: the fields are {create}")),
            (message::<CreateSandbox>(r#"{"instance":{"vcpus":1}}"#), "unknown field `instance.vcpus`: did you mean `vcpu`?"),
            (
                message::<CreateSandbox>(r#"{"credentials":{"tokens":"secret"}}"#),
                "unknown field `credentials.tokens`: did you mean `token`?",
            ),
            (
                message::<CreateKey>(r#"{"scopes":{"sandbox":["a"]}}"#),
                "unknown field `scopes.sandbox`: did you mean `sandboxes`?",
            ),
            (message::<Definition>(r#"{"url":"a","envs":{}}"#), "unknown field `envs`: did you mean `env`?"),
            (message::<ExecInput>(r#"{"type":"eof","bytes":""}"#), "unknown field `bytes`: none is taken here"),
            (message::<ExecInput>(r#"{"type":"stdin","byte":""}"#), "unknown field `byte`: did you mean `bytes`?"),
            (
                message::<ExecInput>(r#"{"type":"resize","cols":80,"rows":24,"signal":"INT"}"#),
                "unknown field `signal`: the fields are `cols` and `rows`",
            ),
        ] {
            assert_eq!(refused, expected);
        }
        let error = decode::<Exec>(br#"{"command":"a","tty":{"col":50}}"#).unwrap_err();
        assert_eq!(error.details, Some(json!({ "reason": "unknown_field", "field": "tty.col", "did_you_mean": "cols" })));
    }

    #[test]
    fn what_is_wrong_is_said_by_its_field_and_without_its_text() {
        let sizes = "`lite`, `standard-1`, `standard-2`, `standard-3`, `standard-4` or {\"vcpu\", \"memory_mib\", \"disk_mb\"}";
        for (refused, expected) in [
            (message::<CreateSandbox>("{}"), ""),
            (message::<CreateSandbox>(""), "the request is not a JSON object"),
            (message::<CreateSandbox>(r#"["secret"]"#), "the request is not a JSON object"),
            (
                message::<CreateSandbox>(r#"{"name":"secret""#),
                "the request is not JSON: EOF while parsing an object at line 1 column 16",
            ),
            (message::<CreateSandbox>(r#"{"name":"a"} secret"#), "the request is followed by something else"),
            (message::<CreateSandbox>(r#"{"env":{"A":["secret"]}}"#), "`env.A` takes a string, got an array"),
            (message::<CreateSandbox>(r#"{"env":"secret"}"#), "`env` takes an object, got a string"),
            (message::<CreateSandbox>(r#"{"instance":"secret"}"#), &*format!("`instance` takes {sizes}, got a string")),
            (message::<CreateSandbox>(r#"{"instance":{"vcpu":1}}"#), "the field `instance.memory_mib` is missing"),
            (message::<CreateSandbox>(r#"{"keep_alive":"secret"}"#), "`keep_alive` takes true or false, got a string"),
            (message::<CreateSandbox>(r#"{"name":12345678}"#), "`name` takes a string, got a number"),
            (message::<Exec>("{}"), "the field `command` is missing"),
            (message::<Exec>(r#"{"command":"a","command":"b"}"#), "the field `command` is there twice"),
            (message::<Exec>(r#"{"command":{"a":1}}"#), "`command` takes a string or an array of strings, got an object"),
            (
                message::<Exec>(r#"{"command":"a","timeout_ms":"secret"}"#),
                "`timeout_ms` takes a whole number from 0, got a string",
            ),
            (message::<Exec>(r#"{"command":"a","timeout_ms":-1}"#), "`timeout_ms` takes a whole number from 0, got -1"),
            (message::<Exec>(r#"{"command":"a","timeout_ms":1.5}"#), "`timeout_ms` takes a whole number from 0, got a number"),
            (message::<Exec>(r#"{"command":"a","tty":{"cols":0}}"#), "`tty.cols` takes a whole number from 1, got 0"),
            (message::<Exec>(r#"{"command":"a","tty":[80,24]}"#), "`tty` takes an object, got an array"),
            (message::<Exec>(r#"{"command":"a","env":["A=1"]}"#), "`env` takes an object, got an array"),
            (
                message::<CreateSandbox>(r#"{"credentials":{"username":"secret"}}"#),
                "`credentials` takes {\"username\", \"password\"} or {\"token\"}, got an object",
            ),
            (message::<Create>(r#"{"shell":"zsh"}"#), "`shell` takes `bash` or `sh`, got \"zsh\""),
            (message::<Create>(r#"{"shell":"bsh"}"#), "`shell` takes `bash` or `sh`, got \"bsh\": did you mean `bash`?"),
            (message::<Create>(r#"{"shell":7}"#), "`shell` takes `bash` or `sh`, got a number"),
            (message::<ExecInput>(r#"{"type":"signal","signal":"FOO"}"#), "`signal`: not a signal: \"FOO\""),
            (message::<ExecInput>(r#"{"type":"resize","cols":"80"}"#), "`cols` takes a whole number from 0, got a string"),
            (message::<ExecInput>(r#"{"bytes":""}"#), "the field `type` is missing"),
            (message::<ExecInput>(r#"{"type":"stdout"}"#), "`type` takes `stdin`, `eof`, `resize` or `signal`, got \"stdout\""),
        ] {
            assert_eq!(refused, expected);
        }
    }

    fn query<T: DeserializeOwned>(pairs: &[(&str, &str)]) -> Result<T, Error> {
        decode_query(pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())))
    }

    #[test]
    fn a_query_is_read_by_the_types_of_the_fields() {
        let list = query::<List>(&[("path", "7"), ("depth", "3"), ("hidden", "false")]).unwrap();
        assert_eq!((list.path.as_bytes(), list.depth, list.hidden), (b"7".as_slice(), Some(3), Some(false)));
        let read = query::<Read>(&[("path", "a"), ("lines", r#"{"from":3}"#)]).unwrap();
        assert_eq!(read.lines.map(|lines| lines.from), Some(3));
        let attach = query::<Attach>(&[("process", "17"), ("from", "9")]).unwrap();
        assert_eq!((attach.process.as_str(), attach.from), ("17", Some(9)));
        for (argv, words) in [(&[("command", "a"), ("command", "b")][..], r#"["a","b"]"#), (&[("command", "a")], r#""a""#)] {
            assert_eq!(serde_json::to_string(&query::<Exec>(argv).unwrap().command).unwrap(), words);
        }
        for (pairs, expected) in [
            (&[("path", "a"), ("depht", "3")][..], "unknown field `depht`: did you mean `depth`?"),
            (&[("path", "a"), ("depth", "three")], "`depth` takes a whole number from 0 to 4294967295, got a string"),
            (&[("path", "a"), ("path", "b")], "`path`: "),
            (&[], "the field `path` is missing"),
        ] {
            let message = query::<List>(pairs).unwrap_err().message;
            assert!(message.starts_with(expected.trim_end_matches("`path`: ")), "{message}");
        }
    }

    #[test]
    fn a_request_has_a_bounded_number_of_values() {
        let request = |count: usize| format!(r#"{{"command":[{}"a"]}}"#, "\"a\",".repeat(count - 1));
        assert_eq!(message::<Exec>(&request(MAX_VALUES - 2)), "");
        assert_eq!(message::<Exec>(&request(MAX_VALUES - 1)), "the request has more than 100000 values");
        let unclosed = format!(r#"{{"command":[{}"#, "0,".repeat(MAX_VALUES + 9));
        assert_eq!(message::<Exec>(&unclosed), "the request has more than 100000 values");
    }

    #[test]
    fn what_the_service_wrote_may_have_grown() {
        let exec: Exec = decode_own(br#"{"command":"a","tty":{"cols":9,"depth":3},"since":{"a":[1]}}"#).unwrap();
        assert_eq!(exec.tty.map(|tty| tty.cols.get()), Some(9));
        let error = decode_own::<Exec>(br#"{"command":7}"#).unwrap_err();
        assert_eq!(error.message, "`command` takes a string or an array of strings, got a number");
        assert!(decode_own::<Exec>(br#"{"command":"a"} b"#).is_err());
        assert_eq!(decode_own::<Option<f64>>(b"7"), Ok(Some(7.0)));
        assert_eq!(decode_own::<Option<f64>>(b"null"), Ok(None));
    }

    #[test]
    fn fields_are_read_alike() {
        let fields = |value: Value| value.as_object().cloned().unwrap();
        assert!(decode_fields::<CreateSandbox>(fields(json!({ "name": "a" }))).is_ok());
        let error = decode_fields::<CreateSandbox>(fields(json!({ "keep_alive": "secret" }))).unwrap_err();
        assert_eq!(error.message, "`keep_alive` takes true or false, got a string");
    }
}
