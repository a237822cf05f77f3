//! The Durable Object classes of kinds that have one of their own. Written by `cargo xtask sync`.

#![allow(missing_docs, reason = "what #[durable_object] generates has none")]

cabana::sandbox_class!(PythonSandbox);
