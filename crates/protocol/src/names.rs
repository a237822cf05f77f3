//! Names in messages: what was written, what there is, and what was probably meant.

use std::borrow::Cow;

use serde_json::json;

use crate::{Error, table::DESCRIPTORS};

/// Longest name that a message repeats, in characters.
const MAX_SHOWN: usize = 64;

/// How alike two names must be for one to be taken for the other. `timeout` and `timeout_ms` are, `image` and `name` are not.
const ALIKE: f64 = 0.86;

/// A name as a message shows it: not too long, and in one line.
pub(crate) fn shown(name: &str) -> Cow<'_, str> {
    if name.len() <= MAX_SHOWN && name.chars().all(|char| !char.is_control()) {
        return Cow::Borrowed(name);
    }
    name.chars().take(MAX_SHOWN).map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

/// The name that was probably meant.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| name.chars().filter(|char| char.is_alphanumeric()).collect::<String>().to_lowercase();
    let name = plain(&shown(name));
    let likeness = |known: &&'a str| {
        let plain = plain(known);
        // `cmd` for `command`: what is short is alike by no measure.
        let begins = name.len() >= 3 && (plain.starts_with(&name) || name.starts_with(&plain) && plain.len() >= 3);
        let likeness = strsim::jaro_winkler(&name, &plain);
        if begins { likeness.max(ALIKE) } else { likeness }
    };
    let likeliest = known.iter().map(|known| (likeness(known), *known)).max_by(|(one, _), (other, _)| one.total_cmp(other));
    likeliest.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, known)| known)
}

/// Names as a sentence lists them: `a`, `b` and `c`.
pub fn quoted(names: &[&str], conjunction: &str) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} {conjunction} {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Whether all parameters of a query are known. Fails with `invalid_request`.
pub fn check_parameters(names: impl IntoIterator<Item = impl AsRef<str>>, known: &[&str]) -> Result<(), Error> {
    let unknown = names.into_iter().find(|name| !name.as_ref().is_empty() && !known.contains(&name.as_ref()));
    unknown.map_or(Ok(()), |name| Err(unknown_parameter(name.as_ref(), known)))
}

/// The error for a query's parameter that there is none of.
pub fn unknown_parameter(name: &str, known: &[&str]) -> Error {
    let near = nearest(name, known);
    let what = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "none is taken here".to_owned(),
        None => format!("the parameters are {}", quoted(known, "and")),
    };
    let error = Error::invalid_request(format!("unknown parameter `{}`: {what}", shown(name)));
    let error = error.with_details(json!({ "reason": "unknown_parameter", "parameter": shown(name) }));
    match near {
        Some(near) => error.with_details(json!({ "did_you_mean": near })),
        None => error,
    }
}

/// The error for a request without a field that it needs.
pub fn missing_field(name: &str) -> Error {
    Error::invalid_request(format!("the field `{name}` is missing"))
        .with_details(json!({ "reason": "missing_field", "field": name }))
}

/// The error for a field whose value is none of those that it takes.
pub fn invalid_field(name: &str, takes: &str) -> Error {
    let details = json!({ "reason": "invalid_field", "field": name });
    Error::invalid_request(format!("`{name}` takes {takes}")).with_details(details)
}

/// The error for fields that cannot be combined, and why or what to do.
pub fn excluded_field(name: &str, why: &str) -> Error {
    let details = json!({ "reason": "excluded_field", "field": name });
    Error::invalid_request(format!("`{name}` {why}")).with_details(details)
}

/// The error for a query without a parameter that it needs.
pub fn missing_parameter(name: &str) -> Error {
    let details = json!({ "reason": "missing_parameter", "parameter": name });
    Error::invalid_request(format!("the parameter `{name}` is missing")).with_details(details)
}

/// The error for an operation that there is none of.
pub fn unknown_operation(name: &str) -> Error {
    let known: Vec<_> = DESCRIPTORS.iter().map(|descriptor| descriptor.name).collect();
    let near = nearest(name, &known);
    let meant = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
    let error = Error::not_found(format!("there is no operation `{}`{meant}", shown(name)));
    let error = error.with_details(json!({ "reason": "no_such_operation" }));
    match near {
        Some(near) => error.with_details(json!({ "did_you_mean": near })),
        None => error,
    }
}

/// The error for a query's parameter whose value is none of those that it takes.
pub fn invalid_parameter(name: &str, takes: &str) -> Error {
    let details = json!({ "reason": "invalid_parameter", "parameter": name });
    Error::invalid_request(format!("the parameter `{name}` takes {takes}")).with_details(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found() {
        let known = ["command", "cwd", "env", "timeout_ms", "detach", "max_output_bytes", "name", "recursive", "kind", "path"];
        for (name, meant) in [
            ("timeout", Some("timeout_ms")),
            ("timeoutMs", Some("timeout_ms")),
            ("time_out_ms", Some("timeout_ms")),
            ("Command", Some("command")),
            ("comand", Some("command")),
            ("environment", Some("env")),
            ("envs", Some("env")),
            ("detached", Some("detach")),
            ("recusrive", Some("recursive")),
            ("maxOutput", Some("max_output_bytes")),
            ("file_path", None),
            ("image", None),
            ("x", None),
            ("", None),
            ("\u{0}\u{1}", None),
        ] {
            assert_eq!(nearest(name, &known), meant, "{name}");
        }
    }

    #[test]
    fn names_are_listed_as_in_a_sentence() {
        for (names, listed) in
            [(&[][..], ""), (&["a"], "`a`"), (&["a", "b"], "`a` or `b`"), (&["a", "b", "c"], "`a`, `b` or `c`")]
        {
            assert_eq!(quoted(names, "or"), listed);
        }
    }
}
