//! Short-lived credentials for one sandbox, to hand to a browser or an agent: connect tokens, and links to one file. Made and checked by the
//! gateway.

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

/// `POST /v1/sandboxes/{id}/links`: makes a URL for one download or upload of one file, which needs no other credential. It ends with the
/// credentials that made it, at the latest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateLink {
    /// The file, as text; relative paths start at the sandbox's first root. It need not exist yet.
    pub path: String,
    /// What the link is good for. Its maker must be allowed to do the same.
    pub action: LinkAction,
    /// The largest file that may be uploaded, in bytes; a larger one is `payload_too_large`. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// How long it is good, in milliseconds: at least a second, at most 7 days. Default: 1 h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// What a link is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LinkAction {
    /// `GET` and `HEAD`, as `file.read` is allowed.
    Download,
    /// `PUT`, as `file.write` is allowed.
    Upload,
}

/// A link to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileLink {
    /// The URL, with all that it needs.
    pub url: String,
    /// The method that it takes: `GET` (`HEAD` too) or `PUT`.
    pub method: String,
    /// When it ends, RFC 3339 in UTC.
    pub expires_at: String,
}
