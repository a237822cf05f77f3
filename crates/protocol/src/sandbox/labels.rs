//! Labels: what sandboxes are found by. Pure.

use std::collections::BTreeMap;

use crate::{Error, names::invalid_field};

/// Names and values.
pub type Labels = BTreeMap<String, String>;

/// How many labels a sandbox may have.
pub const MAX_LABELS: usize = 32;

/// Longest name of a label, in characters.
const MAX_NAME_LENGTH: usize = 63;

/// Longest value of a label, in bytes.
const MAX_VALUE_BYTES: usize = 256;

/// Whether a sandbox may have these labels.
///
/// Fails with `invalid_request`, naming the label.
pub fn check_labels(labels: &Labels) -> Result<(), Error> {
    if labels.len() > MAX_LABELS {
        return Err(invalid_field("labels", &format!("at most {MAX_LABELS} labels, got {}", labels.len())));
    }
    labels.iter().try_for_each(|(name, value)| check(name, value))
}

fn check(name: &str, value: &str) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
    let why = if name.is_empty() || name.len() > MAX_NAME_LENGTH || !name.bytes().all(allowed) {
        "a name has 1 to 63 characters of [A-Za-z0-9._/-]"
    } else if value.len() > MAX_VALUE_BYTES {
        "a value has at most 256 bytes"
    } else if value.contains(char::is_control) {
        "a value has no control characters"
    } else {
        return Ok(());
    };
    let shown: String = name.chars().take(MAX_NAME_LENGTH + 1).collect();
    Err(Error::invalid_request(format!("`labels`: {shown:?}: {why}")).of_field(&format!("labels.{shown}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_label() {
        for (name, value) in [("a", ""), ("team/Owner.name-1", "Ada & \u{e9}"), (&"a".repeat(63), &"v".repeat(256))] {
            assert_eq!(check(name, value), Ok(()), "{name}");
        }
        for (name, value) in [
            ("", "v"),
            ("a b", "v"),
            ("a=b", "v"),
            ("\u{e9}", "v"),
            ("a", "line\n"),
            (&"a".repeat(64), "v"),
            ("a", &"v".repeat(257)),
        ] {
            assert!(check(name, value).is_err(), "{name} {value}");
        }
    }

    #[test]
    fn there_are_only_so_many() {
        let labels = |count: usize| (0..count).map(|number| (number.to_string(), String::new())).collect();
        assert!(check_labels(&labels(MAX_LABELS)).is_ok() && check_labels(&labels(MAX_LABELS + 1)).is_err());
    }
}
