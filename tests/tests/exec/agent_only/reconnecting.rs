//! Callers whose connection is lost together with the sandbox's object, and who come back. The cases speak as the object does: an agent's own
//! client has hung up when its connection ends.

use std::{fmt::Debug, time::Duration};

use cabana_protocol::{
    exec::{Exec, ExecEvent, Exit},
    line::LineOf,
};
use cabana_tests::{NDJSON, Sandbox, Transcript, in_agent, until};
use futures_util::{SinkExt, StreamExt, future::join_all};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::super::{exited, mark};

/// Longer than a case takes.
const LONG: (&str, &str) = ("CABANA_RECONNECT_GRACE_MS", "600000");

/// How the object asks for a command on behalf of a client.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// By a request with a name.
    Call,
    /// Over the link.
    Link,
}

/// A command that runs for a client of the object.
struct Client {
    heard: Transcript,
    connection: Connection,
}

enum Connection {
    Call(Option<Response>),
    Link(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>),
}

impl Way {
    const ALL: [Self; 2] = [Self::Call, Self::Link];

    /// Starts a command, for a client of this name or number.
    async fn exec(self, sandbox: &Sandbox, client: u32, request: Value) -> Client {
        let connection = match self {
            Self::Call => {
                let call = sandbox.request(Method::POST, "/exec").header("x-cabana-call", format!("call-{client}"));
                Connection::Call(Some(call.header("accept", NDJSON).json(&request).send().await.unwrap()))
            }
            Self::Link => {
                let route = sandbox.request(Method::GET, "/connect").build().unwrap();
                let mut upgrade = route.url().as_str().replacen("http", "ws", 1).into_client_request().unwrap();
                upgrade.headers_mut().insert("authorization", route.headers()["authorization"].clone());
                upgrade.headers_mut().insert("sec-websocket-protocol", "cabana.link".parse().unwrap());
                let (mut socket, _) = connect_async(upgrade).await.unwrap();
                let frame = json!({ "type": "exec", "id": "1", "payload": request });
                socket.send(Message::text(format!("{client} {frame}"))).await.unwrap();
                Connection::Link(Box::new(socket))
            }
        };
        Client { heard: Transcript::default(), connection }
    }
}

impl Client {
    /// Reads until the command has started and has printed so many bytes.
    async fn listen(&mut self, bytes: usize) {
        let enough = |heard: &Transcript| heard.process.is_some() && heard.output.len() >= bytes || heard.result.is_some();
        match &mut self.connection {
            // What comes behind it is lost, as on a connection that breaks.
            Connection::Call(answer) => self.heard.read(answer.take().expect("it is read once"), enough).await,
            Connection::Link(socket) => {
                while !enough(&self.heard) {
                    let Message::Text(text) = socket.next().await.unwrap().unwrap() else { continue };
                    let frame = text.split_once(' ').unwrap().1;
                    let Ok(mut frame) = serde_json::from_str::<Value>(frame) else { continue };
                    let mut line = frame["payload"].take();
                    if frame["type"] == "result" {
                        line["type"] = "result".into();
                    }
                    self.heard.hear(LineOf::<Exec>::decode(line.to_string().as_bytes()).unwrap());
                }
            }
        }
    }

    /// The object is gone, and the connection with it.
    fn lose(self) -> Transcript {
        self.heard
    }
}

/// Attaches to a process and reads until that is enough; the answer where it is an error.
async fn attach(sandbox: &Sandbox, heard: &mut Transcript, enough: impl Fn(&Transcript) -> bool) {
    let answer = sandbox.request(Method::POST, "/process/attach").header("accept", NDJSON).json(&heard.attach()).send();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{heard:?}");
    heard.read(answer, enough).await;
}

/// Reads to the end.
async fn finish(sandbox: &Sandbox, heard: &mut Transcript) {
    attach(sandbox, heard, |_| false).await;
    assert!(heard.result.is_some(), "{heard:?}");
}

/// Says that the client of a call, or of a link, has hung up.
async fn hang_up(sandbox: &Sandbox, client: u32) {
    let told = sandbox.request(Method::DELETE, &format!("/../calls/call-{client}")).send().await.unwrap();
    assert_eq!(told.status().as_u16(), 204);
}

async fn gone(sandbox: &Sandbox, mark: &str, what: impl Debug) {
    until(&format!("{what:?}: nothing runs"), async || sandbox.count_processes(&format!("^sleep {mark}")).await == 0).await;
}

/// Prints so many lines, a few at a time, and notes in a file that it was run.
fn counting(lines: usize) -> String {
    format!(
        "echo run >> runs; for i in $(seq {lines}); do echo line $i; [ $((i % 2)) = 0 ] || echo err $i >&2; sleep 0.005; done; exit 3"
    )
}

/// What [`counting`] has printed, line by line: the two streams have no order of their own.
fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn counted(lines: usize) -> Vec<String> {
    let text: String =
        (1..=lines).map(|i| format!("line {i}\n{}", if i % 2 == 0 { String::new() } else { format!("err {i}\n") })).collect();
    sorted(&text)
}

#[tokio::test]
async fn commands_outlive_lost_connections_and_say_every_byte_once() {
    in_agent(&[LONG], async |sandbox| {
        for way in Way::ALL {
            sandbox.shell("rm -f runs").await;
            let clients = (0..20).map(async |client| {
                let mut first = way.exec(sandbox, client, json!({ "command": counting(100) })).await;
                first.listen(100 * client as usize % 1_500).await;
                let mut heard = first.lose();
                // It is lost again and again.
                for more in [0, 10, 300] {
                    let so_far = heard.output.len();
                    attach(sandbox, &mut heard, |heard| heard.output.len() >= so_far + more || heard.result.is_some()).await;
                }
                if heard.result.is_none() {
                    finish(sandbox, &mut heard).await;
                }
                assert_eq!(sorted(heard.text()), counted(100), "{way:?}");
                assert_eq!(heard.exit(), Some(exited(3)), "{way:?}");
            });
            join_all(clients).await;
            assert_eq!(sandbox.shell("wc -l < runs").await.trim(), "20", "{way:?}: none is run twice");
        }
    })
    .await;
}

#[tokio::test]
async fn an_end_that_the_caller_has_not_heard_of_is_told_when_it_comes_back() {
    in_agent(&[LONG], async |sandbox| {
        for way in Way::ALL {
            let command = "until [ -e go ]; do sleep 0.01; done; echo out; echo err >&2; exit 7";
            let mut client = way.exec(sandbox, 1, json!({ "command": command })).await;
            client.listen(0).await;
            let mut heard = client.lose();
            sandbox.put("go", "").await.success();
            let process = heard.process.clone().unwrap();
            until("it has ended", async || {
                sandbox.post("process.get", json!({ "process": process })).await.json()["exit"]["code"] == 7
            })
            .await;
            let listed = sandbox.post("process.list", json!({})).await.json()["items"].take();
            assert!(!listed.to_string().contains(process.as_str()), "{way:?}: one that has ended is not listed: {listed}");
            finish(sandbox, &mut heard).await;
            assert_eq!(sorted(heard.text()), ["err", "out"], "{way:?}");
            assert_eq!(heard.exit(), Some(exited(7)), "{way:?}");
            sandbox.shell("rm go").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_its_command() {
    in_agent(&[LONG], async |sandbox| {
        for cut_first in [false, true] {
            let mark = mark();
            let client = Way::Call.exec(sandbox, 7, json!({ "command": ["sleep", mark] })).await;
            let count = async || sandbox.count_processes(&format!("^sleep {mark}")).await;
            until("it runs", async || count().await == 1).await;
            let connected = Some(client).filter(|_| !cut_first);
            assert_eq!(count().await, 1, "it goes on");
            hang_up(sandbox, 7).await;
            gone(sandbox, &mark, cut_first).await;
            drop(connected);
        }
        let mark = mark();
        let mut client = Way::Link.exec(sandbox, 7, json!({ "command": ["sleep", mark] })).await;
        client.listen(0).await;
        let Connection::Link(socket) = &mut client.connection else { unreachable!("it is a link") };
        socket.send(Message::text("7 -")).await.unwrap();
        gone(sandbox, &mark, "a link").await;
        hang_up(sandbox, 8).await;
    })
    .await;
}

#[tokio::test]
async fn a_command_whose_caller_does_not_come_back_is_ended_and_forgotten() {
    // Long enough for what a case does between the end and the next question, on a machine that does much else.
    in_agent(&[("CABANA_RECONNECT_GRACE_MS", "10000")], async |sandbox| {
        let ways = Way::ALL.into_iter().zip(1..).map(async |(way, client)| {
            let mark = mark();
            let mut client =
                way.exec(sandbox, client, json!({ "command": format!("echo up; sleep {mark} & sleep {mark}") })).await;
            client.listen(3).await;
            let mut heard = client.lose();
            // The process waits for a caller who attaches in time; then the time begins anew.
            let attached = sandbox.request(Method::POST, "/process/attach").header("accept", NDJSON).json(&heard.attach());
            let attached = attached.send().await.unwrap();
            tokio::time::sleep(Duration::from_millis(11_000)).await;
            assert_eq!(sandbox.count_processes(&format!("^sleep {mark}")).await, 2, "{way:?}");
            drop(attached);
            gone(sandbox, &mark, way).await;
            finish(sandbox, &mut heard).await;
            assert_eq!((heard.text(), heard.exit()), ("up\n", Some(Exit::Cancelled)), "{way:?}");
            let mut error = Value::Null;
            until("it is forgotten", async || {
                let answer = sandbox.post("process.attach", heard.attach()).await;
                error = answer.json()["error"].take();
                answer.status != 200
            })
            .await;
            let told = (&error["code"], &error["details"]["reason"]);
            assert_eq!(told, (&json!("not_found"), &json!("no_such_process")), "{way:?}");
        });
        join_all(ways).await;
    })
    .await;
}

#[tokio::test]
async fn a_command_waits_for_its_caller_to_come_back_before_it_prints_much() {
    // As much as may be on its way over a connection that nobody reads.
    in_agent(&[LONG, ("CABANA_RECONNECT_BYTES", "16777216")], async |sandbox| {
        for way in Way::ALL {
            let mut client = way.exec(sandbox, 1, json!({ "command": "seq 3000000" })).await;
            client.listen(100_000).await;
            let mut heard = client.lose();
            let printed = async || {
                let shown = sandbox.post("process.get", json!({ "process": heard.process })).await.json();
                shown["output_bytes"].as_u64().unwrap()
            };
            let mut before = 0;
            until("it waits", async || {
                let now = printed().await;
                tokio::time::sleep(Duration::from_millis(100)).await;
                std::mem::replace(&mut before, now) == now
            })
            .await;
            assert!(before < 20_000_000, "{way:?}: {before}");
            finish(sandbox, &mut heard).await;
            let expected: String = (1..=3_000_000).map(|number: u32| format!("{number}\n")).collect();
            assert!(heard.output == expected.as_bytes(), "{way:?}: {} bytes", heard.output.len());
            assert_eq!(heard.exit(), Some(exited(0)));
        }
    })
    .await;
}

#[tokio::test]
async fn two_who_come_back_hear_the_same() {
    in_agent(&[LONG], async |sandbox| {
        for way in Way::ALL {
            let mut client = way.exec(sandbox, 1, json!({ "command": counting(100) })).await;
            client.listen(50).await;
            let (process, output) = (client.heard.process.clone(), client.heard.output.clone());
            let mut first = client.lose();
            let mut second = Transcript { process, output, result: None };
            tokio::join!(finish(sandbox, &mut first), finish(sandbox, &mut second));
            assert_eq!(sorted(first.text()), counted(100), "{way:?}");
            assert_eq!((first.output, first.result), (second.output, second.result), "{way:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn bytes_that_are_no_longer_kept_for_a_caller_are_told_as_a_gap() {
    in_agent(&[LONG, ("CABANA_RECONNECT_BYTES", "65536")], async |sandbox| {
        for way in Way::ALL {
            let command = "head -c 200000 /dev/zero | tr '\\0' x; until [ -e go ]; do sleep 0.01; done; echo end";
            let mut client = way.exec(sandbox, 1, json!({ "command": command })).await;
            client.listen(200_000).await;
            let mut heard = client.lose();
            sandbox.put("go", "").await.success();
            let mut all = sandbox.stream_of("process.attach", NDJSON, json!({ "process": heard.process })).await;
            let (started, gap) = (all.next().await, all.next().await);
            assert!(matches!(started, Some(LineOf::<Exec>::Event(ExecEvent::Started { .. }))), "{way:?}: {started:?}");
            let Some(LineOf::<Exec>::Event(ExecEvent::Gap { from: 0, to })) = gap else { panic!("{way:?}: {gap:?}") };
            // The oldest piece that is kept may begin a piece earlier.
            assert!((200_000 - 2 * 65_536..=200_000 - 65_536).contains(&to), "{way:?}: {to}");
            finish(sandbox, &mut heard).await;
            assert_eq!(heard.text().len(), 200_004, "{way:?}: what came last is there");
            sandbox.shell("rm go").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_command_of_a_session_outlives_a_lost_connection() {
    in_agent(&[LONG], async |sandbox| {
        let session = sandbox.post("session.create", json!({})).await.json()["session"].take();
        for way in Way::ALL {
            let request =
                json!({ "command": "a=kept; echo up; until [ -e go ]; do sleep 0.01; done; echo end", "session": session });
            let mut client = way.exec(sandbox, 1, request).await;
            client.listen(3).await;
            let mut heard = client.lose();
            sandbox.put("go", "").await.success();
            finish(sandbox, &mut heard).await;
            assert_eq!((heard.text(), heard.exit()), ("up\nend\n", Some(exited(0))), "{way:?}");
            let next = sandbox.exec(json!({ "command": "echo $a; a=; rm go", "session": session })).await;
            assert_eq!(next.stdout.0, "kept\n", "{way:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn input_goes_on_for_a_caller_that_comes_back() {
    in_agent(&[LONG], async |sandbox| {
        let request = json!({ "command": "echo up; cat", "stdin": { "stream": true } });
        let mut client = Way::Link.exec(sandbox, 1, request).await;
        client.listen(3).await;
        let mut heard = client.lose();
        sandbox.post("process.input", json!({ "process": heard.process, "data": "more\n", "eof": true })).await.success();
        finish(sandbox, &mut heard).await;
        assert_eq!((heard.text(), heard.exit()), ("up\nmore\n", Some(exited(0))));
    })
    .await;
}

#[tokio::test]
async fn an_answer_in_json_that_comes_late_names_its_process_early() {
    in_agent(&[], async |sandbox| {
        let answer = sandbox.request(Method::POST, "/exec").json(&json!({ "command": "until [ -e go ]; do sleep 0.05; done" }));
        let answer = answer.send().await.unwrap();
        let process = answer.headers()["x-cabana-process"].to_str().unwrap().to_owned();
        assert_eq!(sandbox.post("process.get", json!({ "process": process })).await.json()["process"], *process);
        sandbox.put("go", "").await.success();
        assert_eq!(answer.json::<Value>().await.unwrap()["process"], *process);
    })
    .await;
}
