//! What the agent keeps of a request that has started a process.

use cabana_protocol::exec::Exit;
use cabana_tests::in_agent;
use serde_json::json;

#[tokio::test]
async fn the_input_of_ended_processes_takes_no_memory() {
    in_agent(&[], async |sandbox| {
        const INPUT_BYTES: usize = 8 << 20;
        for number in 0..24 {
            let request = json!({
                "command": "head -c 1000 > /dev/null",
                "stdin": "x".repeat(INPUT_BYTES),
                "detach": true,
                "name": format!("process-{number}"),
            });
            let process = sandbox.exec(request).await.result.process;
            sandbox.post("process.wait", json!({ "process": process, "until": "exit" })).await;
        }
        let kept = sandbox.memory_kib().await << 10;
        assert!(kept < 12 * INPUT_BYTES as u64, "{kept} bytes are resident");
    })
    .await;
}

#[tokio::test]
async fn a_named_process_is_found_again_after_its_program_and_directory_are_gone() {
    in_agent(&[], async |sandbox| {
        sandbox.shell("mkdir gone; cp /bin/sleep gone/program").await;
        let request = json!({ "command": ["./program", "3600"], "cwd": "gone", "detach": true, "name": "server" });
        let first = sandbox.exec(request.clone()).await.result.process;
        sandbox.shell("rm -r gone").await;
        let again = sandbox.exec(request.clone()).await.result;
        assert_eq!((again.process, again.exit), (first, None::<Exit>));
        let mut other = request;
        other["timeout_ms"] = json!(1_000_000);
        assert_eq!(sandbox.post("exec", other).await.code(), "conflict");
    })
    .await;
}

#[tokio::test]
async fn operations_of_git_are_not_listed() {
    in_agent(&[], async |sandbox| {
        sandbox.shell("git init -q repository").await;
        let (statuses, lists) = (0..20, 0..40);
        let status = async |_| sandbox.post("git.status", json!({ "path": "repository" })).await.status;
        let list = async |_| sandbox.post("process.list", json!({})).await.json()["items"].as_array().unwrap().clone();
        let run = futures_util::future::join_all(statuses.map(status));
        let seen = futures_util::future::join_all(lists.map(list));
        let (statuses, seen) = futures_util::future::join(run, seen).await;
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        assert_eq!(seen.concat(), [json!(null); 0]);
    })
    .await;
}
