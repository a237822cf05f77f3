//! Memory and process limits bite, where the machine has cgroups.

use serde_json::json;

use crate::support::Engine;

/// Without cgroups an engine must at least say so.
fn without_cgroups(engine: &Engine) -> bool {
    engine.log().contains("no cgroups here")
}

#[tokio::test]
async fn memory() {
    let engine = Engine::start().await;
    let script = "python3 -c 'bytearray(256 << 20)'; exit $?";
    engine.run_with("small", script, json!({ "Memory": 64 << 20 })).await;
    let code = engine.code("small").await;
    assert!(code == 137 || without_cgroups(&engine), "exit code {code}");
    engine.run_with("big", script, json!({ "Memory": "1073741824" })).await;
    assert_eq!(engine.code("big").await, 0);
}

#[tokio::test]
async fn files_are_limited_before_memory_is() {
    let engine = Engine::start().await;
    let script = "head -c 100000000 /dev/zero > /workspace/x 2>/dev/null || exit 28";
    engine.run_with("box", script, json!({ "Memory": 64 << 20 })).await;
    assert_eq!(engine.code("box").await, 28);
}

#[tokio::test]
async fn processes() {
    let engine = Engine::start().await;
    let script = "python3 -c '
import os, sys
for _ in range(100):
    try:
        if os.fork() == 0: os.pause() if hasattr(os, \"pause\") else __import__(\"signal\").pause()
    except OSError: sys.exit(11)
'; exit $?";
    engine.run_with("few", script, json!({ "PidsLimit": 20 })).await;
    let code = engine.code("few").await;
    assert!(code == 11 || without_cgroups(&engine), "exit code {code}");
    engine.run_with("many", script, json!({})).await;
    assert_eq!(engine.code("many").await, 0);
}
