//! Archives while something happens: races, clients that go away, files that change, many at once.

use std::io;

use cabana_tests::{drain, in_agent, in_either_confinement, in_sandbox, until};
use futures_util::{future, stream};
use reqwest::{Body, Method};
use serde_json::json;

use super::{export, import, tape::Tape};

#[tokio::test]
async fn a_race_with_a_symlink_leads_nowhere() {
    in_either_confinement(async |sandbox| {
        sandbox.shell("mkdir -p target/real outside; echo kept > outside/f; ln -s ../outside target/evil").await;
        // Swaps directory and symlink as quickly as it can.
        let swap = "import ctypes, os\nlibc = ctypes.CDLL(None)\nos.chdir('target')\nwhile not os.path.exists('../stop'):\n  \
                    assert libc.renameat2(-100, b'real', -100, b'evil', 2) == 0";
        let archive = (0..20).fold(Tape::default().member(b'5', b"real", b""), |tape, number| {
            let name = format!("real/{number}");
            tape.file(&name, "x").symlink(&format!("{name}l"), "x").hard_link(&format!("{name}h"), &name).member(
                b'5',
                format!("{name}d").as_bytes(),
                b"",
            )
        });
        let archive = archive.end();
        let race = async {
            let mut done = 0;
            for _ in 0..60 {
                let answer = import(sandbox, "target", archive.clone()).await;
                done += usize::from(answer.status.is_success());
                assert!(
                    answer.status.is_success() || ["forbidden", "unprocessable", "conflict"].contains(&answer.code().as_str()),
                    "{answer:?}"
                );
                let fetched = export(sandbox, "target", "tar").await.success();
                assert!(!fetched.windows(5).any(|window| window == b"kept\n"), "what is outside is not fetched");
            }
            sandbox.put("stop", "").await.success();
            done
        };
        let (swapped, _) = tokio::join!(sandbox.exec(json!({ "command": ["python3", "-c", swap] })), race);
        assert!(swapped.result.success(), "{swapped:?}");
        assert_eq!(sandbox.shell("ls -A outside; stat -c %h outside/f").await, "f\n1\n");
    })
    .await;
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_whole_files() {
    in_sandbox(async |sandbox| {
        let archive = Tape::default().file("whole", "content").file("half", &"x".repeat(1_000_000)).end();
        let (sender, pieces) = tokio::sync::mpsc::channel::<io::Result<Vec<u8>>>(1);
        let pieces = stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)));
        let request = sandbox.request(Method::PUT, "/archive?path=target").body(Body::wrap_stream(pieces));
        let sending = async {
            sender.send(Ok(archive[..600_000].to_vec())).await.unwrap();
            until("the first file is extracted", async || sandbox.get("target/whole").await.status.is_success()).await;
            sender.send(Err(io::Error::other("the client breaks off"))).await.unwrap();
        };
        let (answer, ()) = tokio::join!(request.send(), sending);
        assert!(answer.is_err());
        assert_eq!(sandbox.shell("ls -A target").await, "whole\n");
    })
    .await;
}

#[tokio::test]
async fn a_file_that_becomes_shorter_breaks_the_archive_off() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir tree; truncate -s 500M tree/large").await;
        let mut response = sandbox.request(Method::GET, "/archive?path=tree").send().await.unwrap();
        assert!(response.status().is_success() && response.chunk().await.unwrap().is_some());
        sandbox.shell("truncate -s 1000 tree/large").await;
        assert!(drain(response).await.is_err(), "it must not look whole");
    })
    .await;
}

#[tokio::test]
async fn only_so_many_are_worked_on_at_once() {
    in_agent(&[("CABANA_MAX_ARCHIVES", "1")], async |sandbox| {
        sandbox.shell("mkdir large small; truncate -s 500M large/file").await;
        let mut slow = sandbox.request(Method::GET, "/archive?path=large").send().await.unwrap();
        assert!(slow.chunk().await.unwrap().is_some());
        assert_eq!(export(sandbox, "small", "tar").await.code(), "too_many_requests");
        assert_eq!(import(sandbox, "new", Tape::default().end()).await.code(), "too_many_requests");
        drop(slow);
        until("the client's end is noticed", async || export(sandbox, "small", "tar").await.status.is_success()).await;
        import(sandbox, "new", Tape::default().end()).await.success();
    })
    .await;
}

#[tokio::test]
async fn many_go_into_one_directory() {
    in_sandbox(async |sandbox| {
        let archive = (0..50).fold(Tape::default(), |tape, number| {
            let name = format!("d/{}/{number}", number % 5);
            tape.file(&name, "content").symlink(&format!("{name}l"), "x").hard_link(&format!("{name}h"), &name)
        });
        let archive = archive.end();
        let imports = (0..8).map(async |_| import(sandbox, "target", archive.clone()).await.success());
        future::join_all(imports).await;
        let found = sandbox.shell("cd target && find . -type f | wc -l; find . -type l | wc -l; find . -name '.cabana*'; find . -type f -exec cat {} + | wc -c").await;
        assert_eq!(found, "100\n50\n700\n");
    })
    .await;
}
