//! The Model Context Protocol, as its clients speak it.

use std::collections::BTreeSet;

use cabana_tests::{Answer, Caller, Sandbox, in_created_sandbox};
use reqwest::Method;
use serde_json::{Value, json};

use super::fresh_name;

const MODERN: &str = "2026-07-28";

/// Sends a message of the versions before 2026-07-28.
async fn legacy(caller: &Caller, route: &str, method: &str, params: Value) -> Answer {
    caller.post(route, json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })).await
}

/// Sends a message of 2026-07-28, with the headers that mirror it.
async fn modern(caller: &Caller, route: &str, method: &str, mut params: Value) -> Answer {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let request = caller.request(Method::POST, route).header("mcp-protocol-version", MODERN).header("mcp-method", method);
    let request = params["name"].as_str().into_iter().fold(request, |request, name| request.header("mcp-name", name));
    let message = json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": params });
    Answer::of(request.json(&message).send().await.unwrap()).await
}

/// The tools for one sandbox.
struct Tools<'a> {
    caller: Caller,
    sandbox: &'a Sandbox,
}

impl<'a> Tools<'a> {
    fn of(sandbox: &'a Sandbox) -> Self {
        Self { caller: Caller::operator(), sandbox }
    }

    fn route(&self) -> String {
        let url = self.sandbox.url("/mcp");
        url[url.find("/v1/").unwrap()..].to_owned()
    }

    /// Calls a tool, and returns its block of content and whether it has failed.
    async fn call(&self, name: &str, arguments: Value) -> (Value, bool) {
        let answer = legacy(&self.caller, &self.route(), "tools/call", json!({ "name": name, "arguments": arguments })).await;
        let mut result = answer.json()["result"].take();
        (result["content"][0].take(), result["isError"].as_bool().unwrap())
    }

    /// The text of a call that succeeds.
    async fn text(&self, name: &str, arguments: Value) -> String {
        let (content, failed) = self.call(name, arguments.clone()).await;
        let text = content["text"].as_str().unwrap_or_default().to_owned();
        assert!(!failed, "{name} {arguments}: {text}");
        text
    }

    /// The text of a call that fails.
    async fn error(&self, name: &str, arguments: Value) -> String {
        let (content, failed) = self.call(name, arguments.clone()).await;
        let text = content["text"].as_str().unwrap_or_default().to_owned();
        assert!(failed, "{name} {arguments}: {text}");
        text
    }
}

#[tokio::test]
async fn both_eras_are_spoken_at_one_url() {
    let caller = Caller::operator();
    for (asked, spoken) in [("2025-06-18", "2025-06-18"), ("2025-03-26", "2025-03-26"), ("1999-01-01", "2025-11-25")] {
        let params = json!({ "protocolVersion": asked, "capabilities": {}, "clientInfo": { "name": "a", "version": "1" } });
        let answer = legacy(&caller, "/mcp", "initialize", params).await.json();
        assert_eq!(answer["result"]["protocolVersion"], spoken, "{answer}");
        assert_eq!(answer["result"]["serverInfo"]["name"], "cabana");
        assert!(answer["result"].get("resultType").is_none(), "{answer}");
    }
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let accepted = caller.post("/mcp", initialized).await;
    assert_eq!((accepted.status.as_u16(), accepted.success().len()), (202, 0));
    assert_eq!(legacy(&caller, "/mcp", "ping", json!({})).await.json()["result"], json!({}));
    let discovered = modern(&caller, "/mcp", "server/discover", json!({})).await.json();
    let result = &discovered["result"];
    assert_eq!(
        (&discovered["id"], &result["supportedVersions"][0], &result["resultType"]),
        (&json!("a"), &json!(MODERN), &json!("complete"))
    );
    let tools = |answer: Value| answer["result"]["tools"].as_array().unwrap().clone();
    let listed = modern(&caller, "/mcp", "tools/list", json!({})).await.json();
    assert!(listed["result"]["ttlMs"].is_u64() && listed["result"]["cacheScope"] == "private", "{listed}");
    assert_eq!(tools(listed), tools(legacy(&caller, "/mcp", "tools/list", json!({})).await.json()));
    for (answer, status, code) in [
        (modern(&caller, "/mcp", "initialize", json!({})).await, 404, -32_601),
        (modern(&caller, "/mcp", "tools/call", json!({ "name": "none" })).await, 200, -32_602),
        (legacy(&caller, "/mcp", "resources/subscribe", json!({})).await, 200, -32_601),
        (caller.post("/mcp", json!([])).await, 400, -32_600),
        (caller.post("/mcp", json!({ "jsonrpc": "2.0", "id": 1, "method": 7 })).await, 400, -32_600),
    ] {
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (status, &json!(code)), "{}", answer.json());
    }
    for method in [Method::GET, Method::DELETE] {
        let refused = caller.ask(method, "/mcp", None).await;
        assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, Some("POST")));
    }
}

#[tokio::test]
async fn web_pages_of_other_hosts_and_callers_without_credentials_are_refused() {
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    for (origin, status) in [("https://evil.example", 403), ("http://localhost:1", 403)] {
        let request = Caller::operator().request(Method::POST, "/mcp").header("origin", origin).json(&message);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{origin}");
    }
    let nobody = Caller::nobody().post("/mcp", message).await;
    assert_eq!((nobody.status.as_u16(), nobody.header("www-authenticate")), (401, Some("Bearer")));
}

#[tokio::test]
async fn a_repository_is_changed_by_tools_alone() {
    in_created_sandbox(async |sandbox| {
        let tools = Tools::of(sandbox);
        let made = tools.text("write", json!({ "path": "src/sum.py", "content": "def add(a, b):\n    return a - b\n" })).await;
        assert_eq!(made, "made src/sum.py, 32 bytes");
        let test = "from src.sum import add\nassert add(2, 2) == 4, add(2, 2)\nprint('passed')\n";
        tools.text("write", json!({ "path": "test.py", "content": test })).await;
        let failing = tools.text("bash", json!({ "command": "python3 test.py" })).await;
        assert!(failing.contains("AssertionError: 0") && failing.contains("[exit code 1 after "), "{failing}");
        assert_eq!(tools.text("grep", json!({ "pattern": "return" })).await, "src/sum.py:2:    return a - b\n[1 lines]");
        assert_eq!(tools.text("glob", json!({ "pattern": "*.py" })).await, "src/sum.py\ntest.py\n[2 files]");
        let lines = tools.text("read", json!({ "path": "src/sum.py", "offset": 2 })).await;
        assert_eq!(lines, "    return a - b\n[lines 2 to 2, the end of the file]");
        let missed = tools.error("edit", json!({ "path": "src/sum.py", "old": "return a-b", "new": "return a + b" })).await;
        assert!(missed.starts_with("unprocessable: ") && missed.contains("closest text:"), "{missed}");
        // Of another length: Python may take a file of the same second and length for the one that it has compiled.
        let edited = tools.text("edit", json!({ "path": "src/sum.py", "old": "a - b", "new": "sum((a, b))" })).await;
        assert_eq!(edited, "replaced 1 in src/sum.py");
        let passing = tools.text("bash", json!({ "command": "python3 test.py" })).await;
        assert!(passing.starts_with("passed\n[exit code 0 after "), "{passing}");
        let patch =
            "--- a/src/sum.py\n+++ b/src/sum.py\n@@ -1,2 +1,3 @@\n def add(a, b):\n+    # Works.\n     return sum((a, b))\n";
        assert_eq!(tools.text("apply_patch", json!({ "patch": patch })).await, "modified src/sum.py\n[1 files]");
        let listed = tools.text("list", json!({ "depth": 2 })).await;
        assert!(listed.contains("src/\n") && listed.contains("src/sum.py  51\n"), "{listed}");
        assert!(tools.error("read", json!({ "path": "none" })).await.starts_with("not_found: "));
        let typo = tools.error("bash", json!({ "command": "true", "timeout": 1 })).await;
        assert!(typo.contains("did you mean `timeout_ms`?"), "{typo}");
        assert!(tools.error("write", json!({ "path": "a" })).await.contains("the field `content` is missing"));
    })
    .await;
}

#[tokio::test]
async fn what_outlasts_a_call_is_followed_by_process() {
    in_created_sandbox(async |sandbox| {
        let tools = Tools::of(sandbox);
        let command = "echo up; until [ -e go ]; do sleep 0.05; done; echo end; exit 3";
        let running = tools.text("bash", json!({ "command": command, "wait_ms": 1 })).await;
        let process = running.split("\"process\": \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
        assert!(running.contains("still running after 0.0 s"), "{running}");
        let waiting = tools.text("process", json!({ "action": "wait", "process": process, "wait_ms": 1 })).await;
        assert!(waiting.starts_with("not yet, after 1 ms\n") && waiting.contains("[running; go on with"), "{waiting}");
        sandbox.put("go", "").await.success();
        let ended = tools.text("process", json!({ "action": "wait", "process": process })).await;
        assert!(ended.starts_with("it has ended\nup\nend\n[exit code 3; go on with \"from\": 7]"), "{ended}");
        let server =
            json!({ "action": "start", "command": "read line; echo got $line; exec python3 -m http.server 3000", "name": "web" });
        assert!(tools.text("process", server.clone()).await.ends_with("runs; follow it with \"wait\" or \"logs\""));
        tools.text("process", json!({ "action": "input", "process": "web", "data": "a line\n" })).await;
        let said = tools.text("process", json!({ "action": "wait", "process": "web", "log": "got" })).await;
        assert!(said.starts_with("it has printed: got a line\n"), "{said}");
        assert!(
            tools
                .text("process", json!({ "action": "wait", "process": "web", "port": 3000 }))
                .await
                .starts_with("the port accepts")
        );
        assert!(tools.text("process", json!({ "action": "list" })).await.contains(" web  running  "));
        let url = tools.text("expose_port", json!({ "port": 3000 })).await;
        assert!(url.starts_with("port 3000 is at http") && url.ends_with("(token)"), "{url}");
        assert!(tools.text("process", json!({ "action": "signal", "process": "web" })).await.contains("cancelled"));
        assert!(tools.error("process", json!({ "action": "wait" })).await.contains("the field `process` is missing"));
        assert!(tools.error("process", json!({ "action": "logs", "process": "no" })).await.contains("\"action\": \"list\""));
    })
    .await;
}

#[tokio::test]
async fn output_is_bounded_and_images_are_shown() {
    in_created_sandbox(async |sandbox| {
        let tools = Tools::of(sandbox);
        let flood = tools.text("bash", json!({ "command": "seq 1000000" })).await;
        assert!(flood.len() < 31_000 && flood.starts_with("1\n2\n") && flood.contains("\n1000000\n["), "{} bytes", flood.len());
        assert!(flood.contains(" bytes left out]") && flood.contains("output truncated: 6888896 bytes in all"), "{flood:.100}");
        sandbox.shell("seq 30000 > numbers; printf '\\377\\376' > bytes").await;
        let read = tools.text("read", json!({ "path": "numbers" })).await;
        assert!(read.ends_with("2000\n[lines 1 to 2000; go on with \"offset\": 2001]"), "{}", &read[read.len() - 80..]);
        assert!(tools.text("read", json!({ "path": "bytes" })).await.contains("2 bytes of "));
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";
        sandbox.put("plot.png", png.as_slice()).await.success();
        let (image, failed) = tools.call("read", json!({ "path": "plot.png" })).await;
        assert_eq!((&image["type"], &image["mimeType"], failed), (&json!("image"), &json!("image/png"), false), "{image}");
    })
    .await;
}

#[tokio::test]
async fn code_keeps_its_state_and_figures_are_images() {
    in_created_sandbox(async |sandbox| {
        let tools = Tools::of(sandbox);
        let first = tools.text("run_code", json!({ "code": "x = 41\nprint('set')" })).await;
        assert!(first.starts_with("set\n[done after "), "{first}");
        assert!(tools.text("run_code", json!({ "code": "x + 1" })).await.starts_with("42\n[done after "));
        let script = tools.text("run_code", json!({ "code": "const y: number = 5; y * 2", "language": "typescript" })).await;
        assert!(script.starts_with("10\n[done after "), "{script}");
        let failed = tools.text("run_code", json!({ "code": "1 / 0" })).await;
        assert!(failed.contains("ZeroDivisionError: division by zero\n[failed after "), "{failed}");
        let endless = json!({ "code": "while True: pass", "timeout_ms": 500 });
        assert!(tools.text("run_code", endless).await.contains("[timed out and was interrupted after "));
        let code = "import matplotlib.pyplot as plt\nplt.plot([1, x])\nplt.show()";
        let (image, failed) = tools.call("run_code", json!({ "code": code })).await;
        assert_eq!((&image["type"], &image["mimeType"], failed), (&json!("image"), &json!("image/png"), false), "{image}");
        let unknown = tools.error("run_code", json!({ "code": "1", "language": "cobol" })).await;
        assert!(unknown.starts_with("unprocessable: ") && unknown.contains("cobol"), "{unknown}");
    })
    .await;
}

#[tokio::test]
async fn a_key_reaches_what_it_may_reach_and_has_a_sandbox_by_default() {
    let tenant = fresh_name("mcp");
    let owner = Caller::of_tenant(&tenant, json!({})).await;
    let call = async |caller: &Caller, name: &str, arguments: Value| {
        let answer = modern(caller, "/mcp", "tools/call", json!({ "name": name, "arguments": arguments })).await.json();
        let result = &answer["result"];
        (result["content"][0]["text"].as_str().unwrap_or_default().to_owned(), result["isError"].as_bool())
    };
    let (output, failed) = call(&owner, "bash", json!({ "command": "echo $((6 * 7)) > answer; cat answer" })).await;
    assert!(output.starts_with("42\n[exit code 0") && failed == Some(false), "{output}");
    let (listed, _) = call(&owner, "sandbox", json!({ "action": "list" })).await;
    assert_eq!(listed, "sbx-mcp  sbx  running\n[1 sandboxes]");
    let (made, _) = call(&owner, "sandbox", json!({ "action": "create", "name": "other" })).await;
    assert!(made.starts_with("sbx-other  sbx  created\n"), "{made}");
    let (missing, failed) = call(&owner, "read", json!({ "path": "a", "sandbox": "sbx-none" })).await;
    assert!(missing.contains("[make it with sandbox") && failed == Some(true), "{missing}");
    let reader = Caller::of_tenant(&tenant, json!({ "read_only": true })).await;
    let tools = modern(&reader, "/mcp", "tools/list", json!({})).await.json();
    let names: BTreeSet<_> =
        tools["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(names.contains("read") && !names.contains("bash") && !names.contains("write"), "{names:?}");
    assert_eq!(call(&reader, "bash", json!({ "command": "true" })).await.1, None, "a tool that it does not see is unknown");
    let stranger = Caller::of_tenant(&fresh_name("mcp"), json!({ "read_only": true })).await;
    let (refused, failed) = call(&stranger, "read", json!({ "path": "answer", "sandbox": "sbx-other" })).await;
    assert!(refused.starts_with("not_found: ") && failed == Some(true), "{refused}");
    for name in ["sbx-mcp", "sbx-other"] {
        assert_eq!(call(&owner, "sandbox", json!({ "action": "destroy", "sandbox": name })).await.1, Some(false));
    }
    let (gone, _) = call(&owner, "sandbox", json!({ "action": "list" })).await;
    assert_eq!(gone, "[0 sandboxes]");
}
