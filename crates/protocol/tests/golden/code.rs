//! Running code, filled.

use cabana_protocol::{code::*, exec::Exit, file::Done};
use serde_json::json;

use super::{Example, StreamExample};

fn id() -> String {
    "k3x9ab-c1".to_owned()
}

fn data() -> Bundle {
    Bundle::from([
        ("text/plain".to_owned(), json!("[1, 2]")),
        ("text/html".to_owned(), json!("<b>1</b>")),
        ("application/json".to_owned(), json!([1, 2])),
    ])
}

fn metadata() -> Bundle {
    Bundle::from([("application/json".to_owned(), json!({ "expanded": true }))])
}

fn context() -> Context {
    Context {
        context: id(),
        name: Some("analysis".into()),
        language: "python".into(),
        kernel: "python3".into(),
        default: true,
        state: ContextState::Ended,
        pid: Some(42),
        exit: Some(Exit::OomKilled),
        execution_count: 3,
        queued: 1,
        created_at: "2026-11-30T12:00:00.000Z".into(),
        last_used_at: "2026-11-30T12:00:01.000Z".into(),
    }
}

impl Example for Create {
    fn request() -> Self {
        Self {
            language: Some("python".into()),
            name: Some("analysis".into()),
            cwd: Some("/workspace/project".into()),
            env: [("MODE".into(), Some("test".into())), ("LANG".into(), None)].into(),
            user: Some("sandbox".into()),
        }
    }
    fn response() -> Context {
        context()
    }
}

impl Example for List {
    fn request() -> Self {
        Self {}
    }
    fn response() -> Contexts {
        Contexts { contexts: vec![context()], kernels: vec!["python3".into()] }
    }
}

impl Example for Interrupt {
    fn request() -> Self {
        Self { context: id() }
    }
    fn response() -> Interrupted {
        Interrupted { running: true }
    }
}

impl Example for Restart {
    fn request() -> Self {
        Self { context: id() }
    }
    fn response() -> Context {
        context()
    }
}

impl Example for Delete {
    fn request() -> Self {
        Self { context: id() }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for Complete {
    fn request() -> Self {
        Self { context: id(), code: "import o".into(), cursor: Some(8) }
    }
    fn response() -> Completions {
        Completions { matches: vec!["os".into()], cursor_start: 7, cursor_end: 8 }
    }
}

impl Example for Inspect {
    fn request() -> Self {
        Self { context: id(), code: "print".into(), cursor: Some(5), detail: true }
    }
    fn response() -> Inspection {
        Inspection { found: true, data: data() }
    }
}

impl Example for Export {
    fn request() -> Self {
        Self { context: id() }
    }
    fn response() -> Notebook {
        Notebook { notebook: json!({ "cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5 }), truncated: true }
    }
}

impl Example for Run {
    fn request() -> Self {
        Self {
            code: "sum([1, 2, 3])".into(),
            context: Some(id()),
            language: Some("python".into()),
            timeout_ms: Some(60_000),
            env: [("MODE".into(), Some("test".into()))].into(),
            cwd: Some("/workspace/project".into()),
        }
    }
    fn response() -> RunResult {
        RunResult {
            context: id(),
            status: RunStatus::KernelDied,
            state_kept: false,
            execution_count: Some(4),
            exit: Some(Exit::OomKilled),
            duration_ms: 1_500,
        }
    }
}

impl StreamExample for Run {
    fn events() -> Vec<RunEvent> {
        vec![
            RunEvent::Started { context: id(), language: "python".into(), created: true },
            RunEvent::Executing { execution_count: 4 },
            RunEvent::Clear { wait: false },
            RunEvent::Stdout { text: "one\n".into() },
            RunEvent::Stderr { text: "two\n".into() },
            RunEvent::Display { display_id: Some("d1".into()), data: data(), metadata: metadata() },
            RunEvent::Update { display_id: "d1".into(), data: data(), metadata: metadata() },
            RunEvent::InputRequest { prompt: "Name: ".into(), password: false },
            RunEvent::Value { data: data(), metadata: metadata() },
            RunEvent::Failed { name: "ValueError".into(), value: "no".into(), traceback: vec!["ValueError: no".into()] },
            RunEvent::Omitted { bytes: 1_048_576 },
        ]
    }
    fn inputs() -> Vec<RunInput> {
        vec![RunInput::Reply { text: "Ada".into() }]
    }
}
