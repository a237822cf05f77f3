//! How a sandbox's Durable Object tells its agent that the client of a request over HTTP has hung up.
//!
//! The object names such a request by [`HEADER`]. A connection that ends says nothing by itself: the client may have hung up, or the object
//! may be gone and the client may come back. So the object says the former, by `DELETE` of the call's [`path`]. What runs for a client
//! behind a connection that ends without that goes on for a grace. Nobody else speaks it.

/// The header that names a call. A name is not to be guessed, and has at most [`MAX_NAME_BYTES`].
pub const HEADER: &str = "x-cabana-call";

/// Longest name of a call, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Where the agent is told about the call of this name: `DELETE` says that its client has hung up.
pub fn path(name: &str) -> String {
    format!("/calls/{name}")
}
