//! Secrets of the Worker that the operator shares with sandboxes.

use std::collections::BTreeMap;

use cabana_protocol::{Error, Tenant};
use serde::Deserialize;
use worker::Env;

use crate::variables::json_variable;

/// The variable that lists them.
const VARIABLE: &str = "CABANA_NETWORK_SECRETS";

/// All of them, by name.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(super) struct SharedSecrets(BTreeMap<String, SharedSecret>);

/// One of them, without its value.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SharedSecret {
    /// The Worker's variable or secret that holds the value.
    pub(super) variable: String,
    /// The hosts that it may be sent to. A tenant could have it sent to a server of its own otherwise.
    pub(super) hosts: Vec<String>,
    /// Whose sandboxes may use it; `None`: everyone's.
    #[serde(default)]
    tenants: Option<Vec<Tenant>>,
}

impl SharedSecrets {
    /// Reads the variable. Fails with `internal` where it cannot be understood.
    pub(super) fn read(env: &Env) -> Result<Self, Error> {
        json_variable(env, VARIABLE).map_or_else(|| Ok(Self::default()), |text| Self::parse(&text))
    }

    fn parse(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|error| Error::internal(format!("the Worker's variable {VARIABLE}: {error}")))
    }

    /// The secret of this name, if the tenant may use it.
    pub(super) fn get(&self, name: &str, tenant: &Tenant) -> Option<&SharedSecret> {
        self.0.get(name).filter(|shared| shared.tenants.as_ref().is_none_or(|tenants| tenants.contains(tenant)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_secret_is_for_its_tenants() {
        let text = r#"{"all":{"variable":"A","hosts":["a.test"]},"some":{"variable":"B","hosts":["a.test"],"tenants":["acme"]}}"#;
        let shared = SharedSecrets::parse(text).unwrap();
        for (name, tenant, expected) in [
            ("all", "acme", true),
            ("all", "other", true),
            ("some", "acme", true),
            ("some", "other", false),
            ("none", "acme", false),
        ] {
            assert_eq!(shared.get(name, &tenant.parse().unwrap()).is_some(), expected, "{name} {tenant}");
        }
    }

    #[test]
    fn nonsense_is_named() {
        for text in ["", "7", r#"{"a":{"variable":"A"}}"#, r#"{"a":{"variable":"A","hosts":[],"host":"b"}}"#] {
            assert!(SharedSecrets::parse(text).unwrap_err().message.contains(VARIABLE), "{text}");
        }
    }
}
