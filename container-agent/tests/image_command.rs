//! The image's own command beside the agent, as `docker run` would start the two.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// An agent and what it prints. Killed when dropped.
struct Agent {
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: BufReader<ChildStderr>,
    _root: TempDir,
}

impl Agent {
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_cabana-agent"))
            .args(arguments)
            .envs([("CABANA_AGENT_SECRET", "a-secret-of-the-tests"), ("CABANA_AGENT_LISTEN", "127.0.0.1:0")])
            .env("CABANA_ROOTS", root.path())
            .envs(variables.iter().copied())
            .current_dir("/usr")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, log) = (BufReader::new(child.stdout.take().unwrap()), BufReader::new(child.stderr.take().unwrap()));
        Self { child, stdout, log, _root: root }
    }

    /// What runs this script as the image's command.
    fn script(script: &str) -> Self {
        Self::start(&["--", "bash", "-c", script], &[])
    }

    /// The next line on the container's stdout.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// The answer to `GET /health`.
    fn health(&mut self) -> String {
        let mut line = String::new();
        while !line.contains("listening on ") {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "the agent has ended");
        }
        let mut connection = TcpStream::connect(line.rsplit_once(' ').unwrap().1.trim()).unwrap();
        connection.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }

    /// How the agent ends, and the rest of both its streams.
    fn ended(mut self) -> (Option<i32>, String, String) {
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), None);
        let (mut stdout, mut log) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.log.read_to_string(&mut log).unwrap();
        (status.code(), stdout, log)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn one_that_fails_ends_the_container_with_its_exit_code() {
    for (arguments, code) in [
        (["bash", "-c", "exit 3"].as_slice(), 3),
        (&["--", "bash", "-c", "exit 255"], 255),
        (&["--", "bash", "-c", "kill -KILL $$"], 137),
        (&["--", "bash", "-c", "kill -TERM $$"], 143),
        (&["--", "no-such-program"], 127),
        (&["--", "./no-such-program"], 127),
        (&["--", "/etc/passwd"], 126),
        (&["--", "/etc"], 126),
        (&["--", "--version"], 127),
        (&["--version"], 1),
    ] {
        let (ended, stdout, log) = Agent::start(arguments, &[]).ended();
        assert_eq!((ended, stdout.as_str()), (Some(code), ""), "{arguments:?}: {log}");
    }
}

#[test]
fn one_that_has_done_its_work_leaves_the_agent_to_itself() {
    for script in ["", "echo $$; echo err >&2; (sleep 0.05 &); exit 0"] {
        let mut agent = if script.is_empty() { Agent::start(&["--"], &[]) } else { Agent::script(script) };
        if !script.is_empty() {
            let pid = agent.line();
            // Once somebody has waited for it.
            while Path::new("/proc").join(&pid).exists() {
                thread::sleep(Duration::from_millis(5));
            }
        }
        assert!(agent.health().starts_with("HTTP/1.1 200"));
        agent.signal("TERM");
        let (code, _, log) = agent.ended();
        assert_eq!((code, log.contains("err\n")), (Some(0), !script.is_empty()), "{log}");
    }
}

#[test]
fn signals_are_passed_on_once() {
    let script = "for signal in HUP USR1 USR2 WINCH; do trap \"echo $signal\" $signal; done\n\
                  for signal in TERM INT QUIT; do trap \"echo $signal; ((ending++))\" $signal; done\n\
                  echo up; until ((ending)); do sleep 0.01; done; for i in {1..20}; do sleep 0.01; done; exit $((40 + ending))";
    for ending in ["TERM", "INT", "QUIT"] {
        let mut agent = Agent::script(script);
        assert_eq!(agent.line(), "up");
        for signal in ["HUP", "USR1", "USR2", "WINCH"] {
            agent.signal(signal);
            assert_eq!(agent.line(), signal);
        }
        agent.signal(ending);
        let (code, stdout, log) = agent.ended();
        assert_eq!((code, stdout), (Some(41), format!("{ending}\n")), "{log}");
    }
}

#[test]
fn one_that_does_not_end_is_killed() {
    let mut agent = Agent::script("trap '' TERM; echo up; while :; do sleep 3704.5; done");
    assert_eq!(agent.line(), "up");
    agent.signal("TERM");
    assert_eq!(agent.ended().0, Some(137));
    let left = Command::new("pgrep").args(["--full", "^sleep 3704.5"]).output().unwrap().stdout;
    assert_eq!(String::from_utf8_lossy(&left), "", "nothing that it started is left");
}

#[test]
fn its_surroundings_are_the_images() {
    let script = "echo $SET ${GONE-none} $USER $(id -un) $PWD; env | grep -c ^CABANA; read || echo no input";
    let variables = [
        ("SET", "image"),
        ("GONE", "image"),
        ("USER", "somebody"),
        ("CABANA_USER", "nobody"),
        ("CABANA_SANDBOX_ENV", r#"{"GONE":null}"#),
    ];
    let mut agent = Agent::start(&["--", "bash", "-c", script], &variables);
    assert_eq!([agent.line(), agent.line(), agent.line()], ["image none nobody nobody /usr", "0", "no input"]);
}

#[test]
fn a_user_who_is_not_there_is_told_at_the_start() {
    let (code, _, log) = Agent::start(&[], &[("CABANA_USER", "no-such-user")]).ended();
    assert!(code == Some(1) && log.contains("CABANA_USER") && log.contains("no-such-user"), "{code:?}: {log}");
}
