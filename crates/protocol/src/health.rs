//! How the agent is, and that it is the one that is meant: `GET /health`, which is open to everyone in the sandbox.

use serde::{Deserialize, Serialize};

use crate::system::Confinement;

/// What the agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// The agent's version.
    pub version: String,
    /// The version of the wire that it speaks; 0 where it does not say.
    #[serde(default)]
    pub protocol: u32,
    /// What begins the ids of its processes.
    pub incarnation: String,
    /// Shows that the agent knows the secret, without the secret: the hexadecimal HMAC-SHA-256, keyed with the secret, of [`PROOF_PREFIX`]
    /// followed by the request's [challenge](CHALLENGE). Empty without a challenge. A container that runs may be an earlier one, or none
    /// that is ours; only the agent of this start has this start's secret. A proof is of no use for another challenge.
    #[serde(default)]
    pub proof: String,
    /// How many operations are under way that keep the sandbox awake.
    #[serde(default)]
    pub busy: u64,
    /// How long it is since the last of them was over; 0 while one is under way.
    #[serde(default)]
    pub idle_ms: u64,
    /// How it keeps file operations within the roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Confinement>,
}

/// The parameter of the query that carries the challenge: random text that is used once.
pub const CHALLENGE: &str = "challenge";

/// The longest challenge that is answered, in bytes.
pub const MAX_CHALLENGE_BYTES: usize = 128;

/// What is authenticated before the challenge: a proof for this purpose is good for no other.
pub const PROOF_PREFIX: &str = "cabana-health:";

/// The version of the wire. It grows when an agent and a Durable Object of different versions would misunderstand each other: what only
/// grows does not change it.
pub const PROTOCOL: u32 = 2;

/// The oldest version that is understood.
pub const OLDEST_PROTOCOL: u32 = 2;
