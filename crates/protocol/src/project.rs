//! Projects: what sandboxes are set up from. Answered by the gateway, from its directory.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, network::Network, sandbox::Instance, text::is_text, variables::VariableChanges};

/// Names a project within its tenant: 1 to 40 characters of `[a-z0-9-]`, starting and ending with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct ProjectName(String);

impl ProjectName {
    /// Longest name, in characters.
    pub const MAX_LENGTH: usize = 40;
}

impl FromStr for ProjectName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let edges = !text.starts_with('-') && !text.ends_with('-');
        if (1..=Self::MAX_LENGTH).contains(&text.len()) && edges && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(Self::MAX_LENGTH + 1).collect();
        let rule = "1 to 40 lower-case letters, digits and hyphens, no hyphen at either end";
        Err(Error::invalid_request(format!("not a project's name: {shown:?}: {rule}")))
    }
}

is_text!(ProjectName);

/// How a sandbox of a project is made, with its variables. It has no `Debug`: they may be secrets.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(missing_debug_implementations)]
pub struct Definition<E: Default = VariableChanges> {
    /// The repository to clone, see [`git.clone`](crate::git::Clone::url).
    pub url: String,
    /// The branch or tag to check out. Default: the remote's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// How many commits of its history to fetch. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// Where to, in the sandbox. Default: the URL's last segment without `.git`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Which kind of sandbox, unless a request asks for another. Default: `sbx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// How large, unless a request asks for another size. Default: as the kind says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// A script for the shell that makes the clone ready, run in it once. At most 16 KiB. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<String>,
    /// How long that may take, in milliseconds, see `timeout_ms` of `exec`. Default: 600,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup_timeout_ms: Option<u64>,
    /// What its sandboxes reach outside: no more than this, whatever a sandbox's own rules say. Default: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Variables of its sandboxes; those of a request come on top. They may hold secrets: of a project that is shown, these are the names.
    #[serde(default)]
    pub env: E,
}

/// `POST /v1/projects`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(missing_debug_implementations)]
pub struct CreateProject {
    /// Its name.
    pub name: ProjectName,
    /// What it is.
    #[serde(flatten)]
    pub definition: Definition,
}

/// A project, as it is shown.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(missing_debug_implementations)]
pub struct Project {
    /// Its name.
    pub name: ProjectName,
    /// What its sandboxes are made from, with the names of its variables.
    #[serde(flatten)]
    pub definition: Definition<Vec<String>>,
    /// When it was made, RFC 3339 in UTC.
    pub created_at: String,
    /// When it last changed, RFC 3339 in UTC.
    pub updated_at: String,
}

/// A page of projects.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(missing_debug_implementations)]
pub struct Projects {
    /// In the order of their names.
    #[serde(rename = "items")]
    pub projects: Vec<Project>,
    /// Where the next page begins; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl Project {
    /// What is shown of a project.
    pub fn new(name: ProjectName, definition: Definition, created_at: String, updated_at: String) -> Self {
        let Definition { url, branch, depth, path, kind, instance, setup, setup_timeout_ms, network, env } = definition;
        let env = env.into_keys().collect();
        let definition = Definition { url, branch, depth, path, kind, instance, setup, setup_timeout_ms, network, env };
        Self { name, definition, created_at, updated_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["a", "web-app", "0", &"a".repeat(40)] {
            assert_eq!(name.parse::<ProjectName>().unwrap().as_str(), name);
        }
        for name in ["", "-a", "a-", "A", "a_b", "a/b", "\u{e9}", &"a".repeat(41)] {
            assert!(name.parse::<ProjectName>().is_err(), "{name}");
        }
    }

    #[test]
    fn no_value_of_a_variable_is_shown() {
        let body = r#"{"name":"web","url":"https://example.com/web.git","env":{"TOKEN":"hunter2","HOME":null}}"#;
        let CreateProject { name, definition } = serde_json::from_str(body).unwrap();
        let shown = serde_json::to_string(&Project::new(name, definition, "t".into(), "t".into())).unwrap();
        assert!(!shown.contains("hunter2") && shown.contains(r#""env":["HOME","TOKEN"]"#), "{shown}");
    }
}
