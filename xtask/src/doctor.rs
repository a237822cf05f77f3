//! `cargo xtask doctor`: whether a deployment has what it needs, in the configuration and, where credentials are there, in the account.
//!
//! It changes nothing. Each finding is a line: what was looked at, whether it will do, and the command that mends it.

mod account;
pub(crate) mod configuration;

use crate::progress::say;
use crate::{artifacts, paths, setup, sync};
use account::Account;
use anyhow::{Context, Result};
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::CstRootNode;
use serde_json::Value;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Look at the configuration only, and not at the account
    #[arg(long)]
    offline: bool,
}

/// What came of looking at one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What was looked at.
    subject: &'static str,
    verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is as it must be.
    Good(String),
    /// A deployment would fail, or not work. The text says what to do.
    Missing(String),
    /// It works, and something should be known. The text says what.
    Notice(String),
    /// It was not looked at. The text says why.
    Unknown(String),
}

impl Finding {
    fn new(subject: &'static str, verdict: Verdict) -> Self {
        Self { subject, verdict }
    }

    fn is_missing(&self) -> bool {
        matches!(self.verdict, Verdict::Missing(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, text) = match &self.verdict {
            Verdict::Good(text) => ("+", text),
            Verdict::Missing(text) => ("!", text),
            Verdict::Notice(text) => ("-", text),
            Verdict::Unknown(text) => ("?", text),
        };
        write!(formatter, " {mark} {:<18} {text}", self.subject)
    }
}

/// Prints what was found. Fails where something is missing.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let root = paths::repository()?;
    let configuration = read(&root)?;
    let mut findings = vec![kinds(&root)];
    findings.extend(configuration::examine(&configuration));
    findings.iter().for_each(|finding| say(&finding.to_string()));
    if !arguments.offline {
        let node = setup::provide_node()?;
        let logs = artifacts::target(&root).join("xtask/wrangler-logs");
        let account = Account::new(&node, &root, &logs, &configuration);
        for finding in account.examine() {
            say(&finding.to_string());
            findings.push(finding);
        }
    }
    let missing = findings.iter().filter(|finding| finding.is_missing()).count();
    if missing == 0 {
        say("nothing is missing, as far as could be looked at");
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("{missing} of {} are missing", findings.len()));
    Ok(ExitCode::FAILURE)
}

fn kinds(root: &Path) -> Finding {
    let verdict = match sync::check(root) {
        Ok(()) => Verdict::Good("wrangler.jsonc is in step with sandboxes/".to_owned()),
        Err(error) => Verdict::Missing(format!("{error:#}")),
    };
    Finding::new("kinds", verdict)
}

/// wrangler.jsonc without its comments.
pub(crate) fn read(root: &Path) -> Result<Value> {
    let file = root.join("wrangler.jsonc");
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    parse(&text)
}

pub(crate) fn parse(text: &str) -> Result<Value> {
    let tree = CstRootNode::parse(text, &ParseOptions::default()).context("wrangler.jsonc is no JSON with comments")?;
    tree.to_serde_value().context("wrangler.jsonc is empty")
}
