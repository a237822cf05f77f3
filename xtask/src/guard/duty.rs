//! What a guard does at the end of a run, as it travels over the pipe: one line each.

use super::group::Group;
use anyhow::{Context, Result};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::{Command, Stdio};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Duty {
    /// End a process group, named by its leader.
    EndGroup(u32),
    /// Run a program with one argument, when every process of the run has ended.
    Run(PathBuf, String),
}

impl Duty {
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
            Group::of(leader).end();
        }
    }

    pub(super) fn run(&self) {
        if let Self::Run(program, argument) = self {
            // The run ends whatever comes of it, and the program itself says what went wrong.
            let _ = Command::new(program).arg(argument).stdin(Stdio::null()).status();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Duty;

    #[test]
    fn duties_survive_the_pipe_whatever_their_paths_hold() {
        for duty in [Duty::EndGroup(7), Duty::Run("/a b\n\"c".into(), "sweep".to_owned())] {
            let line = duty.encode().unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(Duty::decode(&line).unwrap(), duty);
        }
        assert!(Duty::decode("7").is_err());
    }

    #[test]
    fn a_program_runs_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let made = directory.path().join("made");
        Duty::Run("mkdir".into(), made.display().to_string()).run();
        assert!(made.is_dir());
    }
}
