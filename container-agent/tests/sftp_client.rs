//! `cabana-agent sftp-server`, by a client of another origin than OpenSSH's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Stdio;

use russh_sftp::{client::SftpSession, protocol::StatusCode};
use tokio::{io::AsyncWriteExt, process::Command};

#[tokio::test]
async fn a_client_of_another_origin_writes_reads_lists_and_changes_files() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_cabana-agent"))
        .arg("sftp-server")
        .current_dir(&directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let stream = tokio::io::join(server.stdout.take().unwrap(), server.stdin.take().unwrap());
    let client = SftpSession::new(stream).await.unwrap();
    let content: Vec<u8> = (0_u32..1_500_000).flat_map(u32::to_le_bytes).collect();
    let mut file = client.create("large").await.unwrap();
    file.write_all(&content).await.unwrap();
    file.shutdown().await.unwrap();
    assert!(client.read("large").await.unwrap() == content);
    assert_eq!(client.metadata("large").await.unwrap().size, Some(6_000_000));
    client.create_dir("d").await.unwrap();
    assert!(client.hardlink("large", "d/é 🌊").await.unwrap(), "the extension is there");
    // In the order of OpenSSH, which is not that of the draft: this client takes what the link is first.
    client.symlink("../large", "d/link").await.unwrap();
    assert_eq!(client.read_link("d/link").await.unwrap(), "../large");
    client.rename("large", "d/moved").await.unwrap();
    let mut names: Vec<_> = client.read_dir("d").await.unwrap().map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(names, ["link", "moved", "é 🌊"]);
    assert!(client.fs_info(".").await.unwrap().is_some_and(|info| info.blocks > 0));
    let absolute = client.canonicalize("d/moved").await.unwrap();
    assert!(absolute.ends_with("/d/moved") && client.read(absolute).await.unwrap() == content);
    for name in names {
        client.remove_file(format!("d/{name}")).await.unwrap();
    }
    client.remove_dir("d").await.unwrap();
    let missing = client.open("d").await.map(drop).unwrap_err();
    assert!(
        matches!(&missing, russh_sftp::client::error::Error::Status(status) if status.status_code == StatusCode::NoSuchFile),
        "{missing}"
    );
    client.close().await.unwrap();
    assert!(server.wait().await.unwrap().success(), "the server ends with its client");
}
