//! What `POST /v1/sandboxes` and `PATCH /v1/sandboxes/{id}` may ask for. Pure.

use std::{collections::BTreeMap, ops::RangeInclusive};

use cabana_protocol::{
    Error, SandboxId,
    names::nearest,
    network::Network,
    project::Definition,
    sandbox::{
        CreateSandbox, Instance, KEEP_SNAPSHOTS_MS, MAX_SNAPSHOTS, SNAPSHOT_EVERY_MS, SPAN_MS, UpdateSandbox, check_labels,
    },
};
use serde_json::json;

use crate::{Kinds, environment::check_size, random};

/// Largest body, in bytes: 64 KiB.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 10;

/// Variables of this prefix are the platform's.
const RESERVED_PREFIX: &str = "CABANA_";

/// Whether a sandbox can be made as it is asked for.
///
/// Fails with `invalid_request` where a variable or label cannot be one, a size is none, or a span of time is too short or long.
pub(crate) fn check(request: &CreateSandbox) -> Result<(), Error> {
    check_env(&request.env)?;
    check_size(&request.env)?;
    check_labels(&request.labels)?;
    request.network.iter().try_for_each(Network::check)?;
    request.instance.iter().try_for_each(Instance::check)?;
    check_span("sleep_after_ms", request.sleep_after_ms)?;
    check_span("max_lifetime_ms", request.max_lifetime_ms)?;
    check_interval(request.snapshot_every_ms)?;
    check_retention(request.keep_snapshots, request.keep_snapshots_ms)
}

/// The id that is asked for, its name drawn at random where none is given.
///
/// Fails with `invalid_request` where kind and name make no valid id, and as [`check`] does.
pub(crate) fn validate(request: &CreateSandbox, kinds: &Kinds) -> Result<SandboxId, Error> {
    check(request)?;
    let kind = request.kind.as_deref().unwrap_or(SandboxId::DEFAULT_KIND);
    // Where no kinds are declared, those that the container has decide later.
    if !kinds.is_empty() && kinds.get(kind).is_none() {
        return Err(unknown_kind(kind, kinds.iter().map(|(name, _)| name)));
    }
    match &request.name {
        Some(name) => SandboxId::new(kind, name),
        None => SandboxId::new(kind, &random::name()),
    }
}

/// Takes from a project what the request does not say itself.
pub(crate) fn inherit(request: &mut CreateSandbox, project: &Definition) {
    request.kind = request.kind.take().or_else(|| project.kind.clone());
    request.instance = request.instance.or(project.instance);
}

/// Checks a change in the same way.
pub(crate) fn check_update(request: &UpdateSandbox) -> Result<(), Error> {
    request.env.iter().flatten().try_for_each(check_env)?;
    request.network.iter().flatten().try_for_each(Network::check)?;
    check_span("sleep_after_ms", request.sleep_after_ms.flatten())?;
    check_span("max_lifetime_ms", request.max_lifetime_ms.flatten())?;
    check_interval(request.snapshot_every_ms.flatten())?;
    check_retention(request.keep_snapshots.flatten(), request.keep_snapshots_ms.flatten())
}

/// Whether these can be variables. Fails with `invalid_request`, naming the variable and not its value.
pub(crate) fn check_env(env: &BTreeMap<String, Option<String>>) -> Result<(), Error> {
    env.iter().try_for_each(|(name, value)| check_variable(name, value.as_deref()))
}

/// What is said of a kind that is none.
pub(crate) fn unknown_kind<'a>(kind: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let shown: String = kind.chars().take(SandboxId::MAX_LENGTH).collect();
    let known: Vec<_> = known.collect();
    let meant = nearest(kind, &known).map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
    let details = json!({ "reason": "no_such_kind", "field": "kind", "kinds": known });
    Error::invalid_request(format!("there is no kind {shown:?}{meant}")).with_details(details)
}

fn check_span(name: &str, span: Option<u64>) -> Result<(), Error> {
    check_range(name, span, &SPAN_MS)
}

fn check_interval(every: Option<u64>) -> Result<(), Error> {
    check_range("snapshot_every_ms", every, &SNAPSHOT_EVERY_MS)
}

fn check_retention(count: Option<u32>, span: Option<u64>) -> Result<(), Error> {
    check_range("keep_snapshots", count.map(u64::from), &(1..=MAX_SNAPSHOTS as u64))?;
    check_range("keep_snapshots_ms", span, &KEEP_SNAPSHOTS_MS)
}

fn check_range(name: &str, span: Option<u64>, range: &RangeInclusive<u64>) -> Result<(), Error> {
    match span {
        Some(span) if !range.contains(&span) => {
            let (least, most) = (range.start(), range.end());
            let error = Error::invalid_request(format!("`{name}` takes a whole number from {least} to {most}, got {span}"));
            Err(error.with_details(json!({ "reason": "invalid_field", "field": name })))
        }
        _ => Ok(()),
    }
}

fn check_variable(name: &str, value: Option<&str>) -> Result<(), Error> {
    let why = if name.is_empty() || name.contains(['=', '\0']) {
        "a variable's name is not empty and has no '=' and no NUL"
    } else if name.starts_with(RESERVED_PREFIX) {
        "names that start with CABANA_ are reserved"
    } else if value.is_some_and(|value| value.contains('\0')) {
        "a variable's value has no NUL"
    } else {
        return Ok(());
    };
    let details = json!({ "reason": "invalid_field", "field": format!("env.{name}") });
    Err(Error::invalid_request(format!("`env`: {name:?}: {why}")).with_details(details))
}

#[cfg(test)]
mod tests {
    use cabana_protocol::{Code, sandbox::Size};

    use super::*;
    use crate::request::decode;

    fn id(body: &str) -> Result<String, Error> {
        Ok(validate(&decode::<CreateSandbox>(body.as_bytes())?, &Kinds::default())?.as_str().to_owned())
    }

    #[test]
    fn defaults() {
        for body in ["", " \n", "{}", r#"{"name":null}"#, r#"{"env":{"A":"","B":null}}"#] {
            let id = id(body).unwrap();
            assert!(id.starts_with("sbx-") && id.len() == 30, "{id}");
        }
        assert_ne!(id("").unwrap(), id("").unwrap());
    }

    #[test]
    fn names_and_kinds() {
        assert_eq!(id(r#"{"name":"Build_7"}"#).unwrap(), "sbx-build-7");
        assert_eq!(id(r#"{"name":"a","kind":"py"}"#).unwrap(), "py-a");
        assert_eq!(id(r#"{"name":"a","kind":"code-interpreter"}"#).unwrap(), "code-interpreter-a");
        assert_eq!(id(r#"{"kind":"thirteenchars"}"#).unwrap().len(), SandboxId::MAX_LENGTH);
    }

    #[test]
    fn what_is_refused() {
        for body in [
            "{",
            "[]",
            "7",
            r#"{"name":7}"#,
            r#"{"image":"python"}"#,
            r#"{"Name":"a"}"#,
            r#"{"name":""}"#,
            r#"{"name":"a/b"}"#,
            r#"{"kind":"a."}"#,
            r#"{"kind":"fourteen-chars"}"#,
            r#"{"env":{"":"v"}}"#,
            r#"{"env":{"A=B":"v"}}"#,
            r#"{"env":{"A":"\u0000"}}"#,
            r#"{"env":{"A":1}}"#,
            r#"{"env":{"CABANA_AGENT_SECRET":"v"}}"#,
            r#"{"env":{"CABANA_USER":null}}"#,
            r#"{"instance":"huge"}"#,
            r#"{"instance":{"vcpu":8,"memory_mib":3072,"disk_mb":1000}}"#,
            r#"{"sleep_after_ms":0}"#,
            r#"{"sleep_after_ms":-1}"#,
            r#"{"max_lifetime_ms":999}"#,
            r#"{"keep_alive":"yes"}"#,
            r#"{"snapshot_every_ms":59999}"#,
            r#"{"keep_snapshots":0}"#,
            r#"{"keep_snapshots":65}"#,
            r#"{"keep_snapshots_ms":59999}"#,
            r#"{"before_sleep":7}"#,
        ] {
            assert_eq!(id(body).unwrap_err().code, Code::InvalidRequest, "{body}");
        }
    }

    #[test]
    fn a_change_tells_null_from_absent() {
        let change: UpdateSandbox = decode(br#"{"sleep_after_ms":null,"keep_alive":true,"env":{"A":null}}"#).unwrap();
        assert_eq!((change.sleep_after_ms, change.keep_alive, change.max_lifetime_ms), (Some(None), Some(Some(true)), None));
        assert_eq!(change.env, Some(Some([("A".to_owned(), None)].into())));
        assert!(check_update(&change).is_ok());
        for body in [r#"{"sleep_after_ms":1}"#, r#"{"env":{"CABANA_A":"b"}}"#] {
            assert_eq!(check_update(&decode(body.as_bytes()).unwrap()).unwrap_err().code, Code::InvalidRequest, "{body}");
        }
    }

    #[test]
    fn a_request_wins_over_its_project() {
        let project = br#"{"url":"https://example.com/a","kind":"py","instance":"lite"}"#;
        let project: Definition = serde_json::from_slice(project).unwrap();
        let mut request: CreateSandbox = decode(br#"{"instance":"standard-1"}"#).unwrap();
        inherit(&mut request, &project);
        assert_eq!(request.kind.as_deref(), Some("py"));
        assert_eq!(request.instance, Some(Instance::Named(Size::Standard1)));
    }

    #[test]
    fn no_value_reaches_a_message() {
        for body in [r#"{"env":{"A":{"hunter2":1}}}"#, r#"{"env":"hunter2"}"#, r#"{"env":{"A":"hunter2\u0000"}}"#, r#""hunter2"#]
        {
            assert!(!id(body).unwrap_err().message.contains("hunter2"), "{body}");
        }
    }
}
