//! A real web application: Vite's development server in a sandbox, its page in Chromium, and a change that shows without a reload.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use cabana_tests::{PATIENCE, Sandbox, in_sandbox, require};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{ChildStdout, Command},
};

use super::{expose, send};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The application: a page whose only text comes from a module that takes its own changes.
const FILES: [(&str, &str); 3] = [
    ("index.html", "<!doctype html><div id=\"text\"></div><script type=\"module\" src=\"/main.js\"></script>"),
    (
        "main.js",
        "import { text } from \"./text.js\";\nconst show = (text) => { document.getElementById(\"text\").textContent = text; };\nshow(text);\n\
         import.meta.hot.accept(\"./text.js\", (changed) => show(changed.text));\n",
    ),
    ("text.js", "export const text = \"before\";\n"),
];

/// The packages that Vite needs, itself included, as far as they are there: some are for other systems.
fn packages() -> BTreeSet<String> {
    let lock: Value = serde_json::from_str(&fs::read_to_string(Path::new(ROOT).join("package-lock.json")).unwrap()).unwrap();
    let mut found = BTreeSet::new();
    let mut wanted = vec!["vite".to_owned()];
    while let Some(name) = wanted.pop() {
        let path = format!("node_modules/{name}");
        if Path::new(ROOT).join(&path).exists() && found.insert(path.clone()) {
            for kind in ["dependencies", "optionalDependencies"] {
                wanted.extend(lock["packages"][&path][kind].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
            }
        }
    }
    found
}

/// Sends Vite in, with a Node to run it, and the application.
async fn install(sandbox: &Sandbox) {
    let modules = packages();
    // The Node of the repository may be the only one that is new enough.
    let archive =
        Command::new("tar").args(["-C", ROOT, "-c"]).args(&modules).arg("node_modules/node/bin").output().await.unwrap();
    assert!(archive.status.success(), "{}", String::from_utf8_lossy(&archive.stderr));
    send(sandbox.request(Method::PUT, "/archive").query(&[("path", "app")]).body(archive.stdout)).await.success();
    for (name, content) in FILES {
        sandbox.put(&format!("app/{name}"), content).await.success();
    }
}

/// The browser: the one that `CABANA_TEST_CHROMIUM` names, or the first of its usual names on the path.
pub(crate) fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("CABANA_TEST_CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|directory| ["chromium", "chromium-browser", "google-chrome"].map(|name| directory.join(name)));
    named.into_iter().chain(found).find(|program| program.is_file())
}

async fn serve(sandbox: &Sandbox) {
    let vite = "exec node_modules/node/bin/node node_modules/vite/bin/vite.js --host 127.0.0.1 --port 5173 --strictPort";
    sandbox.exec(json!({ "command": vite, "cwd": "app", "detach": true, "name": "vite" })).await;
    let up = json!({ "process": "vite", "until": { "port": 5173 }, "timeout_ms": 60_000 });
    let waited = sandbox.post("process.wait", up).await.json();
    let logs = sandbox.post("process.logs", json!({ "process": "vite" })).await.json();
    assert_eq!(waited["type"], "listening", "{logs}");
}

/// What the browser's script has to say next.
async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("the browser is not stuck");
    line.unwrap().unwrap_or_else(|| "nothing more".to_owned())
}

#[tokio::test]
async fn a_changed_source_file_is_hot_reloaded_in_the_browser() {
    let Some(chromium) = require("chromium", chromium(), "neither CABANA_TEST_CHROMIUM nor PATH has it") else { return };
    in_sandbox(async |sandbox| {
        install(sandbox).await;
        serve(sandbox).await;
        let (_, key) = Sandbox::service();
        for (access, query) in [("token", String::new()), ("private", format!("?token={key}"))] {
            let made = expose(sandbox, json!({ "port": 5173, "access": access })).await;
            let url = OsString::from(format!("{}{query}", made["url"].as_str().unwrap()));
            let mut browser = Command::new(format!("{ROOT}/node_modules/.bin/node"))
                .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/control/preview/hot_reload.mjs"))
                .envs([("PREVIEW_URL", url.as_os_str()), ("CABANA_TEST_CHROMIUM", chromium.as_os_str())])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(browser.stdout.take().unwrap()).lines();
            assert_eq!(next(&mut lines).await, "the page says before", "{access}");
            let edit = |old: &str, new: &str| json!({ "path": "app/text.js", "edits": [{ "old": old, "new": new }] });
            sandbox.post("file.edit", edit("before", "after")).await.success();
            assert_eq!(next(&mut lines).await, "the page says after", "{access}");
            assert_eq!(next(&mut lines).await, "it was not reloaded", "{access}");
            assert_eq!(next(&mut lines).await, "ten reloads met no failure", "{access}");
            assert!(browser.wait().await.unwrap().success());
            sandbox.post("file.edit", edit("after", "before")).await.success();
        }
    })
    .await;
}
