//! The disk of a sandbox.

use cabana_tests::in_sandbox_with;
use serde_json::json;

use crate::files::disk;

#[tokio::test]
async fn a_full_disk_refuses_writes_and_keeps_what_is_there() {
    in_sandbox_with(json!({ "instance": "lite" }), async |sandbox| {
        // Room is left for less than each write needs.
        let fill = "mkdir tree small; head -c 700000 /dev/urandom | tee large > tree/large; echo old > small/old; echo other > small/other; \
                    cat /dev/zero > filler 2> /dev/null; truncate -s -300000 filler; df --output=avail -B1 . | tail -1";
        let free: u64 = sandbox.shell(fill).await.trim().parse().unwrap();
        assert!((200_000..600_000).contains(&free), "{free} bytes are free");
        disk::check(sandbox, "small", "storage_full").await;
        sandbox.shell("rm filler").await;
        sandbox.put("small/old", "room again").await.success();
    })
    .await;
}
