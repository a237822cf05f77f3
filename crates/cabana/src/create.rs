//! What `POST /v1/sandboxes` may ask for. Pure.

use cabana_protocol::{
    Error, SandboxId,
    sandbox::{CreateSandbox, check_labels},
};

use crate::random;

/// Largest body of `POST /v1/sandboxes`, in bytes: 64 KiB.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 10;

/// Variables of this prefix are the platform's.
const RESERVED_PREFIX: &str = "CABANA_";

/// The id that is asked for, its name drawn at random where none is given.
///
/// Fails with `invalid_request` where kind and name make no valid id, or a variable cannot be one.
pub(crate) fn validate(request: &CreateSandbox) -> Result<SandboxId, Error> {
    for (name, value) in &request.env {
        check_variable(name, value.as_deref())?;
    }
    check_labels(&request.labels)?;
    let kind = request.kind.as_deref().unwrap_or(SandboxId::DEFAULT_KIND);
    match &request.name {
        Some(name) => SandboxId::new(kind, name),
        None => SandboxId::new(kind, &random::name()),
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
    Err(Error::invalid_request(format!("env: {name:?}: {why}")))
}

#[cfg(test)]
mod tests {
    use cabana_protocol::Code;

    use super::*;
    use crate::request::decode;

    fn id(body: &str) -> Result<String, Error> {
        Ok(validate(&decode(body.as_bytes())?)?.as_str().to_owned())
    }

    #[test]
    fn defaults() {
        for body in ["", " \n", "{}", r#"{"name":null,"unknown":[1]}"#, r#"{"env":{"A":"","B":null}}"#] {
            let id = id(body).unwrap();
            assert!(id.starts_with("sbx-") && id.len() == 30, "{id}");
        }
        assert_ne!(id("").unwrap(), id("").unwrap());
    }

    #[test]
    fn names_and_kinds() {
        assert_eq!(id(r#"{"name":"Build_7"}"#).unwrap(), "sbx-build-7");
        assert_eq!(id(r#"{"name":"a","kind":"py"}"#).unwrap(), "py-a");
        assert_eq!(id(r#"{"kind":"thirteenchars"}"#).unwrap().len(), SandboxId::MAX_LENGTH);
    }

    #[test]
    fn what_is_refused() {
        for body in [
            "{",
            "[]",
            "7",
            r#"{"name":7}"#,
            r#"{"name":""}"#,
            r#"{"name":"a/b"}"#,
            r#"{"kind":"a-b"}"#,
            r#"{"kind":"fourteen-chars"}"#,
            r#"{"env":{"":"v"}}"#,
            r#"{"env":{"A=B":"v"}}"#,
            r#"{"env":{"A":"\u0000"}}"#,
            r#"{"env":{"A":1}}"#,
            r#"{"env":{"CABANA_AGENT_SECRET":"v"}}"#,
            r#"{"env":{"CABANA_USER":null}}"#,
        ] {
            assert_eq!(id(body).unwrap_err().code, Code::InvalidRequest, "{body}");
        }
    }

    #[test]
    fn no_value_reaches_a_message() {
        for body in [r#"{"env":{"A":{"hunter2":1}}}"#, r#"{"env":"hunter2"}"#, r#"{"env":{"A":"hunter2\u0000"}}"#, r#""hunter2"#]
        {
            assert!(!id(body).unwrap_err().message.contains("hunter2"), "{body}");
        }
    }
}
