//! The operations on processes, filled.

use cabana_protocol::{exec::*, file::Done, *};

use super::{Example, StreamExample, process_id, tty};

impl Example for process::List {
    fn request() -> Self {
        Self { state: Some(process::ProcessState::Running) }
    }
    fn response() -> process::Processes {
        process::Processes { processes: vec![process::Get::response()] }
    }
}

impl Example for process::Get {
    fn request() -> Self {
        Self { process: "tests".into() }
    }
    fn response() -> process::Process {
        process::Process {
            process: process_id(),
            name: Some("tests".into()),
            restart: true,
            pid: 42,
            command: "cargo test".into(),
            tty: Some(tty()),
            started_at: "2026-11-20T12:00:00Z".into(),
            output_bytes: 16,
            exit: Some(Exit::OomKilled),
            duration_ms: Some(1_500),
            usage: Some(Usage { cpu_ms: 1_200, peak_memory_bytes: None }),
        }
    }
}

impl Example for process::Input {
    fn request() -> Self {
        Self { process: "tests".into(), data: Some("y\n".into()), eof: true }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for process::Resize {
    fn request() -> Self {
        let Tty { cols, rows } = tty();
        Self { process: "tests".into(), cols, rows }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for process::SendSignal {
    fn request() -> Self {
        Self { process: process_id().to_string(), signal: Signal::TERM }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for process::Wait {
    fn request() -> Self {
        let until = process::Until::Regex { regex: "listening on (.*)".into() };
        Self { process: "server".into(), until, from: Some(16), timeout_ms: Some(5_000) }
    }
    fn response() -> process::Waited {
        process::Waited::Logged { line: "listening on 3000".into(), to: 34, groups: vec![Some("3000".into())] }
    }
}

impl Example for process::Logs {
    fn request() -> Self {
        Self { process: "server".into(), from: Some(16), max_bytes: Some(3) }
    }
    fn response() -> process::Log {
        let exit = Some(Exit::Signalled { signal: Signal::KILL });
        process::Log { from: 16, to: 19, output_bytes: 24, stdout: "a\n".into(), stderr: vec![0xff].into(), exit }
    }
}

impl Example for process::End {
    fn request() -> Self {
        Self { process: Some("server".into()), all: true, keep_restarts: true, grace_ms: Some(500) }
    }
    fn response() -> process::Processes {
        process::List::response()
    }
}

impl Example for process::Remove {
    fn request() -> Self {
        Self { process: Some("server".into()), ended: true }
    }
    fn response() -> process::Removed {
        process::Removed { removed: 1 }
    }
}

impl Example for process::Attach {
    fn request() -> Self {
        Self { process: "server".into(), from: Some(16), screen: true }
    }
    fn response() -> ExecResult {
        Exec::response()
    }
}

impl StreamExample for process::Attach {
    fn events() -> Vec<ExecEvent> {
        Exec::events()
    }
    fn inputs() -> Vec<ExecInput> {
        Exec::inputs()
    }
}
