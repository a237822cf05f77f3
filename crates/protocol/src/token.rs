//! Connect tokens: short-lived credentials for one sandbox, to hand to a browser or an agent. Made and checked by the gateway.

use serde::{Deserialize, Serialize};

/// `POST /v1/sandboxes/{id}/tokens`: makes a token for this sandbox. It makes no tokens and no keys in turn, and ends with the credentials
/// that made it, at the latest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateToken {
    /// For what: families (`file`) and operations (`file.read`), no more than its maker may. Default: what its maker may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<String>>,
    /// Only for what changes nothing. Default: as its maker's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// How long it is good, in milliseconds: at least a second, at most 24 h. Default: 1 h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// A connect token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConnectToken {
    /// What goes where a key would: `Authorization: Bearer`, `?token=`, or the subprotocol `cabana.token.<token>`.
    pub token: String,
    /// When it ends, RFC 3339 in UTC.
    pub expires_at: String,
}
