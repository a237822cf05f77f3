//! Snapshots of a sandbox's files, and sandboxes that begin with one.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Sandbox;
use crate::{Error, SandboxId, names::invalid_field, text::is_text};

/// Most snapshots that a sandbox may have in its list.
pub const MAX_SNAPSHOTS: usize = 64;

/// Most sandboxes that one fork makes.
pub const MAX_FORKS: u32 = 16;

/// Longest name of a snapshot, in bytes.
pub const MAX_SNAPSHOT_NAME: usize = 128;

/// Names a snapshot: `<sandbox>.<26 characters>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotId(String);

impl SnapshotId {
    /// The snapshot of this sandbox of which `unique` is true of no other.
    pub fn new(sandbox: &SandboxId, unique: &str) -> Self {
        Self(format!("{sandbox}.{unique}"))
    }

    /// The sandbox that it was taken of. Fails with `invalid_request` where the id names none.
    pub fn sandbox(&self) -> Result<SandboxId, Error> {
        self.0.split_once('.').ok_or_else(|| invalid(&self.0))?.0.parse()
    }
}

impl FromStr for SnapshotId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unique =
            |unique: &str| unique.len() == 26 && unique.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        match text.split_once('.') {
            Some((sandbox, rest)) if unique(rest) => Ok(Self::new(&sandbox.parse().map_err(|_: Error| invalid(text))?, rest)),
            _ => Err(invalid(text)),
        }
    }
}

fn invalid(text: &str) -> Error {
    let shown: String = text.chars().take(SandboxId::MAX_LENGTH + 27).collect();
    Error::invalid_request(format!("{shown:?} is not a snapshot's id: an id is <sandbox>.<26 characters>")).because("invalid_id")
}

is_text!(SnapshotId);

/// A snapshot of a sandbox's files, as everything shows it that shows snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Snapshot {
    /// Its id. It ends with the sandbox that it was taken of.
    pub id: SnapshotId,
    /// The sandbox that it was taken of.
    pub sandbox: SandboxId,
    /// What its maker calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it was begun, RFC 3339 in UTC. What was written later need not be in it.
    pub created_at: String,
    /// When the platform forgets it unless it is used before, RFC 3339 in UTC: 30 days after it was taken, or last restored. Before that it is
    /// renewed; in the past, it is `gone`.
    pub expires_at: String,
    /// What the platform says of its size, in bytes: of what it holds beyond its image.
    pub size_bytes: u64,
    /// The snapshot that the sandbox's files came from when this one was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SnapshotId>,
    /// The sandbox's later snapshots whose files came from this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<SnapshotId>,
    /// The sandboxes that were made to begin with it, forks included, the last 64 of them. They may be gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sandboxes: Vec<SandboxId>,
}

/// `POST /v1/sandboxes/{id}/snapshots`: saves the files as they are now. Of a sandbox that is down, what its next start begins with. Programs
/// run on, and a file that is being written may be caught half.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateSnapshot {
    /// What to call it, at most 128 bytes. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl CreateSnapshot {
    /// Fails with `invalid_request` where the name is empty, too long, or has control characters.
    pub fn check(&self) -> Result<(), Error> {
        let is_sound = |name: &String| (1..=MAX_SNAPSHOT_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
        if self.name.as_ref().is_none_or(is_sound) {
            return Ok(());
        }
        Err(invalid_field("name", "1 to 128 bytes without control characters"))
    }
}

/// The snapshots of a sandbox, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Snapshots {
    /// The snapshots.
    #[serde(rename = "items")]
    pub snapshots: Vec<Snapshot>,
}

/// What a new sandbox begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Origin {
    /// The files of this snapshot, which is of a sandbox of the same kind.
    pub snapshot: SnapshotId,
}

/// `POST /v1/sandboxes/{id}/fork`: takes a snapshot, and makes sandboxes of the same kind, size, variables, labels, network and times that begin
/// with it. Where one of them cannot be made, none is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ForkSandbox {
    /// How many, 1 to 16. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The part of the ids after the kind; of several, `-1`, `-2` and so on follow it. Default: drawn at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What a fork has made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Forks {
    /// The snapshot that they begin with.
    pub snapshot: Snapshot,
    /// The sandboxes.
    #[serde(rename = "items")]
    pub sandboxes: Vec<Sandbox>,
}

/// What an upgrade has made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Upgraded {
    /// The sandbox, which is down. Its next start begins with its files over its kind's present image.
    pub sandbox: Sandbox,
    /// Everything as it was before: to restore it is the way back. Absent where nothing was saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Snapshot>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_their_sandbox() {
        let id = SnapshotId::new(&"sbx-a".parse().unwrap(), &"a".repeat(26));
        assert_eq!(id.sandbox().unwrap().as_str(), "sbx-a");
        assert_eq!(id.as_str().parse::<SnapshotId>().unwrap(), id);
        for text in
            ["", "sbx-a", "sbx-a.", "sbx.aaaaaaaaaaaaaaaaaaaaaaaaaa", "sbx-a.AAAAAAAAAAAAAAAAAAAAAAAAAA", "sbx-a.a/b", "../x.y"]
        {
            assert!(text.parse::<SnapshotId>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_snapshots_are_checked() {
        let check = |name: &str| CreateSnapshot { name: Some(name.to_owned()) }.check().is_ok();
        assert!(check("before the upgrade") && check(&"é".repeat(64)));
        assert!(!check("") && !check(&"a".repeat(129)) && !check("a\nb"));
    }
}
