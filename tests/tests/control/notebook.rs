//! The notebook page, in Chromium.

use std::process::Stdio;

use cabana_tests::{Answer, Caller, PATIENCE, Sandbox, in_sandbox, require};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::preview::hot_reload::chromium;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[tokio::test]
async fn the_page_is_open_and_holds_no_more_than_its_policy_allows() {
    let answer = Answer::of(Caller::nobody().request(Method::GET, "/v1/sandboxes/sbx-a/notebook").send().await.unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'sha256-"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && answer.header("x-content-type-options") == Some("nosniff"));
}

mod kernels {
    use super::*;

    #[tokio::test]
    async fn a_person_runs_cells_and_sees_what_they_show() {
        let Some(chromium) = require("chromium", chromium(), "neither CABANA_TEST_CHROMIUM nor PATH has it") else { return };
        in_sandbox(async |sandbox| {
            let (_, key) = Sandbox::service();
            let browser = Command::new(format!("{ROOT}/node_modules/.bin/node"))
                .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/control/notebook.mjs"))
                .env("NOTEBOOK_URL", sandbox.url("/notebook"))
                .env("NOTEBOOK_KEY", key)
                .env("CABANA_TEST_CHROMIUM", chromium)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::inherit())
                .kill_on_drop(true)
                .output();
            let browser = tokio::time::timeout(PATIENCE, browser).await.expect("the browser is not stuck").unwrap();
            let said: Vec<Value> =
                String::from_utf8(browser.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let told =
                |name: &str| said.iter().find(|one| one["name"] == name).map(|one| one["value"].clone()).unwrap_or_default();
            let text = told("text").as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(text, "printed 42", "{said:?}");
            assert_eq!(told("table"), json!(["1", "2", "3"]));
            assert_eq!(told("plot"), json!(true));
            assert!(told("error").as_str().unwrap_or_default().contains("ZeroDivisionError"), "{said:?}");
            assert_eq!(told("answer").as_str().unwrap_or_default().trim(), "'Ada'");
            assert_eq!(told("attack"), json!(["Cabana: notebook", "", []]));
            assert_eq!(told("download"), json!("notebook.ipynb"));
            assert!(browser.status.success());
        })
        .await;
    }
}
