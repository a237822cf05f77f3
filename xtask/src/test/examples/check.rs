//! What each example is asked, and what its page says that it answers.

use super::git_server::GitServer;
use super::model::Model;
use super::site::Site;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// The first host of the internet of tests stands for the model's. The agent asks the model, and shows the key that it was given. wrangler would
/// put its own variables in place of a `$`.
pub(super) const AGENT_VARIABLES: &str = r#"MODEL_HOST=s1.cabana.test
ANTHROPIC_API_KEY=the-key-of-the-model
CABANA_NETWORK_SECRETS='{"anthropic":{"variable":"ANTHROPIC_API_KEY","hosts":["s1.cabana.test"]}}'
AGENT_COMMAND='set -e; curl -fsS https://s1.cabana.test/v1/messages --data "\$TASK" >> README; echo "\$ANTHROPIC_API_KEY" > key'
"#;

pub(super) fn hello(site: &Site) -> Result<()> {
    for _ in 0..2 {
        let answer = site.get("/")?;
        ensure!((answer.status, answer.text()) == (200, "4\n".to_owned()), "{answer:?} {}", answer.text());
    }
    Ok(())
}

pub(super) fn run_code(site: &Site) -> Result<()> {
    for (snippet, exit, stdout) in [
        ("print(sum(range(10)))", json!({ "type": "exited", "code": 0 }), "45\n"),
        ("import sys; print('out'); sys.exit(3)", json!({ "type": "exited", "code": 3 }), "out\n"),
        // Nothing is left of the snippet before.
        ("import os; print(os.listdir()); open('left', 'w')", json!({ "type": "exited", "code": 0 }), "[]\n"),
        ("import os; print(os.listdir())", json!({ "type": "exited", "code": 0 }), "[]\n"),
    ] {
        let answer = site.post("/", snippet)?.json()?;
        ensure!((&answer["exit"], &answer["stdout"]) == (&exit, &json!(stdout)), "{snippet}: {answer}");
    }
    let large = site.post("/", vec![b'#'; 65 << 10])?;
    ensure!(large.status == 413 && large.json()?["error"]["code"] == "payload_too_large", "{}", large.text());
    Ok(())
}

pub(super) fn previews(site: &Site) -> Result<()> {
    let mut locations = Vec::new();
    for (path, id) in [("/ada", "sbx-ada"), ("/ada", "sbx-ada"), ("/", "sbx-demo")] {
        let answer = site.get(path)?;
        let location = answer.location.clone().with_context(|| format!("{}: {}", answer.status, answer.text()))?;
        let host = location.strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).context("the preview's URL")?;
        ensure!(answer.status == 303 && host.starts_with(&format!("3000-{id}-")), "{location}");
        let page = site.send("GET", Some(host), "/", b"")?;
        ensure!((page.status, page.text()) == (200, format!("<h1>Hello from {id}</h1>\n")), "{}: {}", page.status, page.text());
        locations.push(location);
    }
    ensure!(locations[0] == locations[1], "a URL stays: {locations:?}");
    let stranger = format!("3000-sbx-ada-aaaaaaaaaaaaaaaa.localhost:{}", site.port()?);
    let refused = site.send("GET", Some(&stranger), "/", b"")?;
    ensure!(refused.status == 404, "{}: {}", refused.status, refused.text());
    Ok(())
}

pub(super) fn two_kinds(site: &Site) -> Result<()> {
    let answer = site.post("/", "apples,2\npears,3\napples,1.5\n")?;
    ensure!((answer.status, answer.text()) == (200, "- apples: 3.50\n- pears: 3.00\n".to_owned()), "{}", answer.text());
    let odd = site.post("/", "apples\n")?;
    let error = odd.json()?;
    let message = error["error"]["message"].as_str().unwrap_or_default();
    ensure!(odd.status == 422 && message.starts_with("python-data: "), "{error}");
    Ok(())
}

pub(super) fn chat_sessions(site: &Site) -> Result<()> {
    let stdout = |path: &str, command: &str| -> Result<Value> { Ok(site.post(path, command)?.json()?["stdout"].clone()) };
    stdout("/ada/first", "mkdir -p app && cd app && export COLOR=red && echo made > file")?;
    for (path, command, expected) in [
        ("/ada/first", "pwd; echo $COLOR; cat file", "/workspace/app\nred\nmade\n"),
        ("/ada/second", "pwd; echo \"[$COLOR]\"; cat app/file", "/workspace\n[]\nmade\n"),
        ("/bob/first", "pwd; ls", "/workspace\n"),
    ] {
        let told = stdout(path, command)?;
        ensure!(told == expected, "{path}: {command}: {told}");
    }
    // Somebody ends the shell: the next command gets a new one, in the same files.
    stdout("/ada/first", "exit")?;
    let told = stdout("/ada/first", "pwd; echo \"[$COLOR]\"; cat app/file")?;
    ensure!(told == "/workspace\n[]\nmade\n", "{told}");
    for _ in 0..2 {
        let ended = site.send("DELETE", None, "/ada/second", b"")?;
        ensure!(ended.status == 204, "{}: {}", ended.status, ended.text());
    }
    Ok(())
}

pub(super) fn ci(site: &Site) -> Result<()> {
    let server = GitServer::start(site)?;
    let job = |build: &str| json!({ "repository": server.url(), "build": build, "output": "dist" }).to_string();
    let built =
        site.post("/", job("export DIST=dist; mkdir $DIST && wc -w < README > $DIST/size.txt; echo built >&2"))?.json()?;
    ensure!((&built["exit"], &built["log"]) == (&json!("exited with code 0"), &json!("built\n")), "{built}");
    let artifact = site.get(built["artifact"].as_str().with_context(|| built.to_string())?)?;
    // gzip's mark.
    ensure!(artifact.status == 200 && artifact.body.starts_with(&[0x1f, 0x8b]), "{}: {}", artifact.status, artifact.text());
    let failed = site.post("/", job("echo no; exit 3"))?.json()?;
    ensure!((&failed["exit"], &failed["artifact"]) == (&json!("exited with code 3"), &Value::Null), "{failed}");
    let missing = json!({ "repository": server.url().replace("project", "other"), "build": "true", "output": "." });
    let refused = site.post("/", missing.to_string())?;
    ensure!(refused.status == 404, "{}: {}", refused.status, refused.text());
    ensure!(site.get("/nothing")?.status == 404, "there is no such artifact");
    Ok(())
}

pub(super) fn coding_agent(site: &Site) -> Result<()> {
    let server = GitServer::start(site)?;
    let _model = Model::start(site)?;
    let answer = site.post("/", json!({ "repository": server.url(), "task": "Say hello to Ada" }).to_string())?;
    let diff = answer.text();
    ensure!(answer.status == 200, "{}: {diff}", answer.status);
    // The model has seen the key, and the sandbox has not.
    for line in ["+with the key: Say hello to Ada", "+outside-the-sandbox"] {
        ensure!(diff.lines().any(|told| told == line), "{line}: {diff}");
    }
    ensure!(!diff.contains("the-key-of-the-model"), "{diff}");
    Ok(())
}

/// All of them, even when one fails.
pub(super) fn library_cases(site: &Site) -> Result<()> {
    let cases: Vec<String> = serde_json::from_value(site.get("/")?.json()?)?;
    ensure!(!cases.is_empty(), "there are no cases");
    let mut failures = Vec::new();
    for case in cases {
        let answer = site.get(&format!("/{case}"))?;
        if answer.status != 200 {
            failures.push(format!("{case}: {}: {}", answer.status, answer.text()));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}
