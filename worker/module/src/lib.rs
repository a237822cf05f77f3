//! The gateway as the module of WebAssembly that is deployed. What it exports are the handlers and classes of [`cabana_worker`].

pub use cabana_worker::*;
