//! A bash of the test's own.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::Write,
    os::unix::{
        ffi::OsStringExt,
        process::{CommandExt, ExitStatusExt},
    },
    process::{Command, Stdio},
    thread,
};

use cabana_protocol::{Signal, exec::Exit};

use super::{Case, Outcome};

/// How a bash is started that stands in nobody's sandbox.
pub(super) struct Plain {
    shell: String,
    env: BTreeMap<OsString, OsString>,
}

impl Plain {
    /// This shell, with these variables, as `env -0` prints them.
    pub(super) fn new(shell: &str, env: &[u8]) -> Self {
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let variables = env.split(|byte| *byte == 0).filter_map(|variable| {
            let equals = variable.iter().position(|byte| *byte == b'=')?;
            Some((text(&variable[..equals]), text(&variable[equals + 1..])))
        });
        Self { shell: shell.to_owned(), env: variables.collect() }
    }

    pub(super) async fn run(&self, case: &Case) -> Outcome {
        let directory = tempfile::tempdir().unwrap();
        // As the agent starts it: with no signal ignored, whatever the tests were started with.
        let mut command = Command::new("env");
        command
            .arg("--default-signal")
            .arg(&self.shell)
            .args(["-c", case.script])
            .env_clear()
            .envs(&self.env)
            .current_dir(directory.path());
        // And a group of its own, so that `kill 0` reaches nobody else.
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if case.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let stdin = case.stdin;
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            let pipe = child.stdin.take();
            thread::scope(|scope| {
                // A script may end without reading all of it.
                scope.spawn(move || pipe.zip(stdin).map(|(mut pipe, bytes)| pipe.write_all(bytes)));
                child.wait_with_output().unwrap()
            })
        });
        let output = output.await.unwrap();
        let signalled = || Exit::Signalled { signal: Signal::from_number(output.status.signal().unwrap()).unwrap() };
        let exit = output.status.code().map_or_else(signalled, |code| Exit::Exited { code });
        Outcome { stdout: output.stdout, stderr: output.stderr, exit }
    }
}
