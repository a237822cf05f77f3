//! What workerd allows a sandbox.

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

/// The rules of one sandbox's egress. workerd changes them by `PUT /egress`, whose absent fields keep their values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressRules {
    /// The port of the host's loopback address on which workerd takes connections. Until it has told one, connections are reset.
    pub port: Option<u16>,
    /// Whether workerd dials what no intercept matches.
    pub internet: bool,
    /// Names that resolve to a placeholder where DNS does not know them, because workerd intercepts them.
    pub intercepted: Vec<String>,
}

impl Default for EgressRules {
    fn default() -> Self {
        Self { port: None, internet: true, intercepted: Vec::new() }
    }
}

/// The body of `PUT /egress`.
#[derive(Deserialize)]
struct Update {
    port: Option<u16>,
    internet: Option<Internet>,
    dns: Option<Dns>,
}

#[derive(Deserialize)]
struct Internet {
    enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dns {
    allow_hostnames: Option<Vec<String>>,
}

impl EgressRules {
    /// Applies the body of a `PUT /egress`.
    pub(crate) fn apply(&mut self, body: &[u8]) -> serde_json::Result<()> {
        let update: Update = serde_json::from_slice(body)?;
        self.port = update.port.or(self.port);
        self.internet = update.internet.and_then(|internet| internet.enabled).unwrap_or(self.internet);
        if let Some(names) = update.dns.and_then(|dns| dns.allow_hostnames) {
            self.intercepted = names;
        }
        Ok(())
    }

    /// Whether workerd intercepts this name. Names are compared without regard to case and to a final dot (RFC 4343, RFC 1034).
    pub(super) fn intercepts(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.intercepted.iter().filter_map(|pattern| matcher(pattern)).any(|pattern| pattern.is_match(&name))
    }
}

/// A glob of host names, whose `*` matches dots too. `None` where it is malformed: workerd has checked it before.
fn matcher(pattern: &str) -> Option<GlobMatcher> {
    let pattern = pattern.to_ascii_lowercase();
    Some(GlobBuilder::new(&pattern).literal_separator(false).build().ok()?.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_keeps_what_it_does_not_name() {
        let mut rules = EgressRules::default();
        for (body, port, internet, intercepted) in [
            (r#"{"port":7}"#, Some(7), true, &[] as &[&str]),
            (r#"{"internet":{"enabled":false}}"#, Some(7), false, &[]),
            (r#"{"internet":{},"dns":{"allowHostnames":["*.a"]}}"#, Some(7), false, &["*.a"]),
            (r#"{"port":8,"dns":{}}"#, Some(8), false, &["*.a"]),
        ] {
            rules.apply(body.as_bytes()).unwrap();
            assert_eq!((rules.port, rules.internet), (port, internet), "{body}");
            assert_eq!(rules.intercepted, intercepted, "{body}");
        }
        let before = rules.clone();
        for body in ["", "{", r#"{"port":70000}"#, r#"{"dns":{"allowHostnames":[1]}}"#] {
            assert!(rules.apply(body.as_bytes()).is_err(), "{body}");
            assert_eq!(rules, before, "{body}");
        }
    }

    #[test]
    fn names_match_their_globs_in_any_case() {
        let intercepted = ["exact.example", "*.Wild.example", "[", "*"].map(str::to_owned);
        let rules = |end| EgressRules { intercepted: intercepted[..end].to_vec(), ..EgressRules::default() };
        for (name, matches) in
            [("EXACT.example.", true), ("a.b.wild.EXAMPLE", true), ("wild.example", false), ("other.exact.example", false)]
        {
            assert_eq!(rules(3).intercepts(name), matches, "{name}");
            assert!(rules(4).intercepts(name), "{name}");
        }
    }
}
