//! One build of everything that the tests run: the test programs of every package, the agent, the engine, the `cabana` command
//! and the issuer of tokens.
//!
//! One selection of packages is one set of features, so nothing is compiled twice.

use crate::artifacts::{self, Programs};
use crate::progress::Step;
use crate::shell;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package of the integration cases, and its test program.
const INTEGRATION: (&str, &str) = ("cabana-tests", "integration");

/// A program of libtest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TestProgram {
    pub(super) package: String,
    pub(super) target: String,
    pub(super) path: PathBuf,
    /// The package's directory, in which cargo runs it.
    pub(super) directory: PathBuf,
}

/// What came of the build.
pub(super) struct Built {
    /// The unit and library tests of every package.
    pub(super) unit: Vec<TestProgram>,
    /// The cases against the agent and the whole service.
    pub(super) integration: TestProgram,
    pub(super) programs: Programs,
    /// Makes an issuer of tokens.
    pub(super) issuer: PathBuf,
    /// The `cabana` command.
    pub(super) command: PathBuf,
}

/// A line of cargo's that tells of something built.
#[derive(Deserialize)]
struct Artifact {
    package_id: String,
    manifest_path: PathBuf,
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    /// Whether it has tests by its manifest. Cargo compiles it as a test all the same.
    test: bool,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds everything with debug assertions and overflow checks.
pub(super) fn build(root: &Path, step: &Step) -> Result<Built> {
    let messages = artifacts::log(root, "build.json");
    let mut build = Command::new(artifacts::cargo());
    build.args(["build", "--workspace", "--all-targets", "--message-format", "json-render-diagnostics"]).current_dir(root);
    build.stdout(shell::create_log(&messages)?);
    shell::run_redirected(&mut build, &artifacts::log(root, "build"), step)?;
    Built::read(&fs::read_to_string(&messages).with_context(|| format!("read {}", messages.display()))?)
}

impl Built {
    fn read(messages: &str) -> Result<Self> {
        let (mut tests, mut programs) = (Vec::new(), BTreeMap::new());
        for line in messages.lines() {
            // Other messages have other fields.
            let Ok(artifact) = serde_json::from_str::<Artifact>(line) else { continue };
            let Some(path) = artifact.executable else { continue };
            if artifact.profile.test && !artifact.target.test {
                continue;
            }
            if artifact.profile.test {
                let directory = artifact.manifest_path.parent().unwrap_or(Path::new("/")).to_owned();
                let package = package_name(&artifact.package_id).to_owned();
                tests.push(TestProgram { package, target: artifact.target.name, path, directory });
            } else {
                programs.insert(artifact.target.name, path);
            }
        }
        let is_integration = |test: &TestProgram| (test.package.as_str(), test.target.as_str()) == INTEGRATION;
        let integration = tests.iter().position(is_integration).context("cargo built no integration cases")?;
        let integration = tests.swap_remove(integration);
        tests.sort_by(|one, other| (&one.package, &one.target).cmp(&(&other.package, &other.target)));
        let mut program = |name: &str| programs.remove(name).with_context(|| format!("cargo built no program {name}"));
        let (issuer, command) = (program("cabana-test-issuer")?, program("cabana")?);
        let programs = Programs { agent: program("cabana-agent")?, engine: program("cabana-engine")? };
        Ok(Self { unit: tests, integration, programs, issuer, command })
    }
}

/// The name in `path+file:///w/container-agent#cabana-agent@0.1.0` or, where the directory is called the same, `…/cabana#0.1.0`.
fn package_name(id: &str) -> &str {
    let (path, fragment) = id.rsplit_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => path.rsplit('/').next().unwrap_or(path),
    }
}

#[cfg(test)]
mod tests {
    use super::{Built, TestProgram, package_name};
    use serde_json::{Value, json};

    fn artifact(package: &str, target: &str, test: bool, executable: Option<&str>) -> Value {
        json!({
            "reason": "compiler-artifact", "package_id": format!("path+file:///w/{package}#0.1.0"),
            "manifest_path": format!("/w/{package}/Cargo.toml"), "target": { "name": target, "kind": ["bin"], "test": target != "module" },
            "profile": { "test": test, "opt_level": "1" }, "executable": executable, "fresh": true,
        })
    }

    #[test]
    fn programs_and_tests_are_found_among_the_messages() {
        let messages = [
            json!({ "reason": "build-script-executed", "package_id": "x" }),
            artifact("cabana", "cabana", false, None),
            artifact("cabana", "cabana", true, Some("/w/t/cabana-1")),
            artifact("cabana-agent", "cabana-agent", false, Some("/w/t/cabana-agent")),
            artifact("cabana-cli", "cabana", false, Some("/w/t/cabana")),
            artifact("cabana-engine", "cabana-engine", false, Some("/w/t/cabana-engine")),
            artifact("cabana-module", "module", true, Some("/w/t/module-3")),
            artifact("cabana-tests", "cabana-test-issuer", false, Some("/w/t/issuer")),
            artifact("cabana-tests", "integration", true, Some("/w/t/integration-2")),
        ];
        let text: String = messages.iter().map(|message| format!("{message}\n")).collect();
        let built = Built::read(&text).unwrap();
        let program = |package: &str, target: &str, path: &str| TestProgram {
            package: package.to_owned(),
            target: target.to_owned(),
            path: path.into(),
            directory: format!("/w/{package}").into(),
        };
        assert_eq!(built.unit, [program("cabana", "cabana", "/w/t/cabana-1")]);
        assert_eq!(built.integration, program("cabana-tests", "integration", "/w/t/integration-2"));
        assert_eq!(built.programs.agent.to_str(), Some("/w/t/cabana-agent"));
        assert_eq!(built.command.to_str(), Some("/w/t/cabana"));
        assert!(Built::read("").is_err());
    }

    #[test]
    fn a_package_is_named_by_its_id() {
        assert_eq!(package_name("path+file:///w/container-agent#cabana-agent@0.1.0"), "cabana-agent");
        assert_eq!(package_name("path+file:///w/crates/cabana#0.1.0"), "cabana");
    }
}
