//! Sandboxes for Rust Workers: the Sandbox Durable Object and the calls that reach it.
