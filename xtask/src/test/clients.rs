//! The clients: their types are made from the API's description, checked strictly, and their cases run against the whole service. And the
//! clients of others that speak MCP, the bridge and SSH.

use super::report::Report;
use crate::artifacts;
use crate::dev::stack::Stack;
use crate::progress::Step;
use crate::setup::{self, Node, PythonTools, Tools};
use crate::shell;
use anyhow::Result;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// Longest time for one step, several times what it takes: a case that waits for ever would hold up everything else.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Builds and tests the clients, all of them even when one fails.
pub(super) fn run(root: &Path, report: &Report, tools: &Tools, command: &Path, running: &Stack) {
    // Both wait for the service most of the time.
    thread::scope(|scope| {
        scope.spawn(|| typescript(root, report, &tools.node, running));
        if let Some(tools) = report.need("tools for Python", setup::provide_client_tools) {
            python(root, report, &tools, running);
        }
        mcp(root, report, &tools.node, running);
        bridge(root, report, &tools.node, running);
        ssh(root, report, command, running);
    });
}

/// The protocol's own conformance suite, and an agent on its Python client.
fn mcp(root: &Path, report: &Report, node: &Node, running: &Stack) {
    let directory = root.join("tests/mcp");
    report.check("mcp: conformance", |step| {
        let mut suite = node.command("node");
        suite.arg(directory.join("conformance.mjs")).arg(node.program("conformance"));
        logged(root, "mcp-conformance", told(&mut suite, running), step)
    });
    if let Some(tools) = report.need("client of MCP", setup::provide_mcp_tools) {
        report.check("mcp: agent", |step| {
            let mut agent = tools.command("python");
            logged(root, "mcp-agent", told(agent.arg(directory.join("agent.py")), running), step)
        });
    }
}

/// The sandbox clients of the OpenAI Agents SDKs.
fn bridge(root: &Path, report: &Report, node: &Node, running: &Stack) {
    let Some((python, npm)) = report.need("bridge's clients", || setup::provide_bridge_tools(node)) else { return };
    let directory = root.join("tests/bridge");
    report.check("bridge: Python", |step| {
        let mut client = python.command("python");
        logged(root, "bridge-python", told(client.arg(directory.join("openai_agents.py")), running), step)
    });
    report.check("bridge: JavaScript", |step| {
        let mut client = npm.node();
        client.arg(directory.join("openai_agents.mjs")).arg(npm.modules());
        logged(root, "bridge-javascript", told(&mut client, running), step)
    });
}

/// The client of SSH that programs use.
fn ssh(root: &Path, report: &Report, command: &Path, running: &Stack) {
    let Some(python) = report.need("client of SSH", setup::provide_ssh_tools) else { return };
    report.check("ssh: paramiko", |step| {
        let mut client = python.command("python");
        client.arg(root.join("tests/ssh/paramiko_client.py")).env("CABANA_TEST_CLI", command);
        logged(root, "ssh-paramiko", told(&mut client, running), step)
    });
}

fn typescript(root: &Path, report: &Report, node: &Node, running: &Stack) {
    let program = |name: &str| {
        let mut command = node.command(name);
        command.current_dir(root.join("clients/typescript"));
        command
    };
    let built = report.check("typescript: types", |step| {
        logged(root, "typescript-generate", program("node").arg("scripts/generate.js"), step)?;
        logged(root, "typescript-tsc", &mut program("tsc"), step)
    });
    if built {
        report.check("typescript: cases", |step| {
            let mut cases = program("node");
            cases.args(["--test", "--test-reporter=spec", "dist/tests/*.test.js"]);
            logged(root, "typescript-cases", told(&mut cases, running), step)
        });
    }
}

fn python(root: &Path, report: &Report, tools: &PythonTools, running: &Stack) {
    let program = |name: &str| {
        let mut command = tools.command(name);
        command.current_dir(root.join("clients/python")).env("PYTHONPATH", "src");
        command
    };
    let made = report.check("python: types", |step| {
        logged(root, "python-generate", program("python").arg("scripts/generate.py"), step)?;
        logged(root, "python-mypy", &mut program("mypy"), step)
    });
    if made {
        report.check("python: cases", |step| {
            let mut cases = program("python");
            cases.args(["-m", "pytest", "-v"]);
            logged(root, "python-cases", told(&mut cases, running), step)
        });
    }
}

/// Tells the cases which service is meant.
fn told<'a>(command: &'a mut Command, running: &Stack) -> &'a mut Command {
    command.env("CABANA_TEST_URL", running.url()).env("CABANA_TEST_API_KEY", running.api_key())
}

fn logged(root: &Path, name: &str, command: &mut Command, step: &Step) -> Result<()> {
    shell::run_logged(command, &artifacts::log(root, name), step, Some(LIMIT))
}
