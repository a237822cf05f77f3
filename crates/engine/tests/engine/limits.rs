//! Limits of memory, files and processes.

use serde_json::json;

use crate::support::{Engine, required};

/// An engine whose limits hold; `None` where the machine has no cgroups.
async fn engine_with_limits() -> Option<Engine> {
    let engine = Engine::start().await;
    required("cgroups", engine.warnings().is_empty()).then_some(engine)
}

#[tokio::test]
async fn a_process_above_the_memory_limit_is_killed() {
    let Some(engine) = engine_with_limits().await else { return };
    let script = "python3 -c 'bytearray(256 << 20)'; exit $?";
    engine.run_with("small", script, json!({ "Memory": 64 << 20 })).await;
    assert_eq!(engine.code("small").await, 137);
    engine.run_with("big", script, json!({ "Memory": "1073741824" })).await;
    assert_eq!(engine.code("big").await, 0);
}

#[tokio::test]
async fn a_disk_is_full_before_memory_is_exhausted() {
    let engine = Engine::start().await;
    let script = "head -c 100000000 /dev/zero > /workspace/x 2>/dev/null || exit 28";
    engine.run_with("box", script, json!({ "Memory": 64 << 20 })).await;
    assert_eq!(engine.code("box").await, 28);
}

#[tokio::test]
async fn a_fork_above_the_process_limit_fails() {
    let Some(engine) = engine_with_limits().await else { return };
    let script = "python3 -c '
import os, signal, sys
for _ in range(100):
    try:
        if os.fork() == 0: signal.pause()
    except OSError: sys.exit(11)
'; exit $?";
    engine.run_with("few", script, json!({ "PidsLimit": 20 })).await;
    assert_eq!(engine.code("few").await, 11);
    engine.run_with("many", script, json!({})).await;
    assert_eq!(engine.code("many").await, 0);
}
