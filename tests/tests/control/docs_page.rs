//! `/v1/docs` in a browser, at the width of a phone and of a desktop.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio};

use cabana_protocol::table::DESCRIPTORS;
use cabana_tests::{Caller, Sandbox, require};
use reqwest::Method;
use serde_json::Value;
use tokio::process::Command;

use super::preview::chromium;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What the browser's script found, by the device; and, without one, what it copied from the page.
async fn look(chromium: PathBuf) -> BTreeMap<String, Value> {
    let (url, _) = Sandbox::service();
    let found = Command::new(format!("{ROOT}/node_modules/.bin/node"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/control/docs_page.mjs"))
        .env("DOCS_URL", format!("{url}/v1/docs"))
        .env("CABANA_TEST_CHROMIUM", chromium)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let lines = String::from_utf8(found.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["device"].as_str().unwrap_or("copied").to_owned(), line)).collect()
}

#[tokio::test]
async fn the_page_of_the_api_can_be_read_searched_and_copied_from() {
    let Some(chromium) = require("chromium", chromium(), "neither CABANA_TEST_CHROMIUM nor PATH has it") else { return };
    let found = look(chromium).await;
    for device in ["phone", "desktop"] {
        let page = &found[device];
        let shown: Vec<_> = page["operations"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert!(DESCRIPTORS.iter().all(|descriptor| shown.contains(&descriptor.name)), "{device}: {shown:?}");
        assert_eq!(shown[0], "sandbox.create", "{device}");
        assert!(shown.last().unwrap().starts_with("audit."), "{device}");
        assert_eq!((&page["closed"], &page["opened"]), (&0.into(), &0.into()), "{device}: it scrolls sideways");
        let matches = page["found"].as_array().unwrap();
        assert!(matches.contains(&"process.signal".into()) && matches.len() < shown.len(), "{device}: {matches:?}");
        assert_eq!(page["none"].as_array().unwrap().len(), 0, "{device}");
        assert_eq!(page["anchor"], true, "{device}: a link to an operation shows it below the header");
        assert_eq!(page["errors"].as_array().unwrap().len(), 0, "{device}: {}", page["errors"]);
    }
    let caller = Caller::of_tenant(&super::fresh_name("docs"), serde_json::json!({})).await;
    let created = found["copied"]["create"].as_str().unwrap();
    let made = caller.ask(Method::POST, "/v1/sandboxes", serde_json::from_str(created).unwrap()).await;
    assert_eq!(made.status, 201, "{created}: {}", made.json());
    let route = format!("/v1/sandboxes/{}", made.json()["id"].as_str().unwrap());
    caller.ask(Method::DELETE, &route, None).await.success();
}
