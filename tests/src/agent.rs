//! The agent as a program of its own, for the cases that need nothing else.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

/// A running agent over an empty root. Ended when dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
    /// Where it serves.
    pub(crate) url: String,
    /// Its root.
    pub(crate) root: TempDir,
    /// What it keeps for the next one.
    _state: TempDir,
}

impl Agent {
    /// The secret of every agent here.
    pub(crate) const SECRET: &'static str = "a-secret-of-the-tests";

    /// One with these variables on top, started by a program that becomes it.
    pub(crate) fn start(starter: &[&str], variables: &[(&str, &str)]) -> Self {
        let (root, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let program = program();
        let mut words = starter.iter().map(OsStr::new).chain([program.as_os_str()]);
        let mut child = Command::new(words.next().expect("the agent at least"))
            .args(words)
            .env("CABANA_AGENT_SECRET", Self::SECRET)
            .env("CABANA_AGENT_LISTEN", "127.0.0.1:0")
            .env("CABANA_ROOTS", root.path())
            .env("CABANA_STATE", state.path())
            .envs(kernels().map(|kernels| ("JUPYTER_PATH", kernels.join("share/jupyter"))))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the agent starts");
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = log.find_map(|line| Some(line.ok()?.split_once("listening on ")?.1.trim().to_owned()));
        // Whatever it logs later must not fill the pipe.
        std::thread::spawn(move || log.for_each(drop));
        Self { child, url: format!("http://{}", address.expect("the agent says where it listens")), root, _state: state }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // SIGTERM, so that it ends what it started; it promises to be gone in 5 s.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// The kernels of Jupyter that are installed for the cases. `cargo xtask test` says where.
fn kernels() -> Option<PathBuf> {
    std::env::var_os("CABANA_TEST_KERNELS").map(PathBuf::from)
}

/// The program that is tested: the one that the environment names, or the debug build beside this test.
fn program() -> PathBuf {
    let beside = || std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("cabana-agent");
    let program = std::env::var_os("CABANA_AGENT_BIN").map_or_else(beside, PathBuf::from);
    assert!(program.exists(), "no agent at {}: cargo build -p cabana-agent, or set CABANA_AGENT_BIN", program.display());
    program
}
