//! Sandboxes of projects: cloned, set up, and resumed after a failure.
//!
//! Locally a sandbox has no network but its own loopback. So the repository is served inside the sandbox, which is there first and joins
//! the project then.

use cabana_tests::{NDJSON, SSE, Sandbox, until};
use reqwest::{Client, Method, StatusCode, header};
use serde_json::{Value, json};

use super::{code, create, destroy, exec, fresh_name, request};

/// A git server, which prints its port.
const SERVER: &str = include_str!("../git/server.py");

/// A sandbox with a repository of one commit in it, and the project of the same name that it is to be made ready for.
struct Case {
    name: String,
    id: String,
    url: String,
}

impl Case {
    /// Begins one whose project has this script.
    async fn new(case: &str, setup: &str) -> Self {
        let name = fresh_name(case);
        let id = create(json!({ "name": name })).await.1["id"].as_str().unwrap().to_owned();
        let url = serve(&id).await;
        define(&name, &url, setup).await;
        Self { name, id, url }
    }

    fn wanted(&self) -> Value {
        json!({ "name": self.name, "project": self.name })
    }

    async fn setup(&self) -> Value {
        request(Method::GET, &format!("/v1/sandboxes/{}", self.id), None).await.1["setup"].clone()
    }

    async fn shell(&self, command: &str) -> String {
        exec(&self.id, command).await.1["stdout"].as_str().unwrap().to_owned()
    }

    async fn end(self) {
        request(Method::DELETE, &format!("/v1/projects/{}", self.name), None).await;
        destroy(&self.id).await;
    }
}

/// Serves a repository `project.git`, of one commit, inside a sandbox, and tells its URL.
async fn serve(id: &str) -> String {
    let seed = "set -e; cd /tmp; mkdir served; git init -q -b main seed; cd seed; echo one > file; git add file; \
                git -c user.name=Ada -c user.email=ada@example.com commit -qm one; cd ..; git clone -q --bare seed served/project.git";
    let (status, body) = exec(id, &format!("cat > /tmp/server.py <<'END'\n{SERVER}\nEND\n{seed}")).await;
    assert_eq!((status, &body["exit"]["code"]), (StatusCode::OK, &json!(0)), "{body}");
    let server = json!({ "command": ["python3", "/tmp/server.py", "/tmp/served"], "detach": true, "name": "git-server" });
    request(Method::POST, &format!("/v1/sandboxes/{id}/exec"), Some(server)).await;
    let wait = json!({ "process": "git-server", "until": { "regex": "^port [0-9]+$" }, "timeout_ms": 30_000 });
    let (status, waited) = request(Method::POST, &format!("/v1/sandboxes/{id}/process/wait"), Some(wait)).await;
    assert_eq!(status, StatusCode::OK, "{waited}");
    let port = waited["line"].as_str().unwrap().trim_start_matches("port ");
    format!("http://127.0.0.1:{port}/project.git")
}

async fn define(name: &str, url: &str, setup: &str) {
    let project = json!({ "name": name, "url": url, "setup": setup, "path": "web", "env": { "GREETING": "hello" } });
    let (status, body) = request(Method::POST, "/v1/projects", Some(project)).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
}

/// Asks for a sandbox in a form, and returns the whole answer; empty where it broke off.
async fn ask(accept: &'static str, body: Value) -> String {
    let (url, key) = Sandbox::service();
    let request = Client::new().post(format!("{url}/v1/sandboxes")).bearer_auth(key).json(&body);
    request.header(header::ACCEPT, accept).send().await.unwrap().text().await.unwrap_or_default()
}

/// The lines of a creation that tells how it goes.
async fn watch(body: Value) -> Vec<Value> {
    let text = ask(NDJSON, body).await;
    text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_failed_setup_resumes_where_it_failed() {
    let case = Case::new("setup", "echo $GREETING >> ../ran; test -f ../allowed").await;
    let (status, failed) = create(case.wanted()).await;
    assert_eq!((status, code(&failed)), (StatusCode::UNPROCESSABLE_ENTITY, "unprocessable"), "{failed}");
    assert_eq!(failed["error"]["details"]["exit"]["code"], 1, "{failed}");
    let setup = case.setup().await;
    assert_eq!((&setup["state"], &setup["error"]["code"]), (&json!("failed"), &json!("unprocessable")), "{setup}");
    assert_eq!(case.shell("cat web/file ran; touch allowed").await, "one\nhello\n");

    let lines = watch(case.wanted()).await;
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], kinds[kinds.len() - 1]), ("created", "result"), "{lines:?}");
    assert!(kinds.contains(&"setup") && !kinds.contains(&"clone"), "the clone was done: {lines:?}");
    assert_eq!(lines[lines.len() - 1]["setup"]["state"], "done", "{lines:?}");
    let (status, done) = create(case.wanted()).await;
    assert_eq!((status, &done["setup"]["state"]), (StatusCode::OK, &json!("done")), "{done}");
    assert_eq!(case.shell("cat ran").await, "hello\nhello\n", "what is done is not done again");

    until("it is listed with its project", async || {
        let listed = request(Method::GET, &format!("/v1/sandboxes?project={}", case.name), None).await.1;
        listed["items"][0]["setup"]["state"] == "done"
    })
    .await;
    let other = format!("{}-other", case.name);
    define(&other, &case.url, "true").await;
    let another = json!({ "name": case.name, "project": other });
    assert_eq!(code(&create(another).await.1), "conflict", "it belongs to one project");
    for project in [&case.name, &other] {
        request(Method::DELETE, &format!("/v1/projects/{project}"), None).await;
    }
    assert_eq!(case.setup().await["state"], "done", "a project's sandboxes outlive it");
    case.end().await;
}

#[tokio::test]
async fn a_setup_streams_its_progress_and_runs_once() {
    let case = Case::new("told", "cat ../go; for i in 1 2 3; do echo $i; done").await;
    case.shell("mkfifo go").await;
    let (lines, other) = tokio::join!(watch(case.wanted()), async {
        until("the script runs", async || case.setup().await["state"] == "running").await;
        let other = create(case.wanted()).await.1;
        case.shell("echo go > go").await;
        other
    });
    assert_eq!(code(&other), "conflict", "{other}");
    assert_eq!(lines[lines.len() - 1]["type"], "result", "{lines:?}");
    let output: String = lines.iter().filter_map(|line| line["event"]["bytes"].as_str()).collect();
    assert_eq!(output, "go\n1\n2\n3\n", "{lines:?}");
    until("the audit tells of it", async || {
        let route = format!("/v1/sandboxes/{}/audit?operation=sandbox.setup&outcome=finished", case.id);
        let entries = request(Method::GET, &route, None).await.1["items"].clone();
        entries.as_array().is_some_and(|entries| entries.len() == 1) && entries[0]["agent_summary"] == case.name
    })
    .await;
    case.end().await;
}

#[tokio::test]
async fn an_interrupted_setup_is_resumed_by_the_next_request() {
    for accept in ["application/json", NDJSON, SSE] {
        let case = Case::new("left", "echo ran >> ../ran; test -f ../allowed || sleep 3596.75").await;
        let asked = tokio::spawn(ask(accept, case.wanted()));
        until("the script runs", async || case.shell("cat ran 2> /dev/null; true").await == "ran\n").await;
        asked.abort();
        until("it is told", async || case.setup().await["error"]["code"] == "interrupted").await;
        until("the script has ended", async || case.shell("pgrep -f '[s]leep 3596.75'; true").await.is_empty()).await;
        case.shell("touch allowed").await;
        assert_eq!(create(case.wanted()).await.1["setup"]["state"], "done", "{accept}");
        assert_eq!(case.shell("cat ran").await, "ran\nran\n");
        case.end().await;
    }
}

#[tokio::test]
async fn a_stop_interrupts_the_setup_and_keeps_it_with_the_files() {
    let case = Case::new("ended", "sleep 3595.75").await;
    let (lines, ()) = tokio::join!(watch(case.wanted()), async {
        until("the script runs", async || case.setup().await["state"] == "running").await;
        request(Method::POST, &format!("/v1/sandboxes/{}/stop", case.id), None).await;
    });
    let last = &lines[lines.len() - 1];
    assert_eq!((&last["type"], &last["code"]), (&json!("error"), &json!("interrupted")), "{lines:?}");
    assert_eq!(case.setup().await["state"], "failed");
    assert_ne!(case.shell("ls").await, "", "the clone is kept with the files");
    assert_eq!(case.setup().await["state"], "failed");
    case.end().await;
}

#[tokio::test]
async fn a_recreated_sandbox_is_set_up_from_scratch() {
    let case = Case::new("anew", "sleep 3594.75").await;
    let (lines, ()) = tokio::join!(watch(case.wanted()), async {
        until("the script runs", async || case.setup().await["state"] == "running").await;
        destroy(&case.id).await;
        let (status, made) = create(json!({ "name": case.name })).await;
        assert_eq!((status, &made["setup"]), (StatusCode::CREATED, &Value::Null), "{made}");
    });
    assert_eq!(lines[lines.len() - 1]["type"], "error", "{lines:?}");
    assert_eq!(case.setup().await, Value::Null);
    case.end().await;
}

#[tokio::test]
async fn a_missing_repository_is_reported_by_the_sandbox() {
    let name = fresh_name("nowhere");
    define(&name, "http://127.0.0.1:9/project.git", "true").await;
    let lines = watch(json!({ "name": name, "project": name })).await;
    let last = &lines[lines.len() - 1];
    assert_eq!((&lines[0]["type"], &last["type"]), (&json!("created"), &json!("error")), "{lines:?}");
    let id = format!("sbx-{name}");
    let shown = request(Method::GET, &format!("/v1/sandboxes/{id}"), None).await.1;
    assert_eq!((&shown["setup"]["state"], &shown["setup"]["error"]["code"]), (&json!("failed"), &last["code"]), "{shown}");
    assert_eq!(exec(&id, "echo $GREETING").await.1["stdout"], "hello\n", "it has the project's variables");
    destroy(&id).await;
    request(Method::DELETE, &format!("/v1/projects/{name}"), None).await;
    assert_eq!(code(&create(json!({ "project": name })).await.1), "not_found");
}
