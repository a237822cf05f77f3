//! Sandboxes for Rust Workers: a container of one's own for each name, reached by a line of code.
//!
//! ```
//! // Public, so that the class is part of the Worker.
//! pub use cabana::Sandbox;
//! use worker::{Context, Env, Request, Response, event};
//!
//! #[event(fetch)]
//! async fn fetch(_: Request, env: Env, _: Context) -> worker::Result<Response> {
//!     let output = Sandbox::get(&env, "my-id")?.exec("python3 -c 'print(2 + 2)'").await?;
//!     Response::ok(output.stdout.to_string())
//! }
//! # fn main() {}
//! ```
//!
//! The sandbox is made on first use, starts with the first command, sleeps when nobody asks for anything, and wakes with its files. wrangler.jsonc
//! names the class, its binding and its image:
//!
//! ```jsonc
//! {
//!   "name": "hello",
//!   "main": "build/index.js",
//!   "compatibility_date": "2026-11-17",
//!   "build": { "command": "cargo install -q worker-build && worker-build --release" },
//!   "durable_objects": { "bindings": [{ "name": "SANDBOX", "class_name": "Sandbox" }] },
//!   "migrations": [{ "tag": "v1", "new_sqlite_classes": ["Sandbox"] }],
//!   "containers": [{
//!     "class_name": "Sandbox",
//!     "scheduling_policy": "durable_object",
//!     "images": { "sbx": { "dockerfile": "./Dockerfile" } }
//!   }]
//! }
//! ```
//!
//! The compatibility date must be 2026-11-17 or later, or the flags must name `enable_request_signal`: otherwise the runtime does
//! not report that a caller has disconnected, and the caller's command runs on. `cabana init` writes all of it, with a Dockerfile, into an empty
//! folder. The variables `CABANA_…` of [`Config`] and [`Kinds`], the D1 database `DIRECTORY` and the Durable Object binding `TENANT` are
//! optional.
//!
//! # What there is
//!
//! [`Handle`] lists its verbs. A request type of [`protocol`] *is* its operation:
//!
//! ```
//! # use cabana::{Result, Sandbox};
//! use std::time::Duration;
//! use cabana::protocol::{exec::Exec, process};
//!
//! # async fn example(env: &worker::Env) -> Result<()> {
//! let sandbox = Sandbox::get(env, "my-id")?;
//! sandbox.write("app.py", "print('Hello')").await?;
//! let limited = Exec { timeout_ms: Some(1_000), ..Exec::new(["python3", "app.py"]) };
//! assert!(sandbox.exec(limited).await?.result.success());
//!
//! let server = sandbox.spawn("python3 -m http.server 3000").await?;
//! server.wait_for_port(3000, Duration::from_secs(10)).await?;
//! let url = sandbox.expose(3000).await?.url;
//! assert_eq!(sandbox.call(process::List::default()).await?.processes.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! Every call fails with an [`Error`]: a code to branch on, and a message. In a handler `?` turns it into an error of `worker`, which answers
//! 500. [`respond`] answers with the status of the code instead.
//!
//! # Serving the API
//!
//! [`proxy_to_sandbox`] answers the whole HTTP and WebSocket API, for a Worker that wants to offer it behind its own
//! authentication, and [`proxy_to_preview`] whatever comes for the host of a preview. [`Egress`] answers what leaves a sandbox with network
//! rules. The rest of the modules is for such gateways:
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`lifecycle`] | a sandbox's life as a pure state machine |
//! | [`route`] | which request is which |
//! | [`log`] | structured logs |
//! | `audit` | the trail of what was asked of a sandbox, and what is counted of it |
//! | `clock`, `variables` | the runtime's time, the Worker's variables |
//! | `wire` | what the Worker and the Durable Object agree on |
//! | [`preview`] | ports that are reached from outside |
//! | `principal` | who is calling |
//! | `origins` | web pages that may use the API |
//! | [`token`] | credentials outside headers, and keeping them from the sandbox |
//! | [`request_id`] | the name of a request in every hop's logs |
//! | [`random`] | names and secrets |
//! | [`request`] | bodies of requests, bounded and decoded |
//! | [`reply`] | JSON and coded errors as responses |
//! | `kinds` | which kinds of sandboxes there are |
//! | [`projects`] | what sandboxes are set up from, as it is stored |
//! | `class` | further Durable Object classes |
//! | [`database`] | D1, and nothing else |
//! | `directory` | where sandboxes are found |
//! | `environment` | the variables of a sandbox's commands, layer by layer |
//! | `egress` | requests that leave a sandbox with network rules |
//! | [`secrets`] | what is added to such requests, as it is stored |
//! | [`cache`] | what an isolate remembers |
//! | `handle` | a sandbox as code of the Worker sees it |
//! | `hooks` | what a class of sandboxes does when they start and stop |
//! | `error` | why a call failed |
//! | `sandbox` | the Durable Object: store, supervisor, forwarding, WebSockets |
//! | [`tenant`] | what a tenant may have at once, and how often it may ask |
//! | `container` | the platform's container, and nothing else |
//! | [`revocation`] | closing what a revoked API key has opened |
//!
//! Bodies of the agent's operations are never decoded here: a new operation edits no file of this crate.

mod address;
mod archives;
mod audit;
pub mod cache;
mod class;
mod clock;
mod config;
mod container;
mod create;
pub mod database;
mod directory;
mod egress;
mod environment;
mod error;
mod fault;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod hooks;
mod kinds;
pub mod lifecycle;
pub mod log;
mod origins;
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
mod rows;
mod sandbox;
pub mod secrets;
pub mod tenant;
pub mod token;
mod variables;
mod wire;

pub use cabana_protocol as protocol;
pub use cabana_protocol::{
    Access, Code, KeyId, SandboxId, Scopes, Tenant,
    exec::{Exec, ExecOutput},
    file::{ArchiveFormat, Upload},
    sandbox::CreateSandbox,
};

pub use crate::{
    address::Address,
    config::Config,
    database::Database,
    egress::{Egress, check_network},
    error::{Error, Result, respond},
    handle::{Body, Call, CodeContext, Download, Handle, Interactive, Process, Running, Session},
    hooks::{Hooks, Stopped},
    kinds::{Kind, Kinds},
    origins::{Cors, Page},
    preview::proxy_to_preview,
    principal::Principal,
    proxy::proxy_to_sandbox,
    request_id::RequestId,
    sandbox::Sandbox,
    variables::variable,
};
