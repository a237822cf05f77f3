//! What a sandbox reaches outside.

mod group;
mod layers;
mod report;
mod rule;
mod secret;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use group::NetworkGroups;
pub use layers::NetworkLayers;
pub use report::{Denial, NetworkCounters, NetworkReport};
pub use rule::{NetworkRule, Outgoing};
pub use secret::{NetworkSecret, SecretReference, SecretScheme};

use crate::{
    Error,
    names::{excluded_field, invalid_field, nearest},
};

/// Rules for what a sandbox reaches outside.
///
/// With any of `allow`, `deny` and `secrets`, only HTTP and HTTPS leave the sandbox, on ports 80 and 443 and those that `allow`
/// names, and each request is judged by its method, host, port and path.
/// A rule is `host`, `*.host` (any name below), an IP address or a CIDR range, `all`, `none`, or `@group`, which stands for rules that the
/// operator lists. A port may follow a host, `host:8080`, and a path, in which `*` stands for any characters; methods may come first,
/// separated by commas: `GET,HEAD api.github.com/repos/acme/*`. Hosts and methods are compared without regard to case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Network {
    /// Whether anything is reached. Default: as the deployment says (`CABANA_INTERNET`). `true` does not overrule a deployment without internet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internet: Option<bool>,
    /// What is reached, and nothing else. At most 64. Default: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<NetworkRule>>,
    /// What is not reached, though `allow` names it. At most 64. Default: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<NetworkRule>,
    /// Credentials that are added to requests outside the sandbox, which never has them. At most 16. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<NetworkSecret>,
}

/// What the rules say of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It may pass.
    Allowed,
    /// It may not: by this rule, or because no rule of `allow` matches.
    Denied(Option<&'a NetworkRule>),
}

impl Network {
    /// The most rules of each list.
    pub const MAX_RULES: usize = 64;

    /// The most ports, beside the usual ones, that `allow` names: the platform has room for so many.
    pub const MAX_PORTS: usize = 8;

    /// The most secrets.
    pub const MAX_SECRETS: usize = 16;

    /// Whether requests are judged one by one.
    pub fn has_rules(&self) -> bool {
        self.internet != Some(false) && (self.allow.is_some() || !self.deny.is_empty() || !self.secrets.is_empty())
    }

    /// Fails with `invalid_request` where rules contradict each other or are too many.
    pub fn check(&self) -> Result<(), Error> {
        for (field, rules) in [("allow", self.allow.as_deref().unwrap_or_default()), ("deny", &self.deny)] {
            if rules.len() > Self::MAX_RULES {
                return Err(invalid_field(
                    &format!("network.{field}"),
                    &format!("at most {} rules, got {}", Self::MAX_RULES, rules.len()),
                ));
            }
        }
        if self.internet == Some(false) && self.allow.as_ref().is_some_and(|rules| !rules.is_empty()) {
            return Err(excluded_field("network.allow", "can have no rule where `network.internet` is false"));
        }
        self.check_allow()?;
        self.check_secrets()
    }

    /// Fails where rules leave no sense to `allow`.
    fn check_allow(&self) -> Result<(), Error> {
        let allow = self.allow.as_deref().unwrap_or_default();
        let contradiction = |rule: &NetworkRule, why: &str| Err(Error::invalid_request(format!("network rule {rule:?}: {why}")));
        if let Some(rule) = allow.iter().find(|rule| rule.is_none() && allow.len() > 1) {
            return contradiction(rule, "it stands alone in network.allow");
        }
        let ports: BTreeSet<_> = allow.iter().filter_map(NetworkRule::port).collect();
        if ports.len() > Self::MAX_PORTS {
            let message = format!("network.allow names {} ports; at most {}", ports.len(), Self::MAX_PORTS);
            return Err(Error::invalid_request(message));
        }
        if let Some(rule) = self.deny.iter().find(|rule| allow.contains(rule)) {
            return contradiction(rule, "it is in network.allow and in network.deny");
        }
        match self.deny.iter().find(|rule| rule.is_everything()) {
            Some(rule) if allow.iter().any(|rule| !rule.is_none()) => {
                contradiction(rule, "network.deny leaves nothing of network.allow")
            }
            _ => Ok(()),
        }
    }

    /// The groups that its rules name.
    pub fn groups(&self) -> impl Iterator<Item = (&NetworkRule, &str)> {
        let rules = self.allow.iter().flatten().chain(&self.deny);
        rules.filter_map(|rule| rule.group().map(|name| (rule, name)))
    }

    /// Whether the deployment has the groups that its rules name. Fails with `invalid_request`, which names the rule.
    pub fn check_groups(&self, groups: &NetworkGroups) -> Result<(), Error> {
        for (rule, name) in self.groups() {
            if groups.get(name).is_none() {
                let known: Vec<_> = groups.names().collect();
                let meant = nearest(name, &known).map(|near| format!(": did you mean `@{near}`?")).unwrap_or_default();
                let error = Error::invalid_request(format!("network rule {rule:?}: there is no group {name:?}{meant}"));
                return Err(error.with_details(serde_json::json!({ "reason": "no_such_group", "groups": known })));
            }
        }
        Ok(())
    }

    fn check_secrets(&self) -> Result<(), Error> {
        if self.internet == Some(false) && !self.secrets.is_empty() {
            return Err(Error::invalid_request("network.internet is false, so that network.secrets can have no entry"));
        }
        if self.secrets.len() > Self::MAX_SECRETS {
            let message = format!("network.secrets has {} entries; at most {}", self.secrets.len(), Self::MAX_SECRETS);
            return Err(Error::invalid_request(message));
        }
        for (number, secret) in self.secrets.iter().enumerate() {
            secret.check()?;
            if let Some(other) = self.secrets[..number].iter().find(|other| other.collides_with(secret)) {
                let NetworkSecret { header, .. } = secret;
                let message = format!("network.secrets: {other} and {secret} set the header {header:?} of the same requests");
                return Err(Error::invalid_request(message));
            }
        }
        Ok(())
    }

    /// Judges a request. A rule of `deny` wins over those of `allow`.
    fn judge(&self, request: &Outgoing<'_>, groups: &NetworkGroups) -> Verdict<'_> {
        if let Some(rule) = self.deny.iter().find(|rule| rule.denies(request, groups)) {
            return Verdict::Denied(Some(rule));
        }
        match &self.allow {
            _ if self.internet == Some(false) => Verdict::Denied(None),
            // Nobody has named the port.
            None if !request.has_usual_port() => Verdict::Denied(None),
            Some(rules) if !rules.iter().any(|rule| rule.allows(request, groups)) => Verdict::Denied(None),
            _ => Verdict::Allowed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn deny_wins_over_allow_and_what_is_not_allowed_is_denied() {
        let groups = NetworkGroups::default();
        let rules = network(r#"{"allow":["*.example","GET api.test/v1/*"],"deny":["secret.example","all/admin*"]}"#);
        for (method, host, path, expected) in [
            ("GET", "a.example", "/", Verdict::Allowed),
            ("GET", "secret.example", "/", Verdict::Denied(Some(&rules.deny[0]))),
            ("GET", "a.example", "/admin/x", Verdict::Denied(Some(&rules.deny[1]))),
            ("GET", "api.test", "/v1/a", Verdict::Allowed),
            ("POST", "api.test", "/v1/a", Verdict::Denied(None)),
            ("GET", "api.test", "/v2", Verdict::Denied(None)),
            ("GET", "example", "/", Verdict::Denied(None)),
        ] {
            assert_eq!(
                rules.judge(&Outgoing { method, is_https: true, host, port: 443, path }, &groups),
                expected,
                "{method} {host} {path}"
            );
        }
        let request = Outgoing { method: "GET", is_https: true, host: "a", port: 443, path: "/" };
        assert_eq!(network("{}").judge(&request, &groups), Verdict::Allowed);
        assert_eq!(network(r#"{"allow":[]}"#).judge(&request, &groups), Verdict::Denied(None));
        assert_eq!(network(r#"{"internet":false}"#).judge(&request, &groups), Verdict::Denied(None));
        let elsewhere = Outgoing { port: 8080, ..request };
        assert_eq!(network(r#"{"deny":["b"]}"#).judge(&elsewhere, &groups), Verdict::Denied(None), "nobody has named the port");
    }

    #[test]
    fn contradictions_and_crowds_are_refused() {
        for (text, is_valid, has_rules) in [
            ("{}", true, false),
            (r#"{"internet":true}"#, true, false),
            (r#"{"internet":false}"#, true, false),
            (r#"{"internet":false,"allow":[]}"#, true, false),
            (r#"{"allow":[]}"#, true, true),
            (r#"{"deny":["a"]}"#, true, true),
            (r#"{"internet":false,"allow":["a"]}"#, false, false),
            (r#"{"allow":["none"]}"#, true, true),
            (r#"{"allow":["none","a"]}"#, false, true),
            (r#"{"allow":["a","b"],"deny":["b"]}"#, false, true),
            (r#"{"allow":["a"],"deny":["all"]}"#, false, true),
            (r#"{"allow":["a"],"deny":["all/x"]}"#, true, true),
            (r#"{"secrets":[{"host":"a.b","header":"X","secret":"s"}]}"#, true, true),
            (r#"{"internet":false,"secrets":[{"host":"a.b","header":"X","secret":"s"}]}"#, false, false),
            (r#"{"secrets":[{"host":"a.b","header":"X","secret":"s"},{"host":"a.b","header":"x","secret":"t"}]}"#, false, true),
        ] {
            let network = network(text);
            assert_eq!((network.check().is_ok(), network.has_rules()), (is_valid, has_rules), "{text}");
        }
        let many = Network { deny: vec!["a".parse().unwrap(); 65], ..Network::default() };
        assert!(many.check().unwrap_err().message.contains("`network.deny` takes at most 64 rules, got 65"));
        let ports = (1..10).map(|port| format!("a:{port}").parse().unwrap()).collect();
        let many = Network { allow: Some(ports), ..Network::default() };
        assert!(many.check().unwrap_err().message.contains("network.allow names 9 ports"));
    }
}
