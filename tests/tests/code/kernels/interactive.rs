//! Cells that ask, and questions beside cells.

use cabana_protocol::code::RunStatus;
use cabana_tests::{in_sandbox, until};
use serde_json::{Value, json};

use super::{create, python, run};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cell_asks_is_answered_by_an_input() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        let code = "name = input('Name: ')\nfrom getpass import getpass\nsecret = getpass('Secret: ')\nname + secret";
        socket.send("code.run", "a", json!({ "code": code })).await;
        let (mut asked, mut value) = (Vec::new(), Value::Null);
        let result = loop {
            let frame = socket.next().await;
            let payload = frame["payload"].clone();
            match (frame["type"].as_str().unwrap(), payload["type"].as_str()) {
                ("event", Some("input_request")) => {
                    asked.push((payload["prompt"].clone(), payload["password"].clone()));
                    let text = if asked.len() == 1 { "Ada" } else { "x" };
                    socket.send("input", "a", json!({ "type": "reply", "text": text })).await;
                }
                ("event", Some("value")) => value = payload["data"]["text/plain"].clone(),
                ("result", _) => break payload,
                ("error", _) => panic!("{frame}"),
                _ => {}
            }
        };
        assert_eq!(asked, [(json!("Name: "), json!(false)), (json!("Secret: "), json!(true))]);
        assert_eq!((value, result["status"].clone()), (json!("'Adax'"), json!("ok")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_nobody_can_answer_fails_at_once() {
    in_sandbox(async |sandbox| {
        let output = python(sandbox, "input('Name: ')").await;
        assert_eq!((output.result.status, output.error.unwrap().name.as_str()), (RunStatus::Error, "StdinNotImplementedError"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_and_inspections_come_while_a_cell_runs() {
    in_sandbox(async |sandbox| {
        let context = create(sandbox, json!({})).await;
        let code = "def distinctive(a, b):\n    'Says something.'\nimport time";
        run(sandbox, json!({ "code": code, "context": context })).await;
        let look = async || {
            let complete = json!({ "context": context, "code": "print(distinct" });
            let found = sandbox.post("code.complete", complete).await.json();
            assert!(found["items"].as_array().is_some_and(|items| items.contains(&json!("distinctive"))), "{found}");
            assert_eq!((found["cursor_start"].as_u64(), found["cursor_end"].as_u64()), (Some(6), Some(14)), "{found}");
            let inspect = json!({ "context": context, "code": "distinctive", "cursor": 3 });
            let found = sandbox.post("code.inspect", inspect).await.json();
            let text = found["data"]["text/plain"].as_str().unwrap_or_default().to_owned();
            assert!(found["found"] == true && text.contains("Says something.") && !text.contains('\u{1b}'), "{found}");
        };
        look().await;
        let cell = run(sandbox, json!({ "code": "open('runs', 'w').close()\ntime.sleep(600)", "context": context }));
        let beside = async {
            until("the cell runs", async || sandbox.get("runs").await.status.is_success()).await;
            look().await;
            sandbox.post("code.interrupt", json!({ "context": context })).await.success();
        };
        let (output, ()) = tokio::join!(cell, beside);
        assert_eq!((output.result.status, output.result.state_kept), (RunStatus::Interrupted, true));
        let beyond = sandbox.post("code.complete", json!({ "context": context, "code": "é", "cursor": 2 })).await;
        assert_eq!(beyond.code(), "invalid_request");
    })
    .await;
}
