//! The kinds of sandboxes that a deployment has, as `cargo xtask sync` writes them into the Worker's variables. Pure but for
//! [`Kinds::read`].

use std::{collections::BTreeMap, time::Duration};

use cabana_protocol::{
    Error, SandboxId,
    network::Network,
    sandbox::{Instance, Root, check_roots},
    variables::VariableChanges,
};
use serde::Deserialize;
use worker::Env;

use crate::variables::json_variable;

/// Every kind, by name. Empty where the Worker is told of none: a kind is then an image of the container.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Kinds(BTreeMap<String, Kind>);

/// A kind of sandbox.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Kind {
    /// What it is, for people.
    #[serde(default)]
    pub description: String,
    /// The Dockerfile or the image.
    #[serde(default)]
    pub image: String,
    /// How large its sandboxes are, unless they ask for another size.
    #[serde(default)]
    pub instance: Instance,
    /// Variables for every command, on top of the image's.
    #[serde(default)]
    pub env: VariableChanges,
    /// The directories that file operations reach, where the sandbox does not say so itself; `None`: as the image says.
    #[serde(default)]
    pub roots: Option<Vec<Root>>,
    /// The directories in which those of a sandbox may be.
    #[serde(default)]
    pub allowed_roots: Option<Vec<String>>,
    /// What its sandboxes reach outside: no more than this, whatever they and their projects say.
    #[serde(default)]
    pub network: Option<Network>,
    /// The Durable Object binding of a class of its own.
    #[serde(default)]
    pub binding: Option<String>,
    /// How long a sandbox that nobody asks anything stays up, in milliseconds, where it does not say so itself.
    #[serde(default)]
    pub sleep_after_ms: Option<u64>,
}

impl Kinds {
    /// The variable that holds them, as a JSON object or as its text.
    pub const VARIABLE: &'static str = "CABANA_KINDS";

    /// Reads the variable.
    ///
    /// Fails with `internal` where it cannot be understood.
    pub fn read(env: &Env) -> Result<Self, Error> {
        json_variable(env, Self::VARIABLE).map_or_else(|| Ok(Self::default()), |text| Self::parse(&text))
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let invalid = |error| Error::internal(format!("the Worker's variable {}: {error}", Self::VARIABLE));
        serde_json::from_str(text).map_err(invalid)
    }

    /// Whether the Worker is told of none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Kind)> {
        self.0.iter().map(|(name, kind)| (name.as_str(), kind))
    }

    /// The kind of this name.
    pub fn get(&self, name: &str) -> Option<&Kind> {
        self.0.get(name)
    }

    /// The kind that sandboxes of this id are of.
    pub fn of(&self, id: &SandboxId) -> Option<&Kind> {
        self.get(id.kind_among(self.0.keys().map(String::as_str)))
    }

    /// The id of this name: the name itself where it begins with a kind, and one of the default kind otherwise.
    ///
    /// Fails with `invalid_request`.
    pub(crate) fn id(&self, name: &str) -> Result<SandboxId, Error> {
        if let Ok(id) = name.parse::<SandboxId>() {
            let kind = id.kind_among(self.0.keys().map(String::as_str));
            if kind == SandboxId::DEFAULT_KIND || self.0.contains_key(kind) {
                return Ok(id);
            }
        }
        SandboxId::new(SandboxId::DEFAULT_KIND, name)
    }

    /// The binding of the Durable Object class in which sandboxes of this id are; `default` where their kind has none of its own.
    pub fn binding<'a>(&'a self, id: &SandboxId, default: &'a str) -> &'a str {
        self.of(id).and_then(|kind| kind.binding.as_deref()).unwrap_or(default)
    }
}

/// Where the roots of sandboxes may be whose kind does not say so.
const ALLOWED_ROOTS: [&str; 3] = ["/workspace", "/tmp", "/home"];

impl Kinds {
    /// Whether sandboxes of this kind can have these roots. Fails with `invalid_request`.
    pub(crate) fn check_roots(&self, kind: &str, roots: &[Root]) -> Result<(), Error> {
        let allowed = self.get(kind).and_then(|kind| kind.allowed_roots.clone());
        check_roots(roots, &allowed.unwrap_or_else(|| ALLOWED_ROOTS.map(str::to_owned).into()))
    }
}

impl Kind {
    /// See [`Self::sleep_after_ms`].
    pub fn sleep_after(&self) -> Option<Duration> {
        self.sleep_after_ms.map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_alone_tells_the_class() {
        let kinds = r#"{"sbx":{},"code-interpreter":{"binding":"CODE_INTERPRETER_SANDBOX"},"py":{"instance":"standard-2"}}"#;
        let kinds = Kinds::parse(kinds).unwrap();
        for (id, binding) in [
            ("sbx-a", "SANDBOX"),
            ("py-code-interpreter-a", "SANDBOX"),
            ("code-interpreter-a", "CODE_INTERPRETER_SANDBOX"),
            ("code-interpreter-a-b", "CODE_INTERPRETER_SANDBOX"),
            ("code-interpretera", "SANDBOX"),
            ("code-a", "SANDBOX"),
            ("unknown-a", "SANDBOX"),
        ] {
            assert_eq!(kinds.binding(&id.parse().unwrap(), "SANDBOX"), binding, "{id}");
        }
        assert_eq!(Kinds::default().binding(&"code-interpreter-a".parse().unwrap(), "MINE"), "MINE");
    }

    #[test]
    fn a_name_without_a_kind_is_one_of_the_default_kind() {
        let kinds = Kinds::parse(r#"{"python":{},"code-interpreter":{}}"#).unwrap();
        for (name, id) in [
            ("my-id", "sbx-my-id"),
            ("a", "sbx-a"),
            ("User_7", "sbx-user-7"),
            ("sbx-a", "sbx-a"),
            ("SBX_a", "sbx-a"),
            ("python-a", "python-a"),
            ("python", "sbx-python"),
            ("code-interpreter-a", "code-interpreter-a"),
            ("code-a", "sbx-code-a"),
        ] {
            assert_eq!(kinds.id(name).unwrap().as_str(), id, "{name}");
        }
        for odd in ["", "a b", "-", "a/b", &"a".repeat(37)] {
            assert!(kinds.id(odd).is_err(), "{odd}");
        }
        assert_eq!(Kinds::default().id("python-a").unwrap().as_str(), "sbx-python-a");
    }

    #[test]
    fn nonsense_is_named() {
        for text in ["", "7", "[]", r#"{"sbx":7}"#, r#"{"sbx":{"instance":"huge"}}"#] {
            assert!(Kinds::parse(text).unwrap_err().message.contains("CABANA_KINDS"), "{text}");
        }
    }
}
