//! Native async client of Cabana: sandboxes over HTTP and WebSocket.
//!
//! ```no_run
//! use cabana_client::{Client, protocol::exec::Exec};
//!
//! # async fn example() -> Result<(), cabana_client::Error> {
//! let client = Client::new("http://127.0.0.1:8787", "the key")?;
//! let sandbox = client.sandbox("sbx-demo".parse()?);
//! let output = sandbox.call(Exec::new("python3 -c 'print(2 + 2)'")).await?;
//! assert_eq!(output.stdout.0, "4\n");
//! # Ok(())
//! # }
//! ```
//!
//! The client is generic over the one list of operations ([`protocol::operations!`]). A new operation needs no change here.
//!
//! | verb | what it does |
//! | --- | --- |
//! | [`Sandbox::call`] | Runs an operation to its end, and answers everything that it answers. |
//! | [`Sandbox::tunnel`] | Connects to a port or a Unix socket of the sandbox: raw bytes, both ways. |
//! | [`Sandbox::stream`] | Starts a streaming operation: its events, inputs, result. Dropping it cancels the operation. |
//!
//! Requests are repeated only where that is safe: when the service says that it did not carry them out, or when the connection broke
//! and the operation is idempotent. A stream whose connection breaks continues with `process.attach` from its last byte.

mod body;
mod call;
mod client;
mod connection;
mod error;
mod files;
mod keys;
mod request;
mod retry;
mod running;
mod sandbox;
mod tls;
mod tunnel;

pub use body::Body;
pub use cabana_protocol as protocol;
pub use cabana_protocol::file::{ArchiveFormat, Upload};
pub use call::Call;
pub use client::{Client, Settings};
pub use error::{Error, Result};
pub use files::Download;
pub use http::Method;
pub use retry::Retries;
pub use running::{Feed, Inputs, Running};
pub use sandbox::Sandbox;
pub use tunnel::{Tunnel, TunnelReceiver, TunnelSender};
