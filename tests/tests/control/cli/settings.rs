//! How the command finds the service.

use std::fs;

use cabana_tests::{CommandLine, Sandbox};
use serde_json::json;

#[tokio::test]
async fn a_service_of_this_machine_is_found_without_any_setting() {
    let (url, api_key) = Sandbox::service();
    let cabana = CommandLine::untold();
    let ran = cabana.run(&["ls", "-q"]).await;
    assert!(ran.code == Some(125) && ran.stderr.contains("no service is known"), "{ran:?}");
    let announced = cabana.home().join(".cache/cabana/dev");
    fs::create_dir_all(&announced).unwrap();
    let announcement = json!({ "url": url, "api_key": api_key, "process": std::process::id(), "root": "/", "ready_at_ms": 1 });
    fs::write(announced.join("1.json"), announcement.to_string()).unwrap();
    cabana.run(&["ls", "-q"]).await.text();
    cabana.run(&["--profile", "dev", "ls", "-q"]).await.text();
}

#[tokio::test]
async fn a_profile_names_a_service() {
    let (url, api_key) = Sandbox::service();
    let cabana = CommandLine::untold();
    let directory = cabana.home().join(".config/cabana");
    fs::create_dir_all(&directory).unwrap();
    let text = format!("default = \"work\"\n[profiles.work]\nurl = \"{url}\"\napi_key = \"{api_key}\"\n");
    fs::write(directory.join("config.toml"), text).unwrap();
    cabana.run(&["ls", "-q"]).await.text();
    let ran = cabana.run(&["--profile", "home", "ls"]).await;
    assert!(ran.code == Some(125) && ran.stderr.contains("there are work"), "{ran:?}");
    fs::write(directory.join("config.toml"), format!("[profiles.work]\nurl = {api_key}\n")).unwrap();
    let ran = cabana.run(&["ls"]).await;
    assert!(ran.code == Some(125) && ran.stderr.contains("line 2") && !ran.stderr.contains(&api_key), "{ran:?}");
}
