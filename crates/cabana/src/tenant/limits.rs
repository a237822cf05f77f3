//! How much a tenant may have. Pure but for [`Limits::read`].

use std::collections::BTreeMap;

use cabana_protocol::{Error, Tenant};
use serde::Deserialize;
use worker::Env;

use super::place::Place;
use crate::variables::variable;

/// What holds for one tenant; `None`: no limit.
///
/// | variable | meaning |
/// | --- | --- |
/// | `CABANA_TENANT_SANDBOXES` | how many sandboxes a tenant may have |
/// | `CABANA_TENANT_RUNNING` | how many of them may run at once |
/// | `CABANA_TENANT_SNAPSHOTS` | how many snapshots the lists of its sandboxes may have together |
/// | `CABANA_TENANT_REQUESTS_PER_MINUTE` | how many requests it may send in a minute |
/// | `CABANA_TENANT_LIMITS` | for certain tenants: `{"<tenant>": {"sandboxes": 1, "running": 1, "snapshots": 1, "requests_per_minute": 60}}` |
///
/// The platform gives a variable 5 KiB, which is room for some 70 tenants. `CABANA_TENANT_LIMITS_2` and so on, without a gap, hold more.
///
/// 0, or nothing, is no limit. What [`CABANA_TENANT_LIMITS`](Self) does not say of a tenant, the others say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Sandboxes at all.
    pub sandboxes: Option<u64>,
    /// Sandboxes that run.
    pub running: Option<u64>,
    /// Snapshots in lists.
    pub snapshots: Option<u64>,
    /// Requests in a minute.
    pub requests_per_minute: Option<u64>,
}

/// What `CABANA_TENANT_LIMITS` says of a tenant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Special {
    sandboxes: Option<u64>,
    running: Option<u64>,
    snapshots: Option<u64>,
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
        let special = exception(&lookup, tenant)?;
        let limit = |name: &str, special: Option<u64>| {
            let limit = match (special, lookup(name)) {
                (Some(limit), _) => limit,
                (None, Some(text)) => text.trim().parse().map_err(|_| invalid(name, "a number"))?,
                (None, None) => 0,
            };
            Ok::<_, Error>((limit > 0).then_some(limit))
        };
        let special = |pick: fn(&Special) -> Option<u64>| special.as_ref().and_then(pick);
        Ok(Self {
            sandboxes: limit("CABANA_TENANT_SANDBOXES", special(|special| special.sandboxes))?,
            running: limit("CABANA_TENANT_RUNNING", special(|special| special.running))?,
            snapshots: limit("CABANA_TENANT_SNAPSHOTS", special(|special| special.snapshots))?,
            requests_per_minute: limit("CABANA_TENANT_REQUESTS_PER_MINUTE", special(|special| special.requests_per_minute))?,
        })
    }

    /// Whether there is anything to count.
    pub(crate) fn has_quotas(&self) -> bool {
        self.sandboxes.is_some() || self.running.is_some() || self.snapshots.is_some()
    }

    pub(super) fn of_place(&self, place: Place) -> Option<u64> {
        match place {
            Place::Sandbox => self.sandboxes,
            Place::Running => self.running,
            Place::Snapshot => self.snapshots,
        }
    }
}

/// What the numbered variables say of a tenant; the first that names it counts.
fn exception(lookup: impl Fn(&str) -> Option<String>, tenant: &Tenant) -> Result<Option<Special>, Error> {
    const FIRST: &str = "CABANA_TENANT_LIMITS";
    let names = std::iter::once(FIRST.to_owned()).chain((2..).map(|number| format!("{FIRST}_{number}")));
    for (name, text) in names.map_while(|name| lookup(&name).map(|text| (name, text))).filter(|(_, text)| !text.is_empty()) {
        let known = serde_json::from_str::<BTreeMap<String, Special>>(&text);
        let mut known = known.map_err(|_| invalid(&name, "a JSON object of tenants and their limits"))?;
        if let Some(special) = known.remove(tenant.as_str()) {
            return Ok(Some(special));
        }
    }
    Ok(None)
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
    fn snapshots_have_a_quota_of_their_own() {
        let lookup = |name: &str| (name == "CABANA_TENANT_SNAPSHOTS").then(|| "7".to_owned());
        let limits = Limits::parse(lookup, &"a".parse().unwrap()).unwrap();
        assert_eq!(
            (limits.of_place(Place::Snapshot), limits.of_place(Place::Sandbox), limits.has_quotas()),
            (Some(7), None, true)
        );
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
    fn more_tenants_than_fit_into_a_variable_have_limits() {
        let tenants = |first: usize| {
            let limits: Vec<_> =
                (first..first + 70).map(|number| format!(r#""tenant-{number}":{{"sandboxes":{number},"running":5}}"#)).collect();
            let text = format!("{{{}}}", limits.join(","));
            assert!(text.len() <= 5 << 10, "the platform takes it");
            text
        };
        let texts = [tenants(1), tenants(71), tenants(141)];
        let names = ["CABANA_TENANT_LIMITS", "CABANA_TENANT_LIMITS_2", "CABANA_TENANT_LIMITS_3"];
        let variables: Vec<_> = names.into_iter().zip(texts.iter().map(String::as_str)).collect();
        for (tenant, sandboxes) in
            [("tenant-1", Some(1)), ("tenant-140", Some(140)), ("tenant-210", Some(210)), ("tenant-211", None)]
        {
            assert_eq!(limits(&variables, tenant).unwrap()[0], sandboxes, "{tenant}");
        }
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
