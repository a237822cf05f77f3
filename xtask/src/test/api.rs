//! The API's description: judged by a validator, and the running service fuzzed by it.

use crate::artifacts;
use crate::dev::client::Client;
use crate::dev::directory::write_private;
use crate::dev::stack::Stack;
use crate::progress::Step;
use crate::setup::PythonTools;
use crate::shell;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The description, made from the types by a test of the protocol crate.
pub(super) const DESCRIPTION: &str = "crates/protocol/openapi.json";

/// Where the module is that knows errors whose answer had begun before.
const HOOKS: &str = "tests/openapi";

/// How many requests are made up for each operation, at most.
const EXAMPLES: &str = "20";

/// The tenant whose sandboxes and keys are fuzzed: cases that run meanwhile see nothing of it.
const TENANT: &str = "api-fuzz";

/// Longest silence within one answer: some operations wait for as long as they are told to.
const ANSWER_SECONDS: &str = "20";

/// Longest time for all of it, several times what it takes beside the cases: an answer that goes on for ever would hold up everything else.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// What must hold of every answer, whatever was asked. That nothing is a 500 is the first of them.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// What is left out: a WebSocket is no answer of HTTP's, MCP has the errors of JSON-RPC, and without its sandbox the rest would be
/// `not_found`.
const EXCLUDED: [&str; 4] = ["connect", "mcp", "sandbox.mcp", "sandbox.delete"];

/// What may revoke the very key that is in use, since it is listed: tested last, with a key of its own.
const KEY_CHANGES: [&str; 2] = ["key.delete", "key.update"];

/// Has a validator that is not ours read the description.
pub(super) fn validate(tools: &PythonTools, root: &Path, step: &Step) -> Result<()> {
    let mut validate = tools.command("openapi-spec-validator");
    shell::run_logged(validate.arg(root.join(DESCRIPTION)), &artifacts::log(root, "openapi"), step, None)
}

/// Sends the service whatever the description allows, and what it does not, at a sandbox and a tenant of its own.
pub(super) fn fuzz(tools: &PythonTools, root: &Path, running: &Stack, step: &Step) -> Result<()> {
    let operator = Client::new(running.url(), running.api_key());
    let key = tenant_key(&operator, root, TENANT, &[])?;
    let client = Client::new(running.url(), &key);
    let sandbox = client.create()?;
    let seed = seed();
    step.announce(&format!("seed {seed}"));
    let excluded: Vec<&str> = EXCLUDED.iter().chain(&KEY_CHANGES).flat_map(|name| ["--exclude-operation-id", name]).collect();
    let outcome = run(tools, root, running, &configure(running, &key, &sandbox)?, &seed, &excluded, step);
    let destroyed = client.destroy(&sandbox);
    // Its verdict comes first: what it did to the sandbox may be why that cannot be destroyed.
    outcome.with_context(|| format!("seed {seed}"))?;
    destroyed?;
    let configuration = configure(running, &tenant_key(&operator, root, TENANT, &[])?, &sandbox)?;
    let included = KEY_CHANGES.map(|name| ["--include-operation-id", name]).concat();
    run(tools, root, running, &configuration, &seed, &included, step).with_context(|| format!("seed {seed}"))
}

fn run(
    tools: &PythonTools,
    root: &Path,
    running: &Stack,
    configuration: &Path,
    seed: &str,
    selection: &[&str],
    step: &Step,
) -> Result<()> {
    let mut fuzz = tools.command("schemathesis");
    fuzz.current_dir(running.directory()).arg("--config-file").arg(configuration);
    fuzz.env("OPENAPI", root.join(DESCRIPTION)).env("PYTHONPATH", root.join(HOOKS)).env("SCHEMATHESIS_HOOKS", "late_failures");
    fuzz.args(["run", "--url", running.url(), "--checks", CHECKS, "--phases", "coverage,fuzzing"]);
    fuzz.args(["--max-examples", EXAMPLES, "--seed", seed, "--request-timeout", ANSWER_SECONDS]);
    fuzz.args(["--no-shrink", "--warnings", "off", "--suppress-health-check", "all"]).args(selection);
    // Its own output comes a phase at a time.
    let events = running.directory().join("schemathesis.ndjson");
    fuzz.arg("--report-ndjson-path").arg(&events).arg(root.join(DESCRIPTION));
    let tested = Tested::new(events);
    let log = artifacts::log(root, "schemathesis");
    shell::run_measured(&mut fuzz, &log, step, Some(LIMIT), |_| tested.status())
}

/// Counts the operations that schemathesis has tested, by the events that it writes.
struct Tested {
    events: PathBuf,
    /// How much of the file has been read, and the count.
    read: Cell<(u64, usize)>,
}

impl Tested {
    /// How a line of an operation that has been tested begins.
    const EVENT: &str = "{\"ScenarioFinished\"";

    fn new(events: PathBuf) -> Self {
        Self { events, read: Cell::default() }
    }

    fn status(&self) -> String {
        let (mut offset, mut count) = self.read.get();
        let mut new = String::new();
        let read = |text: &mut String| -> io::Result<()> {
            let mut file = File::open(&self.events)?;
            file.seek(SeekFrom::Start(offset))?;
            file.read_to_string(text).map(drop)
        };
        // A file that is not there yet has no events; a character cut in two is read whole the next time.
        if read(&mut new).is_ok()
            && let Some(end) = new.rfind('\n')
        {
            offset += end as u64 + 1;
            count += new[..end].lines().filter(|line| line.starts_with(Self::EVENT)).count();
            self.read.set((offset, count));
        }
        format!("{count} operations tested, each in two phases")
    }
}

/// Another one each day: other requests are made up, and all runs of a day are alike.
fn seed() -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / (24 * 3600);
    days.to_string()
}

/// A key of a tenant, good for every family of the description, and for `more`.
pub(super) fn tenant_key(operator: &Client, root: &Path, tenant: &str, more: &[&str]) -> Result<String> {
    let text = fs::read_to_string(root.join(DESCRIPTION)).context("read the API's description")?;
    let description = serde_json::from_str(&text).context("parse the API's description")?;
    let operations: Vec<_> = families(&description).into_iter().chain(more.iter().copied()).collect();
    let request = json!({ "name": tenant, "tenant": tenant, "scopes": { "operations": operations } });
    let made = operator.post("/v1/keys", &request).context("make a key for the tenant")?;
    made["key"].as_str().map(str::to_owned).context("the new key is not in the answer")
}

/// The families of all operations, `file` for `file.read`.
fn families(description: &Value) -> BTreeSet<&str> {
    let paths = description["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(_, path)| path.as_object().into_iter().flatten());
    let names = operations.filter_map(|(_, operation)| operation["operationId"].as_str());
    names.filter_map(|name| name.split_once('.')).map(|(family, _)| family).collect()
}

/// What some operations need to be told: the answer of one that follows never ends, behind a port that nobody listens on there is
/// nothing to answer, and no clone is done in the one millisecond that it may be given.
const OPERATIONS: &str = r#"
[[operations]]
include-operation-id = "sandbox.events"
parameters = { follow = false }

[[operations]]
include-operation-id = "port.proxy"
checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]

[[operations]]
include-operation-id = "git.clone"
checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "504"]
"#;

/// Says who is calling and which sandbox is meant: in a file, since the arguments of a process can be read by everyone.
fn configure(running: &Stack, key: &str, sandbox: &str) -> Result<PathBuf> {
    let path = running.directory().join("schemathesis.toml");
    let general = format!("headers = {{ Authorization = \"Bearer {key}\" }}\n\n[parameters]\nid = \"{sandbox}\"\n");
    write_private(&path, &(general + OPERATIONS)).context("write the configuration of schemathesis")?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::{Tested, families};
    use serde_json::json;
    use std::fs;

    #[test]
    fn the_key_is_for_every_family_of_the_description() {
        let description = json!({ "paths": {
            "/a": { "get": { "operationId": "file.read" }, "put": { "operationId": "file.write" }, "parameters": [] },
            "/b": { "post": { "operationId": "key.create" } },
            "/c": { "get": { "operationId": "connect" } },
        } });
        assert_eq!(families(&description).into_iter().collect::<Vec<_>>(), ["file", "key"]);
    }

    #[test]
    fn tested_operations_are_counted_as_their_events_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let events = directory.path().join("events");
        let tested = Tested::new(events.clone());
        for (text, count) in [
            ("", 0),
            ("{\"Initialize\":{}}\n{\"ScenarioFinished\":1}\n{\"Scena", 1),
            ("{\"Initialize\":{}}\n{\"ScenarioFinished\":1}\n{\"ScenarioFinished\":2}\n", 2),
        ] {
            fs::write(&events, text).unwrap();
            assert!(tested.status().starts_with(&format!("{count} operations")), "{text}");
        }
    }
}
