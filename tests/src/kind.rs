//! Kinds of sandboxes whose agent is configured for cases: the Dockerfiles of tests/sandboxes.

use crate::{Caller, require};

/// A kind of sandbox of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Small limits.
    Tight,
    /// Commands run as `nobody`.
    Nobody,
    /// Its image changes while it is used.
    Renewed,
}

impl Kind {
    /// Its name, which is that of its Dockerfile.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tight => "tight",
            Self::Nobody => "nobody",
            Self::Renewed => "renewed",
        }
    }

    /// What its image is made of.
    pub fn dockerfile(self) -> &'static str {
        match self {
            Self::Tight => include_str!("../sandboxes/tight.Dockerfile"),
            Self::Nobody => include_str!("../sandboxes/nobody.Dockerfile"),
            Self::Renewed => include_str!("../sandboxes/renewed.Dockerfile"),
        }
    }

    /// The variables of its agent.
    pub(crate) fn variables(self) -> Vec<(&'static str, &'static str)> {
        let words = self.dockerfile().split_whitespace().filter(|word| word.starts_with("CABANA_"));
        words.filter_map(|word| word.split_once('=')).collect()
    }

    /// A variable of its agent that is a number.
    pub fn limit(self, variable: &str) -> u64 {
        let variables = self.variables();
        let (_, value) = variables.iter().find(|(name, _)| *name == variable).expect("a variable of this kind");
        value.parse().unwrap()
    }

    /// Whether the service under test has it: `cargo xtask dev --test-kinds` has, and a deployment has not.
    pub async fn is_served(self) -> bool {
        let kinds = Caller::operator().get("/v1/kinds").await.json();
        let found = kinds["items"].as_array().unwrap().iter().any(|kind| kind["name"] == self.name());
        require("engine", found.then_some(()), "the service does not have the kinds of tests/sandboxes").is_some()
    }
}
