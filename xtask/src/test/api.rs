//! The API's description: judged by a validator, and the running service fuzzed by it.

use crate::dev::client::Client;
use crate::dev::stack::Stack;
use crate::setup::ApiTools;
use crate::shell;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The description, made from the types by a test of the protocol crate.
const DESCRIPTION: &str = "crates/protocol/openapi.json";

/// How many requests are made up for each operation, at most.
const EXAMPLES: &str = "20";

/// Longest silence within one answer: some operations wait for as long as they are told to.
const ANSWER_SECONDS: &str = "20";

/// Longest time for all of it, several times what it takes: an answer that goes on for ever would hold up everything else.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// What must hold of every answer, whatever was asked. That nothing is a 500 is the first of them.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// What is left out: a WebSocket is no answer of HTTP's, and without its sandbox the rest would be `not_found`.
const EXCLUDED: [&str; 2] = ["connect", "sandbox.delete"];

/// Has a validator that is not ours read the description.
pub(super) fn validate(tools: &ApiTools, root: &Path) -> Result<()> {
    shell::stream(tools.command("openapi-spec-validator").arg(root.join(DESCRIPTION)))
}

/// Sends the service whatever the description allows, and what it does not, at a sandbox of its own.
pub(super) fn fuzz(tools: &ApiTools, root: &Path, running: &Stack) -> Result<()> {
    let client = Client::new(running.url(), running.api_key());
    let sandbox = client.create()?;
    let configuration = configure(running, &sandbox)?;
    let mut fuzz = tools.command("schemathesis");
    fuzz.current_dir(running.directory()).arg("--config-file").arg(configuration);
    fuzz.args(["run", "--url", running.url(), "--checks", CHECKS, "--phases", "coverage,fuzzing"]);
    fuzz.args(["--max-examples", EXAMPLES, "--generation-deterministic", "--request-timeout", ANSWER_SECONDS]);
    fuzz.args(["--no-shrink", "--warnings", "off", "--suppress-health-check", "all"]);
    for operation in EXCLUDED {
        fuzz.args(["--exclude-operation-id", operation]);
    }
    let outcome = shell::stream_within(fuzz.arg(root.join(DESCRIPTION)), LIMIT);
    client.destroy(&sandbox)?;
    outcome
}

/// What some operations need to be told: the answer of one that follows never ends, and behind a port that nobody listens on there is
/// nothing to answer.
const OPERATIONS: &str = r#"
[[operations]]
include-operation-id = "sandbox.events"
parameters = { follow = false }

[[operations]]
include-operation-id = "port.proxy"
checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
"#;

/// Says who is calling and which sandbox is meant: in a file, since the arguments of a process can be read by everyone.
fn configure(running: &Stack, sandbox: &str) -> Result<PathBuf> {
    let path = running.directory().join("schemathesis.toml");
    let authorization = format!("Bearer {}", running.api_key());
    let general = format!("headers = {{ Authorization = \"{authorization}\" }}\n\n[parameters]\nid = \"{sandbox}\"\n");
    fs::write(&path, general + OPERATIONS).context("write the configuration of schemathesis")?;
    Ok(path)
}
