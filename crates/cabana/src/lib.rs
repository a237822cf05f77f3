//! Sandboxes for Rust Workers: the Sandbox Durable Object and the calls that reach it.
//!
//! A Worker that depends on this crate, names [`Sandbox`] as a Durable Object class with a container in its wrangler.jsonc, and
//! uses it, has sandboxes:
//!
//! ```
//! // Public, so that the class is part of the Worker.
//! pub use cabana::Sandbox;
//! use cabana::CreateSandbox;
//! use worker::{Context, Env, Request, Response, event};
//!
//! #[event(fetch)]
//! async fn fetch(_request: Request, env: Env, _context: Context) -> worker::Result<Response> {
//!     let answer = async {
//!         let sandbox = Sandbox::get(&env, "SANDBOX", "sbx-my-id")?;
//!         sandbox.create(&CreateSandbox::default()).await?;
//!         sandbox.exec("python3 -c 'print(2 + 2)'").await
//!     };
//!     match answer.await {
//!         Ok(output) => Response::from_json(&output),
//!         Err(error) => Response::error(error.message, error.code.status()),
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! [`proxy_to_sandbox`] answers the whole HTTP and WebSocket API, for a Worker that wants to offer it behind its own
//! authentication, and [`proxy_to_preview`] whatever comes for the host of a preview.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`lifecycle`] | a sandbox's life as a pure state machine |
//! | [`route`] | which request is which |
//! | [`log`] | structured logs |
//! | `metrics` | what is counted of a sandbox's requests |
//! | [`preview`] | ports that are reached from outside |
//! | `principal` | who is calling |
//! | [`token`] | credentials outside headers, and keeping them from the sandbox |
//! | [`request_id`] | the name of a request in every hop's logs |
//! | [`database`] | the D1 database |
//! | [`random`] | names and secrets |
//! | [`request`] | bodies of requests, bounded and decoded |
//! | [`reply`] | JSON and coded errors as responses |
//! | `kinds` | which kinds of sandboxes there are |
//! | [`projects`] | what sandboxes are set up from, as it is stored |
//! | `class` | further Durable Object classes |
//! | [`database`] | D1, and nothing else |
//! | `directory` | where sandboxes are found |
//! | `sandbox` | the Durable Object: record, life, start, forwarding |
//! | [`tenant`] | what a tenant may have at once, and how often it may ask |
//! | `container` | the platform's container, and nothing else |
//! | `gateway` | clients' WebSockets, which end in the Durable Object |
//! | [`revocation`] | closing what a revoked API key has opened |
//!
//! Bodies of the agent's operations are never decoded here: a new operation edits no file of this crate.

mod class;
mod config;
mod container;
mod create;
pub mod database;
mod directory;
mod fault;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod handle;
mod kinds;
pub mod lifecycle;
pub mod log;
mod metrics;
pub mod preview;
mod principal;
pub mod projects;
mod proxy;
pub mod random;
pub mod reply;
pub mod request;
pub mod request_id;
pub mod revocation;
pub mod route;
mod sandbox;
pub mod tenant;
pub mod token;

pub use cabana_protocol::{
    Access, Code, Error, KeyId, SandboxId, Scopes, Tenant,
    exec::{Exec, ExecOutput},
    sandbox::CreateSandbox,
};

pub use crate::{
    config::{Config, variable},
    database::Database,
    handle::Handle,
    kinds::{Kind, Kinds},
    preview::proxy_to_preview,
    principal::Principal,
    proxy::proxy_to_sandbox,
    request_id::RequestId,
    sandbox::Sandbox,
};
