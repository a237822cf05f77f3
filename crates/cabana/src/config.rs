//! The Worker's variables that the Sandbox class reads.

use std::time::Duration;

use cabana_protocol::{Error, SandboxId, network::NetworkGroups, variables::VariableChanges};
use worker::Env;

use crate::{
    Kind, Kinds,
    audit::Retention,
    egress::read_groups,
    lifecycle::{Rules, Timings},
    preview::Hosts,
    variables::variable,
};

/// How sandboxes start. Every value may be set by a variable of the Worker, as a string, number or boolean.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `CABANA_START_TIMEOUT_MS`: how long a request waits for its sandbox to start before it is told to come again
    /// (`container_not_ready`), in milliseconds; default 20,000. The start goes on meanwhile.
    pub start_timeout: Duration,
    /// `CABANA_START_LIMIT_MS`: how long a start may take before it has failed and its container is ended, in milliseconds;
    /// default 120,000.
    pub start_limit: Duration,
    /// `CABANA_SLEEP_AFTER_MS`: how long a sandbox that nobody asks anything stays up, in milliseconds, where it does not say so itself;
    /// default 600,000.
    pub sleep_after: Duration,
    /// `CABANA_HEARTBEAT_MS`: how long a stream may be silent before it shows that its connection is alive; default 5,000. `CABANA_PROBE_MS`: how long the agent may be
    /// silent while requests wait for it before it is asked for its health, which it may take as long to answer; default 10,000. An answer vouches for
    /// the agent for half of that. `CABANA_DEAD_AFTER_MS`: how long fresh connections to the agent must fail before the object is reset, and then
    /// the container replaced; default 60,000. `CABANA_PLATFORM_LIMIT_MS`: how long a call to the platform may take; default 30,000.
    pub timings: Timings,
    /// `CABANA_AUDIT_DAYS`: how many days an entry of the audit is kept, default 30; `CABANA_AUDIT_ROWS`: how many records are kept of each
    /// sandbox, default 100,000, a request that takes long being two.
    pub(crate) retention: Retention,
    /// `CABANA_INTERNET`: whether sandboxes reach the internet; default true.
    pub internet: bool,
    /// `CABANA_NETWORK_GROUPS`: rules by name, for the rules of sandboxes, projects and kinds; default: none.
    pub groups: NetworkGroups,
    /// `CABANA_PREVIEW_DOMAIN`, `CABANA_API_HOSTS`: under which hosts the deployment is reached.
    pub hosts: Hosts,
    /// `CABANA_KINDS`: the kinds of sandboxes; default: the images of the container.
    pub kinds: Kinds,
    /// Variables of commands that the sandbox's class names, see [`Hooks::variables`](crate::Hooks::variables).
    pub(crate) variables: VariableChanges,
}

impl Config {
    /// Reads the variables.
    ///
    /// Fails with `internal`, naming the variable that cannot be understood.
    pub fn read(env: &Env) -> Result<Self, Error> {
        let groups = read_groups(env)?;
        Ok(Self { groups, ..Self::parse(Kinds::read(env)?, |name| variable(env, name))? })
    }

    /// Variables of the commands of a sandbox of this kind, but for its project's and its own.
    pub(crate) fn variables_of(&self, kind: &str) -> VariableChanges {
        let mut variables = self.kinds.get(kind).map(|kind| kind.env.clone()).unwrap_or_default();
        variables.extend(self.variables.clone());
        variables
    }

    /// The part of it that the life of the sandbox of this id goes by.
    pub(crate) fn rules(&self, id: Option<&SandboxId>) -> Rules {
        let kind = id.and_then(|id| self.kinds.of(id));
        let sleep_after = kind.and_then(Kind::sleep_after).unwrap_or(self.sleep_after);
        Rules { sleep_after, start_limit: self.start_limit, timings: self.timings, snapshots: false }
    }

    fn parse(kinds: Kinds, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let millis = |name: &str, default| match lookup(name) {
            None => Ok(Duration::from_millis(default)),
            Some(text) => text.trim().parse().map(Duration::from_millis).map_err(|_| invalid(name, "a number of milliseconds")),
        };
        let number = |name: &str, default| match lookup(name) {
            None => Ok(default),
            Some(text) => text.trim().parse().map_err(|_| invalid(name, "a number")),
        };
        let defaults = Timings::default();
        let or_default = |name: &str, default: Duration| millis(name, u64::try_from(default.as_millis()).unwrap_or(u64::MAX));
        let probe_after = or_default("CABANA_PROBE_MS", defaults.probe_after)?;
        Ok(Self {
            timings: Timings {
                heartbeat: or_default("CABANA_HEARTBEAT_MS", defaults.heartbeat)?,
                probe_after,
                trust: probe_after / 2,
                dead_after: or_default("CABANA_DEAD_AFTER_MS", defaults.dead_after)?,
                platform_limit: or_default("CABANA_PLATFORM_LIMIT_MS", defaults.platform_limit)?,
                snapshot_limit: or_default("CABANA_SNAPSHOT_LIMIT_MS", defaults.snapshot_limit)?,
            },
            start_timeout: millis("CABANA_START_TIMEOUT_MS", 20_000)?,
            start_limit: millis("CABANA_START_LIMIT_MS", 120_000)?,
            sleep_after: millis("CABANA_SLEEP_AFTER_MS", 600_000)?,
            retention: Retention {
                age: Duration::from_secs(number("CABANA_AUDIT_DAYS", 30_u64)?.saturating_mul(24 * 3_600)),
                records: number("CABANA_AUDIT_ROWS", 100_000)?,
            },
            internet: match lookup("CABANA_INTERNET").as_deref() {
                None | Some("true") => true,
                Some("false") => false,
                Some(_) => return Err(invalid("CABANA_INTERNET", "true or false")),
            },
            groups: NetworkGroups::default(),
            hosts: Hosts::parse(lookup("CABANA_PREVIEW_DOMAIN").as_deref(), lookup("CABANA_API_HOSTS").as_deref())?,
            kinds,
            variables: VariableChanges::new(),
        })
    }
}

fn invalid(name: &str, wanted: &str) -> Error {
    Error::internal(format!("the Worker's variable {name} must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &'static str, value: &'static str) -> Result<Config, Error> {
        Config::parse(Kinds::default(), |asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn values_and_defaults() {
        let defaults = Config::parse(Kinds::default(), |_| None).unwrap();
        assert_eq!((defaults.start_timeout.as_secs(), defaults.start_limit.as_secs(), defaults.internet), (20, 120, true));
        assert_eq!(defaults.timings, Timings::default());
        let short = parse("CABANA_PROBE_MS", "1000").unwrap().timings;
        assert_eq!((short.probe_after.as_millis(), short.trust.as_millis(), short.dead_after.as_secs()), (1_000, 500, 60));
        assert_eq!(parse("CABANA_START_TIMEOUT_MS", "250").unwrap().start_timeout, Duration::from_millis(250));
        assert!(!parse("CABANA_INTERNET", "false").unwrap().internet);
    }

    #[test]
    fn nonsense_is_named() {
        for (name, value) in [
            ("CABANA_START_TIMEOUT_MS", "-1"),
            ("CABANA_START_LIMIT_MS", "1.5"),
            ("CABANA_SLEEP_AFTER_MS", "soon"),
            ("CABANA_INTERNET", "maybe"),
            ("CABANA_PREVIEW_DOMAIN", "https://previews"),
        ] {
            assert!(parse(name, value).unwrap_err().message.contains(name), "{name}");
        }
    }
}
