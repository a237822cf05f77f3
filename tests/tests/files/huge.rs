//! Directories of very many entries, in little memory.

use cabana_tests::in_agent_by;
use serde_json::{Value, json};

use super::on_disk;

/// A root in memory, where many files are quickly made.
const IN_MEMORY: &str = ".:size=64m,nr_inodes=0";

const ENTRIES: usize = 200_000;

/// What the agent may take beyond what it took before: far less than the names, which are 40 MB.
const GROWTH_KIB: u64 = 16 << 10;

mod agent_only {
    use super::*;

    #[tokio::test]
    async fn a_huge_directory_is_worked_on_in_bounded_memory() {
        in_agent_by(&on_disk(IN_MEMORY), &[], async |sandbox| {
            let make = format!(
                "import os\nos.mkdir('many')\nos.chdir('many')\nopen('file', 'w').close()\n\
                       for i in range({ENTRIES} - 1): os.link('file', f'{{i:0200}}')"
            );
            let made = sandbox.exec(json!({ "command": ["python3", "-c", make] })).await;
            assert!(made.result.success(), "{made:?}");
            let name = |number: usize| format!("{number:0200}");
            let before = sandbox.peak_memory_kib().await;
            let page = async |after: Option<String>, depth: u32| {
                let request = json!({ "path": "many", "limit": 1_000, "cursor": after, "depth": depth });
                sandbox.post("file.list", request).await.json()
            };
            for depth in [1, 2] {
                for (after, first, more) in [(None, 0, true), (Some(99_999), 100_000, true), (Some(199_499), 199_500, false)] {
                    let page = page(after.map(name), depth).await;
                    assert_eq!(
                        (&page["items"][0]["path"], page["cursor"] != Value::Null),
                        (&json!(name(first)), more),
                        "{first}"
                    );
                }
            }
            for pattern in ["*0777", "**/*0777", "**/**/**/**/*0777"] {
                let found = sandbox.post("file.find", json!({ "path": ".", "pattern": pattern })).await.json();
                assert_eq!(found["items"].as_array().unwrap().len(), 20, "{pattern}");
            }
            let searched = sandbox.post("file.search", json!({ "path": ".", "pattern": "x" })).await.json();
            assert_eq!((&searched["searched"], &searched["matches"]), (&json!(ENTRIES), &json!(0)));
            sandbox.post("file.remove", json!({ "path": "many", "recursive": true })).await.success();
            assert_eq!(sandbox.shell("ls -A").await, "");
            let growth = sandbox.peak_memory_kib().await - before;
            assert!(growth < GROWTH_KIB, "{growth} KiB");
        })
        .await;
    }
}
