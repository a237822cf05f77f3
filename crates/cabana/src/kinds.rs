//! The kinds of sandboxes that a deployment has, as `cargo xtask sync` writes them into the Worker's variables. Pure but for
//! [`Kinds::read`].

use std::{collections::BTreeMap, time::Duration};

use cabana_protocol::{Error, SandboxId, sandbox::Instance};
use js_sys::{JSON, Reflect};
use serde::Deserialize;
use worker::{
    Env,
    wasm_bindgen::{JsCast, JsValue},
};

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
        let value = Reflect::get(env.unchecked_ref::<JsValue>(), &Self::VARIABLE.into()).unwrap_or(JsValue::UNDEFINED);
        if value.is_undefined() {
            return Ok(Self::default());
        }
        let object = || JSON::stringify(&value).ok().and_then(|text| text.as_string());
        Self::parse(&value.as_string().or_else(object).unwrap_or_default())
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

    /// The binding of the Durable Object class in which sandboxes of this id are; `default` where their kind has none of its own.
    pub fn binding<'a>(&'a self, id: &SandboxId, default: &'a str) -> &'a str {
        self.of(id).and_then(|kind| kind.binding.as_deref()).unwrap_or(default)
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
    fn nonsense_is_named() {
        for text in ["", "7", "[]", r#"{"sbx":7}"#, r#"{"sbx":{"instance":"huge"}}"#] {
            assert!(Kinds::parse(text).unwrap_err().message.contains("CABANA_KINDS"), "{text}");
        }
    }
}
