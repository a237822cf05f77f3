//! `worker/src/classes.rs`: the Durable Object classes of kinds that have their own.

use super::kind::Kinds;

pub(super) fn source(kinds: &Kinds) -> String {
    let classes: String = kinds.classes().map(|(_, class)| format!("cabana::sandbox_class!({class});\n")).collect();
    let head = "//! The Durable Object classes of kinds that have one of their own. Written by `cargo xtask sync`.\n\n\
                #![allow(missing_docs, reason = \"what #[durable_object] generates has none\")]\n";
    if classes.is_empty() { head.to_owned() } else { format!("{head}\n{classes}") }
}
