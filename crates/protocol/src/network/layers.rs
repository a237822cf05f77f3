//! The rules of a sandbox, its project and its kind together.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Network, NetworkGroups, NetworkRule, NetworkSecret, Outgoing, Verdict};

/// Rules, each where they come from. A request passes where all of them let it pass, so that a sandbox never reaches more than its kind and
/// its project allow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetworkLayers {
    /// The operator's: for the kind, and `internet: false` where the deployment has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Network>,
    /// The project's, as they were when the sandbox was last set up for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Network>,
    /// The sandbox's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Network>,
}

impl NetworkLayers {
    /// The nearest first.
    fn layers(&self) -> impl Iterator<Item = &Network> {
        [&self.sandbox, &self.project, &self.kind].into_iter().flatten()
    }

    /// Whether anything is reached, as far as they say.
    pub fn internet(&self) -> bool {
        self.layers().all(|layer| layer.internet != Some(false))
    }

    /// Whether requests are judged one by one.
    pub fn has_rules(&self) -> bool {
        self.internet() && self.layers().any(Network::has_rules)
    }

    /// Judges a request. Where all let it pass, it passes.
    pub fn judge(&self, request: &Outgoing<'_>, groups: &NetworkGroups) -> Verdict<'_> {
        let mut verdicts = self.layers().map(|layer| layer.judge(request, groups));
        verdicts.find(|verdict| *verdict != Verdict::Allowed).unwrap_or(Verdict::Allowed)
    }

    /// The secrets for a request that may pass: for each header the nearest.
    pub fn secrets_for(&self, request: &Outgoing<'_>) -> Vec<&NetworkSecret> {
        let mut found: Vec<&NetworkSecret> = Vec::new();
        for secret in self.layers().flat_map(|layer| &layer.secrets).filter(|secret| secret.is_for(request)) {
            if !found.iter().any(|earlier| earlier.header.eq_ignore_ascii_case(&secret.header)) {
                found.push(secret);
            }
        }
        found
    }

    /// The ports beside the usual ones that a rule of `allow` opens.
    pub fn ports(&self, groups: &NetworkGroups) -> BTreeSet<u16> {
        let rules = self.layers().flat_map(|layer| layer.allow.iter().flatten());
        let of = |rule: &NetworkRule| {
            let group = rule.group().and_then(|name| groups.get(name)).unwrap_or_default();
            rule.port().into_iter().chain(group.iter().filter_map(NetworkRule::port)).collect::<Vec<_>>()
        };
        rules.flat_map(of).filter(|port| ![80, 443].contains(port)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(text: &str) -> NetworkLayers {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_request_passes_where_all_let_it_pass() {
        let all = layers(
            r#"{"kind":{"deny":["evil.test"]},"project":{"allow":["*.test"]},"sandbox":{"allow":["a.test","evil.test"]}}"#,
        );
        for (host, expected) in [("a.test", true), ("evil.test", false), ("b.test", false), ("a.example", false)] {
            let request = Outgoing { method: "GET", is_https: true, host, port: 443, path: "/" };
            assert_eq!(all.judge(&request, &NetworkGroups::default()) == Verdict::Allowed, expected, "{host}");
        }
        assert!(all.has_rules() && all.internet());
        let none = layers(r#"{"kind":{"internet":false},"sandbox":{"allow":["a.test"]}}"#);
        assert!(!none.has_rules() && !none.internet(), "nothing is left to judge");
        assert!(!layers("{}").has_rules() && layers("{}").internet());
    }

    #[test]
    fn the_nearest_secret_of_each_header_is_added() {
        let secret = |header: &str, name: &str| format!(r#"{{"host":"a.b","header":"{header}","secret":"{name}"}}"#);
        let (x, other_x, y) = (secret("X", "own"), secret("x", "theirs"), secret("Y", "theirs"));
        let all = layers(&format!(r#"{{"kind":{{"secrets":[{other_x},{y}]}},"sandbox":{{"secrets":[{x}]}}}}"#));
        let request = Outgoing { method: "GET", is_https: true, host: "a.b", port: 443, path: "/" };
        let found: Vec<_> = all.secrets_for(&request).iter().map(|secret| secret.secret.as_str()).collect();
        assert_eq!(found, ["own", "theirs"]);
    }

    #[test]
    fn ports_are_those_that_rules_open() {
        let groups = NetworkGroups::parse(r#"{"g":["a.test:9000"]}"#).unwrap();
        let all = layers(r#"{"kind":{"allow":["all:8080","all:443"],"deny":["a:7000"]},"sandbox":{"allow":["@g","a.test:80"]}}"#);
        assert_eq!(all.ports(&groups), [8080, 9000].into());
    }
}
