//! The `cabana` command under test, as a program with pipes or on a terminal.

use std::{
    fs::File,
    io::{Read, Write},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use tempfile::TempDir;

use crate::{PATIENCE, caller};

/// The command with settings of its own: the settings of the user who runs the cases do not count.
#[derive(Debug)]
pub struct CommandLine {
    home: TempDir,
    variables: Vec<(&'static str, String)>,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

impl Ran {
    /// Its standard output as text, of a run that must have succeeded.
    pub fn text(&self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    /// Its standard output as JSON, of a run that must have succeeded.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text()).unwrap()
    }
}

impl CommandLine {
    /// A command that is told of the service under test by variables.
    pub fn of_service() -> Self {
        let (url, key) = caller::service();
        Self::at(&url, &key)
    }

    /// A command that is told of a service by variables.
    pub fn at(url: &str, key: &str) -> Self {
        let variables = vec![("CABANA_URL", url.to_owned()), ("CABANA_API_KEY", key.to_owned())];
        Self { home: tempfile::tempdir().unwrap(), variables }
    }

    /// A command that is told nothing.
    pub fn untold() -> Self {
        Self { home: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// Its home directory.
    pub fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    /// The program with these words.
    pub fn command(&self, words: &[&str]) -> Command {
        self.prepare(program(), words)
    }

    /// Another program, with the same settings.
    pub fn program(&self, program: &str, words: &[&str]) -> Command {
        self.prepare(program.into(), words)
    }

    /// Runs another program with these words and this stdin to its end.
    pub async fn run_program(&self, program: &str, words: &[&str], stdin: Vec<u8>) -> Ran {
        run_to_end(self.program(program, words), stdin, format!("{program} {words:?}")).await
    }

    fn prepare(&self, program: PathBuf, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        for name in ["CABANA_URL", "CABANA_API_KEY", "CABANA_PROFILE", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env_remove(name);
        }
        command.args(words).env("HOME", self.home.path()).envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command.current_dir(self.home.path());
        command
    }

    /// Runs it with these words to its end.
    pub async fn run(&self, words: &[&str]) -> Ran {
        self.run_with(words, Vec::new()).await
    }

    /// The same with this on its stdin.
    pub async fn run_with(&self, words: &[&str], stdin: Vec<u8>) -> Ran {
        run_to_end(self.command(words), stdin, format!("{words:?}")).await
    }

    /// Starts it with these words on a terminal of this size.
    pub fn on_terminal(&self, words: &[&str], cols: u16, rows: u16) -> Pty {
        self.program_on_terminal(program().to_str().unwrap(), words, cols, rows)
    }

    /// Starts another program with these words on a terminal of this size.
    pub fn program_on_terminal(&self, program: &str, words: &[&str], cols: u16, rows: u16) -> Pty {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        resize(&master, cols, rows);
        // It becomes the program, which then controls the terminal: Ctrl-C and changes of the size reach it as signals.
        let words: Vec<&str> = ["--ctty", program].into_iter().chain(words.iter().copied()).map(leak).collect();
        let mut command = self.prepare("setsid".into(), &words);
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let child = command.env("TERM", "xterm-256color").spawn().unwrap();
        let mut reader = File::from(master.try_clone().unwrap());
        let (pieces, screen) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal whose programs have all ended answers with an error.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if pieces.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Pty { child, master: master.into(), screen, shown: Vec::new() }
    }
}

async fn run_to_end(mut command: Command, stdin: Vec<u8>, shown: String) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // One that reads nothing, or ends before it has read everything, breaks the pipe.
        let feeding = thread::spawn(move || drop(input.write_all(&stdin)));
        let output = child.wait_with_output().unwrap();
        feeding.join().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Ran { code: output.status.code(), stdout: output.stdout, stderr }
    });
    tokio::time::timeout(PATIENCE, running).await.unwrap_or_else(|_| panic!("{shown} does not end")).unwrap()
}

/// Words of a case live as long as the program.
fn leak(word: &str) -> &'static str {
    Box::leak(word.to_owned().into_boxed_str())
}

/// The command on a terminal. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Pty {
    child: Child,
    master: File,
    screen: mpsc::Receiver<Vec<u8>>,
    /// What has appeared and was not waited for yet.
    shown: Vec<u8>,
}

impl Pty {
    /// Types these keys.
    pub fn type_text(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Gives the terminal another size.
    pub fn resize(&self, cols: u16, rows: u16) {
        resize(&self.master, cols, rows);
    }

    /// Waits until this text appears, and gives what has appeared up to its end.
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE / 3;
        loop {
            if let Some(at) = self.shown.windows(text.len()).position(|window| window == text.as_bytes()) {
                let rest = self.shown.split_off(at + text.len());
                return String::from_utf8_lossy(&std::mem::replace(&mut self.shown, rest)).into_owned();
            }
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(piece) => self.shown.extend(piece),
                Err(_) => panic!("{text:?} has not appeared: {:?}", String::from_utf8_lossy(&self.shown)),
            }
        }
    }

    /// Waits for its end, and gives what else has appeared, and its exit code.
    pub fn finish(mut self) -> (String, Option<i32>) {
        let status = self.wait();
        while let Ok(piece) = self.screen.recv_timeout(std::time::Duration::from_millis(200)) {
            self.shown.extend(piece);
        }
        (String::from_utf8_lossy(&self.shown).into_owned(), status.code())
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE / 3;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            // What nobody reads would hold it up.
            if let Ok(piece) = self.screen.recv_timeout(std::time::Duration::from_millis(20)) {
                self.shown.extend(piece);
            }
            assert!(Instant::now() < deadline, "it does not end: {:?}", String::from_utf8_lossy(&self.shown));
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: &impl std::os::fd::AsFd, cols: u16, rows: u16) {
    tcsetwinsize(terminal, Winsize { ws_col: cols, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

/// The program that is tested: the one that the environment names, or the debug build beside this test.
fn program() -> PathBuf {
    let beside = || std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("cabana");
    let program = std::env::var_os("CABANA_TEST_CLI").map_or_else(beside, PathBuf::from);
    assert!(program.exists(), "no command at {}: cargo build -p cabana-cli, or set CABANA_TEST_CLI", program.display());
    program
}
