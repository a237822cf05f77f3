//! What the Cloudflare account has, as wrangler tells it.

use super::configuration::databases;
use super::{Finding, Verdict};
use crate::setup::Node;
use crate::shell;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// Secrets of which one lets somebody in.
const ADMITTING: [&str; 4] = ["CABANA_API_KEY", "CABANA_JWT_SECRET", "CABANA_JWT_JWKS", "CABANA_JWT_JWKS_URL"];

/// What wrangler writes where every migration has been applied.
const MIGRATED: &str = "No migrations to apply";

/// The account that wrangler's credentials are for.
pub(super) struct Account<'a> {
    node: &'a Node,
    root: &'a Path,
    logs: &'a Path,
    configuration: &'a Value,
}

/// What a run of wrangler came to.
struct Said {
    succeeded: bool,
    output: String,
    errors: String,
}

impl<'a> Account<'a> {
    pub(super) fn new(node: &'a Node, root: &'a Path, logs: &'a Path, configuration: &'a Value) -> Self {
        Self { node, root, logs, configuration }
    }

    /// Everything that credentials let us see. Without credentials, one finding that says so.
    pub(super) fn examine(&self) -> Vec<Finding> {
        let who = self.wrangler(&["whoami", "--json"]);
        if !who.succeeded {
            let advice = "not looked at: there are no credentials. `npx wrangler login`, or set CLOUDFLARE_API_TOKEN";
            return vec![Finding::new("account", Verdict::Unknown(advice.to_owned()))];
        }
        let mut findings = vec![Finding::new("account", Verdict::Good(account(&who.output)))];
        let databases = databases(self.configuration);
        if !databases.is_empty() {
            let listed = self.wrangler(&["d1", "list", "--json"]);
            for (binding, name) in databases {
                let database = database(&listed, name);
                let exists = matches!(database, Verdict::Good(_));
                findings.push(Finding::new("database", database));
                if exists {
                    let listed = self.wrangler(&["d1", "migrations", "list", binding, "--remote"]);
                    findings.push(Finding::new("migrations", migrations(&listed, binding)));
                }
            }
        }
        findings.push(Finding::new("containers", containers(&self.wrangler(&["containers", "list", "--json"]))));
        let variables = &self.configuration["vars"];
        let admits = ADMITTING.into_iter().any(|name| !variables[name].is_null());
        findings.push(Finding::new("who may call", secrets(&self.wrangler(&["secret", "list", "--format", "json"]), admits)));
        findings
    }

    fn wrangler(&self, arguments: &[&str]) -> Said {
        let mut command: Command = self.node.command("wrangler");
        command.arg("--config").arg(self.root.join("wrangler.jsonc")).args(arguments).current_dir(self.root);
        command.env("CI", "1").env("WRANGLER_SEND_METRICS", "false").env("WRANGLER_HIDE_BANNER", "true");
        command.env("WRANGLER_LOG_PATH", self.logs).stdin(Stdio::null());
        match shell::output(&mut command) {
            Ok(output) => Said {
                succeeded: output.status.success(),
                output: String::from_utf8_lossy(&output.stdout).into_owned(),
                errors: String::from_utf8_lossy(&output.stderr).into_owned(),
            },
            Err(error) => Said { succeeded: false, output: String::new(), errors: format!("{error:#}") },
        }
    }
}

impl Said {
    /// The JSON that it wrote; messages may stand before it.
    fn json(&self) -> Option<Value> {
        let mut starts = self.output.match_indices(['[', '{']).filter(|_| self.succeeded);
        starts.find_map(|(start, _)| serde_json::from_str(self.output[start..].trim()).ok())
    }

    /// What could not be found out, and why.
    fn unknown(&self) -> Verdict {
        let text = if self.errors.trim().is_empty() { &self.output } else { &self.errors };
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("wrangler said nothing");
        Verdict::Unknown(format!("could not be looked at: {line}"))
    }
}

fn account(output: &str) -> String {
    let said = Said { succeeded: true, output: output.to_owned(), errors: String::new() };
    let names = said.json().and_then(|json| {
        let accounts = json["accounts"].as_array()?;
        Some(accounts.iter().filter_map(|account| account["name"].as_str()).collect::<Vec<_>>().join(", "))
    });
    names.filter(|names| !names.is_empty()).unwrap_or_else(|| "wrangler has credentials".to_owned())
}

fn database(said: &Said, name: &str) -> Verdict {
    match said.json().and_then(|json| json.as_array().cloned()) {
        Some(databases) if databases.iter().any(|database| database["name"] == name) => Verdict::Good(name.to_owned()),
        Some(_) => Verdict::Missing(format!("there is no {name}: `npx wrangler d1 create {name}`")),
        None => said.unknown(),
    }
}

fn migrations(said: &Said, binding: &str) -> Verdict {
    if !said.succeeded {
        return said.unknown();
    }
    if said.output.contains(MIGRATED) {
        return Verdict::Good("all are applied".to_owned());
    }
    Verdict::Missing(format!("some are not applied: `npx wrangler d1 migrations apply {binding} --remote`"))
}

fn containers(said: &Said) -> Verdict {
    match said.json() {
        Some(_) => Verdict::Good("the account may run them".to_owned()),
        None if said.errors.to_lowercase().contains("unauthorized") || said.output.to_lowercase().contains("unauthorized") => {
            Verdict::Missing("the account or the token may not run containers: they need a paid Workers plan".to_owned())
        }
        None => said.unknown(),
    }
}

/// `admits`: whether the variables of wrangler.jsonc let somebody in already.
fn secrets(said: &Said, admits: bool) -> Verdict {
    let text = format!("{}{}", said.output, said.errors);
    if !said.succeeded && (text.contains("not found") || text.contains("does not exist")) {
        return Verdict::Missing(
            "the Worker is not deployed yet: `npx wrangler deploy`, then `npx wrangler secret put CABANA_API_KEY`".to_owned(),
        );
    }
    match said.json().and_then(|json| json.as_array().cloned()) {
        Some(secrets) if admits || secrets.iter().any(|secret| ADMITTING.iter().any(|name| secret["name"] == *name)) => {
            Verdict::Good("the gateway has a key to compare with".to_owned())
        }
        Some(_) => Verdict::Missing("nobody: `npx wrangler secret put CABANA_API_KEY`, with `openssl rand -hex 32`".to_owned()),
        None => said.unknown(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Said, account, containers, database, migrations, secrets};
    use crate::doctor::Verdict;

    fn said(output: &str) -> Said {
        Said { succeeded: true, output: output.to_owned(), errors: String::new() }
    }

    fn failed(errors: &str) -> Said {
        Said { succeeded: false, output: String::new(), errors: errors.to_owned() }
    }

    /// The mark of a verdict, and whether its text says this.
    fn judged(verdict: &Verdict, text: &str) -> (char, bool) {
        let (mark, said) = match verdict {
            Verdict::Good(said) => ('+', said),
            Verdict::Missing(said) => ('!', said),
            Verdict::Notice(said) => ('-', said),
            Verdict::Unknown(said) => ('?', said),
        };
        (mark, said.contains(text))
    }

    #[test]
    fn what_an_account_lacks_is_named_with_the_command_that_mends_it() {
        let offline = || failed("\n  A request to the API failed.\n");
        for (verdict, mark, text) in [
            (database(&said(r#"[{"uuid":"1","name":"cabana-directory"}]"#), "cabana-directory"), '+', "cabana-directory"),
            (database(&said("[]"), "cabana-directory"), '!', "d1 create cabana-directory"),
            (database(&offline(), "cabana-directory"), '?', "A request to the API failed."),
            (migrations(&said("Resource location: remote\n\n✅ No migrations to apply!\n"), "DIRECTORY"), '+', ""),
            (
                migrations(&said("Migrations to be applied:\n│ 0004_key_parents.sql │\n"), "DIRECTORY_2"),
                '!',
                "migrations apply DIRECTORY_2 --remote",
            ),
            (migrations(&offline(), "DIRECTORY"), '?', "A request"),
            (containers(&said("[]")), '+', ""),
            (containers(&failed("Unauthorized")), '!', "paid"),
            (containers(&offline()), '?', "A request"),
            (secrets(&said(r#"[{"name":"CABANA_API_KEY","type":"secret_text"}]"#), false), '+', ""),
            (secrets(&said("[]"), true), '+', ""),
            (secrets(&said(r#"[{"name":"OTHER","type":"secret_text"}]"#), false), '!', "secret put CABANA_API_KEY"),
            (secrets(&failed("Worker \"cabana\" not found."), false), '!', "wrangler deploy"),
            (secrets(&offline(), false), '?', "A request"),
        ] {
            assert_eq!(judged(&verdict, text), (mark, true), "{verdict:?}");
        }
    }

    #[test]
    fn messages_before_the_json_are_passed_over() {
        let with_message = "▲ [WARNING] something\n\n[{\"name\":\"a\"}]\n";
        assert_eq!(judged(&database(&said(with_message), "a"), "a"), ('+', true));
        assert_eq!(account(r#"{"loggedIn":true,"accounts":[{"name":"Ours","id":"1"}]}"#), "Ours");
        assert_eq!(account("?"), "wrangler has credentials");
    }
}
