//! Archives under change: races, disconnected clients, files that change, many at once.

use std::io;

use cabana_tests::{Kind, drain, in_either_confinement, in_kind, in_sandbox, until};
use futures_util::{future, stream};
use reqwest::{Body, Method};
use serde_json::json;

use crate::files::SWAP;

use super::{export, import, tar_builder::TarBuilder};

#[tokio::test]
async fn a_race_with_a_symlink_does_not_leave_the_roots() {
    in_either_confinement(async |sandbox| {
        sandbox.shell("mkdir -p target/real outside; echo kept > outside/f; ln -s ../outside target/evil").await;
        // A short archive is mostly extracted between two swaps, a long one mostly not.
        let archive = |members: usize| {
            let whole = (0..members).fold(TarBuilder::default().member(b'5', b"real", b""), |tar, number| {
                let name = format!("real/{number}");
                tar.file(&name, "x").symlink(&format!("{name}l"), "x").hard_link(&format!("{name}h"), &name).member(
                    b'5',
                    format!("{name}d").as_bytes(),
                    b"",
                )
            });
            whole.end()
        };
        let archives = [archive(0), archive(20)];
        let race = async {
            let (mut extracted, mut refused) = (0, 0);
            while extracted + refused < 60 || extracted == 0 || refused == 0 {
                let answer = import(sandbox, "target", archives[(extracted + refused) % 2].clone()).await;
                *if answer.status.is_success() { &mut extracted } else { &mut refused } += 1;
                assert!(
                    answer.status.is_success() || ["forbidden", "unprocessable", "conflict"].contains(&answer.code().as_str()),
                    "{answer:?}"
                );
                let fetched = export(sandbox, "target", "tar").await.success();
                assert!(!fetched.windows(5).any(|window| window == b"kept\n"), "what is outside is not fetched");
            }
            sandbox.put("stop", "").await.success();
        };
        let (swapped, ()) = tokio::join!(sandbox.exec(json!({ "command": ["python3", "-c", SWAP, "target"] })), race);
        assert!(swapped.result.success(), "{swapped:?}");
        assert_eq!(sandbox.shell("ls -A outside; stat -c %h outside/f").await, "f\n1\n");
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_import_leaves_only_whole_files() {
    in_sandbox(async |sandbox| {
        let archive = TarBuilder::default().file("whole", "content").file("half", &"x".repeat(1_000_000)).end();
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
async fn a_file_truncated_during_an_export_breaks_the_archive_off() {
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
async fn parallel_imports_into_one_directory_all_succeed() {
    in_sandbox(async |sandbox| {
        let archive = (0..50).fold(TarBuilder::default(), |tar, number| {
            let name = format!("d/{}/{number}", number % 5);
            tar.file(&name, "content").symlink(&format!("{name}l"), "x").hard_link(&format!("{name}h"), &name)
        });
        let archive = archive.end();
        let imports = (0..8).map(async |_| import(sandbox, "target", archive.clone()).await.success());
        future::join_all(imports).await;
        let found = sandbox.shell("cd target && find . -type f | wc -l; find . -type l | wc -l; find . -name '.cabana*'; find . -type f -exec cat {} + | wc -c").await;
        assert_eq!(found, "100\n50\n700\n");
    })
    .await;
}

#[tokio::test]
async fn archives_above_the_limit_are_refused_until_one_ends() {
    in_kind(Kind::Tight, async |sandbox| {
        sandbox.shell("mkdir large small; truncate -s 500M large/file").await;
        let mut slow = sandbox.request(Method::GET, "/archive?path=large").send().await.unwrap();
        assert!(slow.chunk().await.unwrap().is_some());
        assert_eq!(export(sandbox, "small", "tar").await.code(), "too_many_requests");
        assert_eq!(import(sandbox, "new", TarBuilder::default().end()).await.code(), "too_many_requests");
        drop(slow);
        until("the client's end is noticed", async || export(sandbox, "small", "tar").await.status.is_success()).await;
        import(sandbox, "new", TarBuilder::default().end()).await.success();
    })
    .await;
}
