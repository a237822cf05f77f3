//! Assistants that start the command as their server of tools.

use std::fs;

use cabana_tests::{CommandLine, in_sandbox};
use serde_json::{Value, json};

use super::id;

#[tokio::test]
async fn messages_on_stdin_are_answered_on_stdout() {
    in_sandbox(async |sandbox| {
        let (cabana, id) = (CommandLine::of_service(), id(sandbox));
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let call = |command: &str| json!({ "name": "bash", "arguments": { "command": command } });
        let mut modern = call("echo $((20 + 1))");
        modern["_meta"] = meta;
        let messages = [
            json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": "2025-11-25", "capabilities": {} } }),
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
            json!({ "jsonrpc": "2.0", "id": "two", "method": "tools/call", "params": call("echo $((40 + 2))") }),
            json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": modern }),
            json!({ "jsonrpc": "2.0", "id": 4, "method": "no/such" }),
        ];
        let input = messages.iter().map(|message| format!("{message}\n")).collect::<String>() + "\nnot json\n";
        let answers = cabana.run_with(&["mcp", &id], input.into_bytes()).await.text();
        let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let answer = |id: Value| answers.iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("{id}: {answers:?}"));
        assert_eq!(answers.len(), 5, "a notification has no answer: {answers:?}");
        assert_eq!(answer(json!(1))["result"]["serverInfo"]["name"], "cabana");
        assert!(answer(json!("two"))["result"].to_string().contains("42"), "{answers:?}");
        assert!(answer(json!(3))["result"].to_string().contains("21"), "{answers:?}");
        assert_eq!(answer(json!(4))["error"]["code"], -32_601);
        assert_eq!(answer(Value::Null)["error"]["code"], -32_700);
        // One who has asked is told that the service is away.
        let away = CommandLine::at("http://127.0.0.1:9", "key");
        let asked = json!({ "jsonrpc": "2.0", "id": 5, "method": "tools/list" });
        let told = away.run_with(&["mcp"], format!("{asked}\n").into_bytes()).await.json();
        assert!(told["id"] == 5 && told["error"]["message"].as_str().unwrap().contains("cannot connect"), "{told}");
    })
    .await;
}

#[tokio::test]
async fn settings_of_an_assistant_start_the_command_and_can_be_taken_back() {
    let cabana = CommandLine::of_service();
    let file = cabana.home().join(".cursor/mcp.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "{\n  // mine\n  \"mcpServers\": { \"other\": { \"url\": \"x\" } }\n}\n").unwrap();
    assert_eq!(cabana.run(&["connect", "cursor", "demo"]).await.code, Some(0));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("// mine") && text.contains("\"other\"") && text.contains("sbx-demo"), "{text}");
    assert!(!text.contains(&cabana_tests::Sandbox::service().1), "no key is in it");
    assert_eq!(cabana.run(&["connect", "cursor", "--undo"]).await.code, Some(0));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("// mine") && text.contains("\"other\"") && !text.contains("sbx-demo"), "{text}");
    // What is printed for Claude starts a server that answers.
    let printed: Value = cabana.run(&["connect", "claude", "--print"]).await.json();
    let server = &printed["mcpServers"]["cabana"];
    assert!(server["command"].as_str().unwrap().ends_with("cabana") && server["args"] == json!(["mcp"]), "{printed}");
    fs::write(&file, "{ broken").unwrap();
    let ran = cabana.run(&["connect", "cursor"]).await;
    assert!(ran.code == Some(125) && fs::read_to_string(&file).unwrap() == "{ broken", "{ran:?}");
}
