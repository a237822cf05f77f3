use cabana_tests::{Sandbox, Socket};
use futures_util::{StreamExt, stream};
use reqwest::{Body, Client};

use super::*;
use crate::control::code;

#[tokio::test]
async fn it_sleeps_by_itself_and_wakes_on_use() {
    let sandbox = Named::new("sleeps", json!({ "sleep_after_ms": 1_500 })).await;
    sandbox.print("true").await;
    let up = sandbox.show().await;
    assert_eq!((&up["state"], &up["starts"]), (&json!("running"), &json!(1)));
    assert!(up["sleeps_at"].as_str() > up["since"].as_str(), "{up}");
    let down = sandbox.until("sleeping").await;
    assert_eq!((&down["state_reason"]["code"], &down["sleeps_at"]), (&json!("idle"), &Value::Null), "{down}");
    assert_eq!(sandbox.print("echo again").await, "again\n");
    let up = sandbox.show().await;
    assert_eq!((&up["state_reason"]["code"], &up["starts"], &up["last_failure"]), (&json!("woken"), &json!(2), &Value::Null));
    sandbox.end().await;
}

#[tokio::test]
async fn what_is_under_way_keeps_it_awake() {
    let sandbox = Named::new("busy", json!({ "sleep_after_ms": 1_000 })).await;
    let (url, key) = Sandbox::service();
    let base = format!("{url}/v1/sandboxes/{}", sandbox.id);
    assert_eq!(sandbox.print("sleep 4; echo said nothing for long").await, "said nothing for long\n");

    let quiet = Client::new().post(format!("{base}/exec")).bearer_auth(&key).header("accept", "application/x-ndjson");
    let said = quiet.json(&json!({ "command": "sleep 4; echo x" })).send().await.unwrap().text().await.unwrap();
    assert!(said.contains(r#""bytes":"x\n""#) && said.contains(r#""type":"result""#), "{said}");

    let pieces = stream::iter(0..20).then(async |_| {
        pause(200).await;
        Ok::<_, std::io::Error>("piece\n")
    });
    let upload = Client::new().put(format!("{base}/files?path=slow")).bearer_auth(&key).body(Body::wrap_stream(pieces));
    assert!(upload.send().await.unwrap().status().is_success());
    assert_eq!(sandbox.print("wc -l < slow").await, "20\n");

    let mut socket = Socket::open(&format!("{base}/connect"), &[("authorization", format!("Bearer {key}"))]).await.unwrap();
    assert_eq!(socket.next().await["type"], "ready");
    socket.send("exec", "1", json!({ "command": "sleep 4" })).await;
    assert_eq!(socket.wait_for("result", "1").await["exit"]["code"], 0);

    assert_eq!(sandbox.show().await["starts"], 1, "it was up all the time");
    // The socket is still open, and a detached process runs: neither keeps it awake.
    let (_, detached) = sandbox.call(Method::POST, "/exec", Some(json!({ "command": "sleep 1000", "detach": true }))).await;
    assert!(detached["process"].is_string(), "{detached}");
    assert_eq!(sandbox.until("sleeping").await["state_reason"]["code"], "idle");
    drop(socket);
    sandbox.end().await;
}

#[tokio::test]
async fn a_visit_keeps_it_awake_to_the_last_byte() {
    let sandbox = Named::new("visit", json!({ "sleep_after_ms": 1_000 })).await;
    let server = r#"
import http.server, time
class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        for number in range(20):
            self.wfile.write(b"piece\n")
            self.wfile.flush()
            time.sleep(0.2)
http.server.ThreadingHTTPServer(("127.0.0.1", 8123), Slow).serve_forever()
"#;
    let (_, started) =
        sandbox.call(Method::POST, "/exec", Some(json!({ "command": ["python3", "-c", server], "detach": true }))).await;
    let port = json!({ "process": started["process"], "until": { "port": { "port": 8123 } } });
    assert_eq!(sandbox.call(Method::POST, "/process/wait", Some(port)).await.0, StatusCode::OK);
    let (url, key) = Sandbox::service();
    let visit = Client::new().get(format!("{url}/v1/sandboxes/{}/ports/8123/proxy/", sandbox.id)).bearer_auth(key);
    assert_eq!(visit.send().await.unwrap().text().await.unwrap(), "piece\n".repeat(20));
    assert_eq!(sandbox.show().await["starts"], 1, "it was up all the time");
    sandbox.until("sleeping").await;
    sandbox.end().await;
}

#[tokio::test]
async fn looking_neither_wakes_it_nor_keeps_it_awake() {
    let sandbox = Named::new("looked-at", json!({ "sleep_after_ms": 1_000 })).await;
    let look = async |name: &str| {
        let (status, body) = sandbox.call(Method::POST, &format!("/{name}"), Some(json!({}))).await;
        assert_eq!(status, StatusCode::OK, "{name}: {body}");
        body
    };
    let asleep = [
        ("process/list", json!({ "processes": [] })),
        ("session/list", json!({ "sessions": [] })),
        ("port/list", json!({ "ports": [] })),
    ];
    for (name, answer) in &asleep {
        assert_eq!(look(name).await, *answer);
    }
    assert_eq!((&look("system/stats").await["processes"], &sandbox.show().await["state"]), (&json!(0), &json!("created")));
    sandbox.print("true").await;
    assert!(look("system/stats").await["processes"].as_u64() > Some(0));
    while sandbox.show().await["state"] != "sleeping" {
        look("process/list").await;
        pause(50).await;
    }
    for (name, answer) in &asleep {
        assert_eq!(look(name).await, *answer);
    }
    assert_eq!(sandbox.show().await["starts"], 1);
    sandbox.end().await;
}

#[tokio::test]
async fn it_stays_up_while_it_is_kept_alive_and_no_longer() {
    let sandbox = Named::new("alive", json!({ "sleep_after_ms": 1_000, "keep_alive": true })).await;
    sandbox.print("true").await;
    pause(4_000).await;
    let shown = sandbox.show().await;
    assert_eq!((&shown["state"], &shown["sleeps_at"], &shown["keep_alive"]), (&json!("running"), &Value::Null, &json!(true)));
    sandbox.change(json!({ "keep_alive": null })).await;
    sandbox.until("sleeping").await;
    sandbox.end().await;
}

#[tokio::test]
async fn its_settings_change_and_what_is_set_again_changes_nothing() {
    let sandbox = Named::new("settings", json!({ "env": { "A": "1", "B": "1" } })).await;
    let default = sandbox.show().await["sleep_after_ms"].clone();
    sandbox.print("true").await;
    let before = sandbox.change(json!({ "sleep_after_ms": 3_000, "max_lifetime_ms": 900_000 })).await;
    pause(1_000).await;
    let after = sandbox.change(json!({ "sleep_after_ms": 3_000, "max_lifetime_ms": 900_000, "keep_alive": false })).await;
    for field in ["sleep_after_ms", "sleeps_at", "expires_at", "since", "keep_alive", "max_lifetime_ms"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    let reset = sandbox.change(json!({ "sleep_after_ms": null, "max_lifetime_ms": null, "env": { "A": "2" } })).await;
    assert_eq!((&reset["sleep_after_ms"], &reset["expires_at"]), (&default, &Value::Null));
    assert_eq!(sandbox.print("echo $A$B").await, "11\n", "variables hold from the next start on");
    assert_eq!(sandbox.call(Method::POST, "/restart", None).await.0, StatusCode::OK);
    assert_eq!(sandbox.print("echo $A$B").await, "2\n");
    for bad in
        [json!({ "sleep_after_ms": 5 }), json!({ "keep_alive": 1 }), json!({ "env": { "CABANA_USER": "root" } }), json!([])]
    {
        assert_eq!(code(&sandbox.call(Method::PATCH, "", Some(bad.clone())).await.1), "invalid_request", "{bad}");
    }
    sandbox.end().await;
}

#[tokio::test]
async fn its_lifetime_ends_whatever_runs_in_it() {
    let sandbox = Named::new("mortal", json!({ "max_lifetime_ms": 3_000, "keep_alive": true })).await;
    let (status, cut) = sandbox.run("sleep 600").await;
    let ended = cut["error"]["code"] == "interrupted" || (status == StatusCode::OK && cut["exit"]["reason"] != "exited");
    assert!(ended, "{status} {cut}");
    let shown = sandbox.until("destroyed").await;
    assert_eq!(shown["state_reason"]["code"], "expired");
    let (status, refused) = sandbox.run("true").await;
    assert_eq!((status, code(&refused)), (StatusCode::GONE, "gone"));
    assert_eq!(refused["error"]["details"]["reason"]["code"], "expired");
    let name = sandbox.id.strip_prefix("sbx-").unwrap();
    assert_eq!(create(json!({ "name": name })).await.0, StatusCode::CREATED, "the name is free again");
    assert_eq!(sandbox.print("echo new").await, "new\n");
    sandbox.end().await;
}

#[tokio::test]
async fn an_idle_sandbox_is_woken_by_nothing_but_its_deadlines() {
    let sandbox = Named::new("idle", json!({ "sleep_after_ms": 40_000 })).await;
    sandbox.print("true").await;
    let before = sandbox.show().await["wakeups"].clone();
    // The object leaves memory meanwhile, while its container runs.
    pause(15_000).await;
    let after = sandbox.show().await;
    assert_eq!((&after["state"], &after["wakeups"]["alarms"]), (&json!("running"), &json!(0)));
    let loads = |wakeups: &Value| wakeups["loads"].as_u64().unwrap();
    let loaded = loads(&after["wakeups"]) - loads(&before);
    assert!(loaded <= 1, "but for our own look: {loaded}");
    eprintln!("the object left memory while its container ran: {}", loaded == 1);
    assert_eq!(sandbox.print("echo $PPID > up; echo still there").await, "still there\n");
    assert_eq!(sandbox.show().await["starts"], 1);
    sandbox.end().await;
}
