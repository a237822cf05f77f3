//! Running commands, filled.

use cabana_protocol::{exec::*, *};

use super::{Example, StreamExample, process_id, tty};

impl Example for Exec {
    fn request() -> Self {
        Self {
            command: ["cargo", "test"].into(),
            cwd: Some("/workspace/project".into()),
            env: [("CI".into(), Some("1".into())), ("LANG".into(), None)].into(),
            user: Some("sandbox".into()),
            stdin: Some(Stdin::Bytes("yes\n".into())),
            stderr: Some(Stderr::Stdout),
            tty: Some(tty()),
            timeout_ms: Some(60_000),
            detach: true,
            wait_ms: Some(10_000),
            name: Some("tests".into()),
            restart: true,
            session: Some("k3x9ab-s1".into()),
            create_session: true,
            max_output_bytes: Some(65_536),
        }
    }
    fn response() -> ExecResult {
        let usage = Some(Usage { cpu_ms: 1_200, peak_memory_bytes: Some(52_428_800) });
        ExecResult {
            process: process_id(),
            pid: Some(42),
            exit: Some(Exit::Exited { code: 101 }),
            duration_ms: 1_500,
            session_ended: true,
            usage,
        }
    }
}

impl StreamExample for Exec {
    fn events() -> Vec<ExecEvent> {
        vec![
            ExecEvent::Started { process: process_id(), pid: 42 },
            ExecEvent::Stdout { offset: 0, bytes: "running 1 test\n".into() },
            ExecEvent::Stderr { offset: 15, bytes: vec![0xff].into() },
            ExecEvent::Gap { from: 16, to: 20 },
            ExecEvent::Screen { offset: 20, cols: tty().cols, rows: tty().rows, bytes: "\u{1b}[H\u{1b}[J$ ".into() },
        ]
    }
    fn inputs() -> Vec<ExecInput> {
        let Tty { cols, rows } = tty();
        vec![
            ExecInput::Stdin { bytes: "y\n".into() },
            ExecInput::Eof,
            ExecInput::Resize { cols, rows },
            ExecInput::Signal { signal: Signal::TERM },
        ]
    }
}
