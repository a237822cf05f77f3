//! What a command prints at once before its end, in every form, on a machine that has more to do than it can.

use cabana_protocol::{
    exec::{ExecResult, Exit},
    process::Remove,
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    budget::Budget,
    latencies::{Latencies, milliseconds},
};
use crate::{Sandbox, Socket, agent::Agent, gather};

const NDJSON: &str = "application/x-ndjson";
const SSE: &str = "text/event-stream";
/// Clients at once, each of which takes the forms in turn.
const CLIENTS: u64 = 16;
/// Loops that keep the processors busy meanwhile.
const LOAD: &str = "for i in 1 2 3; do while :; do :; done & done; wait";

pub(super) async fn run(budget: &Budget) -> String {
    let sandbox = Sandbox::of_agent(Agent::start(&[], &[]));
    sandbox.exec(json!({ "command": LOAD, "detach": true })).await;
    let clients = join_all((0..CLIENTS).map(async |_| {
        let (mut socket, mut latencies) = (sandbox.connect().await, Latencies::default());
        while let Some(round) = budget.begin() {
            latencies.time(check(&sandbox, &mut socket, round)).await;
            budget.finish();
        }
        latencies
    }));
    let mut latencies = Latencies::default();
    clients.await.into_iter().for_each(|client| latencies.extend(client));
    format!("0 lost; slowest {}, p99 {}", milliseconds(latencies.longest()), milliseconds(latencies.p99()))
}

/// Runs a command that prints its number and ends with it, and compares what is heard of it.
async fn check(sandbox: &Sandbox, socket: &mut Socket, round: u64) {
    let code = i32::try_from(round % 256).unwrap();
    let mut request = json!({ "command": ["sh", "-c", format!("printf x{round}; printf y >&2; exit {code}")] });
    let exit = Some(Exit::Exited { code });
    let (mut stdout, mut stderr) = (format!("x{round}"), "y".to_owned());
    let heard = match round % 6 {
        0 => {
            let output = sandbox.exec(request).await;
            (output.stdout.0.to_vec(), output.stderr.0.to_vec(), output.result.exit)
        }
        1 => heard(gather(sandbox.stream(NDJSON, request).await).await),
        2 => heard(gather(sandbox.stream(SSE, request).await).await),
        3 => {
            request["detach"] = true.into();
            let process = sandbox.exec(request).await.result.process;
            let attached = sandbox.stream_of("process.attach", NDJSON, json!({ "process": process })).await;
            let heard = heard(gather(attached).await);
            sandbox.call(Remove::one(process.to_string())).await;
            heard
        }
        4 => {
            // On a terminal both are one.
            (stdout, stderr) = (stdout + &stderr, String::new());
            request["tty"] = json!({});
            heard(gather(sandbox.stream(NDJSON, request).await).await)
        }
        _ => {
            (stdout, stderr) = (stdout + &stderr, String::new());
            request["command"] = json!(["sh", "-c", format!("exec 2>&1; printf x{round}; printf y >&2; exit {code}")]);
            let id = round.to_string();
            socket.send("exec", &id, request).await;
            let (output, result) = socket.output(&id).await;
            (output.into_bytes(), Vec::new(), exit_of(&result))
        }
    };
    assert_eq!(heard, (stdout.into_bytes(), stderr.into_bytes(), exit), "round {round}");
}

fn heard((stdout, stderr, result): (Vec<u8>, Vec<u8>, ExecResult)) -> (Vec<u8>, Vec<u8>, Option<Exit>) {
    (stdout, stderr, result.exit)
}

fn exit_of(result: &Value) -> Option<Exit> {
    serde_json::from_value(result["exit"].clone()).unwrap()
}
