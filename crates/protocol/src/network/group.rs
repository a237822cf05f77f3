//! Groups of rules by name, which the operator lists.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{NetworkRule, rule::check_group_name};
use crate::Error;

/// The groups of a deployment (`CABANA_NETWORK_GROUPS`): `{"registries": ["pypi.org", "files.pythonhosted.org"]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct NetworkGroups(BTreeMap<String, Vec<NetworkRule>>);

impl NetworkGroups {
    /// Reads them from JSON. Fails with `invalid_request`, which names the group.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let groups: Self =
            serde_json::from_str(text).map_err(|error| Error::invalid_request(format!("network groups: {error}")))?;
        for (name, rules) in &groups.0 {
            let refuse = |why: &str| Error::invalid_request(format!("network group {name:?}: {why}"));
            check_group_name(name).map_err(refuse)?;
            if rules.iter().any(|rule| rule.group().is_some()) {
                return Err(refuse("a group holds no group"));
            }
        }
        Ok(groups)
    }

    /// The rules of a group; `None` where there is none of this name.
    pub fn get(&self, name: &str) -> Option<&[NetworkRule]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_groups_are_refused_by_name() {
        assert_eq!(NetworkGroups::parse(r#"{"a":["b.test"]}"#).unwrap().names().collect::<Vec<_>>(), ["a"]);
        for (text, part) in [
            ("", "network groups"),
            (r#"{"a":"b"}"#, "network groups"),
            (r#"{"a":["b c d"]}"#, "b c d"),
            (r#"{"A":["b"]}"#, "\"A\""),
            (r#"{"a":["@b"]}"#, "\"a\": a group holds no group"),
        ] {
            let message = NetworkGroups::parse(text).unwrap_err().message;
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
