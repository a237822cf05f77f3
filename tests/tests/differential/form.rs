//! The ways to run a script.

use cabana_protocol::{
    Data,
    exec::{ExecEvent, ExecOutput, ExecResult},
    process::{Logs, Remove, Until, Wait},
    session::{Create, Delete},
};
use cabana_tests::{NDJSON, SSE, Sandbox, gather};
use serde_json::{Value, json};

use super::{Case, Outcome};

/// Bytes of live input that no process has to read at once.
const TOLD: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The JSON form, which gathers all output.
    Fold,
    /// The JSON form of the same shell as an exact argv.
    Argv,
    Ndjson,
    Sse,
    WebSocket,
    /// On a WebSocket, with its input sent while it runs.
    Live,
    /// Detached, and heard by `process.attach`.
    Attach,
    /// Detached, and looked up by `process.logs`, page by page, once it has ended.
    Logs,
    /// In a fresh session.
    Session,
}

impl Form {
    pub(super) const ALL: [Self; 9] =
        [Self::Fold, Self::Argv, Self::Ndjson, Self::Sse, Self::WebSocket, Self::Live, Self::Attach, Self::Logs, Self::Session];

    /// Whether this form can be expected to carry this case.
    pub(super) fn fits(self, case: &Case) -> bool {
        match self {
            Self::Live => case.stdin.is_some_and(|stdin| stdin.len() <= TOLD),
            Self::Session => case.in_session,
            _ => true,
        }
    }

    /// Whether this came of it. A session's shell begins its messages otherwise: it has no `-c`, and names the line only of a syntax error.
    pub(super) fn is_same(self, outcome: &Outcome, expected: &Outcome) -> bool {
        let messages = |outcome: &Outcome| message(&String::from_utf8_lossy(&outcome.stderr));
        match self {
            Self::Session => {
                (&outcome.stdout, outcome.exit) == (&expected.stdout, expected.exit) && messages(outcome) == messages(expected)
            }
            _ => outcome == expected,
        }
    }

    pub(super) async fn run(self, sandbox: &Sandbox, shell: &str, case: &Case, cwd: &str) -> Outcome {
        let stdin = case.stdin.map(|stdin| Data::from(stdin.to_vec()));
        let mut request = json!({ "command": case.script, "cwd": cwd, "stdin": stdin, "max_output_bytes": 16 << 20 });
        match self {
            Self::Fold => folded(sandbox.exec(request).await),
            Self::Argv => {
                request["command"] = json!([shell, "-c", case.script]);
                folded(sandbox.exec(request).await)
            }
            Self::Ndjson => outcome(gather(sandbox.stream(NDJSON, request).await).await),
            Self::Sse => outcome(gather(sandbox.stream(SSE, request).await).await),
            Self::WebSocket => converse(sandbox, request, None).await,
            Self::Live => {
                request["stdin"] = json!({ "stream": true });
                converse(sandbox, request, case.stdin).await
            }
            Self::Attach => {
                let process = detach(sandbox, request).await;
                let outcome =
                    outcome(gather(sandbox.stream_of("process.attach", NDJSON, json!({ "process": process })).await).await);
                sandbox.call(Remove::one(process)).await;
                outcome
            }
            Self::Logs => {
                let process = detach(sandbox, request).await;
                sandbox.call(Wait { process: process.clone(), until: Until::EXIT, from: None, timeout_ms: None }).await;
                let outcome = look_up(sandbox, &process).await;
                sandbox.call(Remove::one(process)).await;
                outcome
            }
            Self::Session => {
                let create = Create { cwd: Some(cwd.to_owned()), ..Create::default() };
                let session = sandbox.call(create).await.session;
                request["session"] = session.clone().into();
                request["cwd"] = Value::Null;
                let output = sandbox.exec(request).await;
                if !output.result.session_ended {
                    sandbox.call(Delete { session }).await;
                }
                folded(output)
            }
        }
    }
}

/// What a shell says, without what it says of itself first.
fn message(text: &str) -> String {
    let text = text.replace("environment: line", "bash: line");
    let mut parts = text.split("bash: ");
    let mut message = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        for directory in ["/usr/bin/", "/bin/"] {
            message = message.strip_suffix(directory).map(str::to_owned).unwrap_or(message);
        }
        let part = part.strip_prefix("-c: ").unwrap_or(part);
        let part = part.split_once("/run: ").filter(|(path, _)| !path.contains(' ')).map_or(part, |(_, part)| part);
        let line = part.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
        message += line.filter(|(number, _)| number.parse::<u32>().is_ok()).map_or(part, |(_, part)| part);
    }
    message
}

fn folded(output: ExecOutput) -> Outcome {
    assert!(!output.truncated);
    assert_eq!((output.stdout_bytes, output.stderr_bytes), (output.stdout.0.len() as u64, output.stderr.0.len() as u64));
    Outcome { stdout: output.stdout.0.into(), stderr: output.stderr.0.into(), exit: output.result.exit.unwrap() }
}

fn outcome((stdout, stderr, result): (Vec<u8>, Vec<u8>, ExecResult)) -> Outcome {
    Outcome { stdout, stderr, exit: result.exit.unwrap() }
}

async fn detach(sandbox: &Sandbox, mut request: Value) -> String {
    request["detach"] = true.into();
    sandbox.exec(request).await.result.process.to_string()
}

async fn look_up(sandbox: &Sandbox, process: &str) -> Outcome {
    let (mut stdout, mut stderr, mut from) = (Vec::new(), Vec::new(), 0);
    loop {
        let log = sandbox.call(Logs { process: process.to_owned(), from: Some(from), max_bytes: None }).await;
        assert_eq!((log.from, log.to - from), (from, (log.stdout.0.len() + log.stderr.0.len()) as u64));
        stdout.extend(log.stdout.0);
        stderr.extend(log.stderr.0);
        if log.to == from {
            return Outcome { stdout, stderr, exit: log.exit.unwrap() };
        }
        from = log.to;
    }
}

/// Runs it on a WebSocket, and tells it these bytes as soon as it runs.
async fn converse(sandbox: &Sandbox, request: Value, told: Option<&[u8]>) -> Outcome {
    let mut socket = sandbox.connect().await;
    socket.send("exec", "script", request).await;
    let (mut stdout, mut stderr, mut next) = (Vec::new(), Vec::new(), 0);
    loop {
        let frame = socket.next().await;
        assert_eq!(frame["id"], "script", "{frame}");
        if frame["type"] == "result" {
            let result: ExecResult = serde_json::from_value(frame["payload"].clone()).unwrap();
            return outcome((stdout, stderr, result));
        }
        assert_eq!(frame["type"], "event", "{frame}");
        let (stream, offset, bytes) = match serde_json::from_value(frame["payload"].clone()).unwrap() {
            ExecEvent::Started { .. } => {
                if let Some(told) = told {
                    let bytes = serde_json::to_value(Data::from(told.to_vec())).unwrap();
                    socket.send("input", "script", json!({ "type": "stdin", "bytes": bytes })).await;
                    socket.send("input", "script", json!({ "type": "eof" })).await;
                }
                continue;
            }
            ExecEvent::Stdout { offset, bytes } => (&mut stdout, offset, bytes),
            ExecEvent::Stderr { offset, bytes } => (&mut stderr, offset, bytes),
            other @ (ExecEvent::Gap { .. } | ExecEvent::Screen { .. }) => panic!("{other:?}"),
        };
        assert_eq!(offset, next);
        next += bytes.0.len() as u64;
        stream.extend(bytes.0);
    }
}
