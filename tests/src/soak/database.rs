//! The deployment's database, behind the service's back.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use cabana_protocol::KeyId;

/// Does what is done, with the database's own locks.
const PROGRAM: &str = include_str!("database.py");

/// Revokes a key as another gateway would: this one does not hear of it.
pub(super) fn revoke(key: &str) {
    let key: KeyId = key.parse().unwrap();
    let revoke = "UPDATE keys SET revoked_at = '2026-01-01T00:00:00.000Z' WHERE id = ?";
    let output = program().args([revoke, key.as_str()]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1", "{}", String::from_utf8_lossy(&output.stderr));
}

/// The lock of the whole database, so that nobody reads or writes it, until this is dropped.
pub(super) struct Held(Child);

impl Held {
    /// Takes the lock.
    pub(super) fn take() -> Self {
        let mut child = program().arg("hold").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.trim().parse::<u32>().unwrap() > 0, "there is a database");
        Self(child)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Its stdin ends.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program, and where the stack keeps what it stores.
fn program() -> Command {
    let mut program = Command::new("python3");
    program.args(["-c", PROGRAM]).arg(std::env::var_os("CABANA_SOAK_STATE").expect("CABANA_SOAK_STATE is set"));
    program
}
