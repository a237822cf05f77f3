//! The steps that a guard carries out at the end of a run. Each is one line on the guard's pipe.

use super::group::ProcessGroup;
use anyhow::{Context, Result};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::{Command, Stdio};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CleanupStep {
    /// End a process group, named by its leader.
    EndGroup(u32),
    /// Run a program with one argument, when every process of the run has ended.
    Run(PathBuf, String),
}

impl CleanupStep {
    pub(super) fn encode(&self) -> Result<String> {
        serde_json::to_string(self).context("write to the guard")
    }

    pub(super) fn decode(line: &str) -> Result<Self> {
        serde_json::from_str(line).with_context(|| format!("the guard does not understand {line:?}"))
    }

    pub(super) fn end_group(&self) {
        if let Self::EndGroup(leader) = self
            && let Some(leader) = i32::try_from(*leader).ok().and_then(Pid::from_raw)
        {
            ProcessGroup::new(leader).end();
        }
    }

    pub(super) fn run(&self) {
        if let Self::Run(program, argument) = self {
            // The run ends in any case, and the program reports its own errors.
            let _ = Command::new(program).arg(argument).stdin(Stdio::null()).status();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CleanupStep;

    #[test]
    fn steps_survive_the_pipe_with_any_path() {
        for step in [CleanupStep::EndGroup(7), CleanupStep::Run("/a b\n\"c".into(), "sweep".to_owned())] {
            let line = step.encode().unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(CleanupStep::decode(&line).unwrap(), step);
        }
        assert!(CleanupStep::decode("7").is_err());
    }

    #[test]
    fn a_step_runs_its_program() {
        let directory = tempfile::tempdir().unwrap();
        let made = directory.path().join("made");
        CleanupStep::Run("mkdir".into(), made.display().to_string()).run();
        assert!(made.is_dir());
    }
}
