//! Cabana's wire, written once: every operation's name, request, events, response and errors.
//!
//! A request type *is* the operation ([`Operation`], [`Streaming`]); [`operations!`] lists them all, and the agent's
//! dispatcher, the WebSocket, the documentation and the golden tests are made from that list. To add one, write its type
//! in its family's file, add a line to [`mod@table`], and let the compiler ask for the handler.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`operation`] | the traits |
//! | [`mod@table`] | the one list |
//! | [`exec`] | running commands: request, events, inputs, result and their fold |
//! | [`process`] | processes that run or ran: describe, listen, feed, signal, wait |
//! | [`session`] | shells that live between commands |
//! | [`code`] | contexts that keep variables between cells, and cells |
//! | [`port`] | who listens, and connections to them |
//! | [`preview`] | control: ports that are reached from outside |
//! | [`system`] | what the sandbox is and how much of it is used |
//! | [`mod@file`] | small content and metadata of files |
//! | [`git`] | repositories |
//! | [`health`] | how the agent is, and that it is the one that is meant |
//! | [`sandbox`] | control: a sandbox's identity and state |
//! | [`project`] | what sandboxes are set up from |
//! | [`variables`] | the variables of a sandbox's commands, and where each comes from |
//! | `openapi` | the HTTP API as a document, with the feature `schema` |
//! | [`audit`] | what was asked of a sandbox, by whom, and what came of it |
//! | [`metrics`] | what is measured of a sandbox |
//! | [`access`] | who may do what: tenants and scopes |
//! | [`key`] | control: API keys |
//! | [`token`] | control: connect tokens |
//! | [`id`] | names that are safe to route by |
//! | [`frame`] | what travels on the WebSocket |
//! | [`link`] | what travels between a sandbox's Durable Object and its agent |
//! | [`call`] | how the object tells the agent that a client has hung up |
//! | [`line`](mod@line) | one line of a stream over HTTP |
//! | [`header`] | JSON in a header |
//! | [`data`] | bytes in JSON |
//! | [`error`] | the coded error |
//! | [`names`] | names in messages, and what was meant by them |
//!
//! Nothing here does IO or reads a clock. Readers of answers ignore unknown fields, so the wire only ever grows; [`decode()`]
//! refuses those of requests.

pub mod access;
pub mod audit;
pub mod call;
pub mod chunk;
pub mod code;
pub mod data;
mod decode;
pub mod error;
pub mod exec;
pub mod file;
pub mod frame;
pub mod git;
pub mod header;
pub mod health;
pub mod id;
pub mod key;
pub mod line;
pub mod link;
pub mod metrics;
pub mod names;
pub mod network;
#[cfg(feature = "schema")]
pub mod openapi;
pub mod operation;
pub mod port;
pub mod preview;
pub mod process;
pub mod project;
pub mod raw;
pub mod sandbox;
pub mod secret;
pub mod session;
pub mod signal;
pub mod system;
pub mod table;
mod text;
pub mod token;
mod union;
pub mod variables;

pub use access::{Access, Scopes, Tenant};
pub use data::Data;
pub use decode::{Untyped, decode, decode_fields, decode_own, decode_parameter, decode_query};
pub use error::{Code, Error};
pub use id::{ProcessId, SandboxId};
pub use key::KeyId;
pub use operation::{Fold, InputOf, Never, Operation, ResponseOnly, Streaming};
pub use signal::Signal;
