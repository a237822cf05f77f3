//! How much a tenant may have. Pure but for [`Limits::read`].

use std::collections::BTreeMap;

use cabana_protocol::{Error, Tenant};
use serde::Deserialize;
use worker::Env;

use super::Place;
use crate::variable;

/// What holds for one tenant; `None`: no limit.
///
/// | variable | meaning |
/// | --- | --- |
/// | `CABANA_TENANT_SANDBOXES` | how many sandboxes a tenant may have |
/// | `CABANA_TENANT_RUNNING` | how many of them may run at once |
/// | `CABANA_TENANT_REQUESTS_PER_MINUTE` | how many requests it may send in a minute |
/// | `CABANA_TENANT_LIMITS` | for certain tenants: `{"<tenant>": {"sandboxes": 1, "running": 1, "requests_per_minute": 60}}` |
///
/// 0, or nothing, is no limit. What [`CABANA_TENANT_LIMITS`](Self) does not say of a tenant, the others say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Sandboxes at all.
    pub sandboxes: Option<u64>,
    /// Sandboxes that run.
    pub running: Option<u64>,
    /// Requests in a minute.
    pub requests_per_minute: Option<u64>,
}

/// What `CABANA_TENANT_LIMITS` says of a tenant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Special {
    sandboxes: Option<u64>,
    running: Option<u64>,
    requests_per_minute: Option<u64>,
}

impl Limits {
    /// Reads those of a tenant from the Worker's variables.
    ///
    /// Fails with `internal`, naming the variable that cannot be understood.
    pub fn read(env: &Env, tenant: &Tenant) -> Result<Self, Error> {
        Self::parse(|name| variable(env, name), tenant)
    }

    fn parse(lookup: impl Fn(&str) -> Option<String>, tenant: &Tenant) -> Result<Self, Error> {
        let special = match lookup("CABANA_TENANT_LIMITS") {
            Some(text) if !text.is_empty() => serde_json::from_str::<BTreeMap<String, Special>>(&text)
                .map_err(|_| invalid("CABANA_TENANT_LIMITS", "a JSON object of tenants and their limits"))?
                .remove(tenant.as_str()),
            _ => None,
        };
        let limit = |name: &str, special: Option<u64>| {
            let limit = match (special, lookup(name)) {
                (Some(limit), _) => limit,
                (None, Some(text)) => text.trim().parse().map_err(|_| invalid(name, "a number"))?,
                (None, None) => 0,
            };
            Ok((limit > 0).then_some(limit))
        };
        let special = |pick: fn(&Special) -> Option<u64>| special.as_ref().and_then(pick);
        Ok(Self {
            sandboxes: limit("CABANA_TENANT_SANDBOXES", special(|special| special.sandboxes))?,
            running: limit("CABANA_TENANT_RUNNING", special(|special| special.running))?,
            requests_per_minute: limit("CABANA_TENANT_REQUESTS_PER_MINUTE", special(|special| special.requests_per_minute))?,
        })
    }

    /// Whether there is anything to count.
    pub(crate) fn has_quotas(&self) -> bool {
        self.sandboxes.is_some() || self.running.is_some()
    }

    pub(super) fn of_place(&self, place: Place) -> Option<u64> {
        match place {
            Place::Sandbox => self.sandboxes,
            Place::Running => self.running,
        }
    }
}

fn invalid(name: &str, wanted: &str) -> Error {
    Error::internal(format!("the Worker's variable {name} must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(variables: &[(&str, &str)], tenant: &str) -> Result<[Option<u64>; 3], String> {
        let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let limits = Limits::parse(lookup, &tenant.parse().unwrap()).map_err(|error| error.message)?;
        Ok([limits.sandboxes, limits.running, limits.requests_per_minute])
    }

    #[test]
    fn variables_and_exceptions() {
        let all = [("CABANA_TENANT_SANDBOXES", "5"), ("CABANA_TENANT_RUNNING", "0"), ("CABANA_TENANT_REQUESTS_PER_MINUTE", "60")];
        assert_eq!(limits(&[], "a"), Ok([None; 3]));
        assert_eq!(limits(&all, "a"), Ok([Some(5), None, Some(60)]));
        let special = [all[0], all[2], ("CABANA_TENANT_LIMITS", r#"{"a":{"sandboxes":0,"running":2}}"#)];
        assert_eq!(limits(&special, "a"), Ok([None, Some(2), Some(60)]));
        assert_eq!(limits(&special, "b"), Ok([Some(5), None, Some(60)]));
    }

    #[test]
    fn nonsense_is_named() {
        for (name, value) in [
            ("CABANA_TENANT_SANDBOXES", "many"),
            ("CABANA_TENANT_RUNNING", "-1"),
            ("CABANA_TENANT_LIMITS", "[]"),
            ("CABANA_TENANT_LIMITS", r#"{"a":{"sandbox":1}}"#),
        ] {
            assert!(limits(&[(name, value)], "a").unwrap_err().contains(name), "{name}={value}");
        }
    }
}
