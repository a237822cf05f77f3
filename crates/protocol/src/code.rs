//! Running code in contexts: kernels of Jupyter that keep their variables from one cell to the next.
//!
//! A context is one kernel. It ends with the sandbox's container: after a sleep its id answers `gone` with the reason `lost`, and no cell is
//! run again by itself.

mod context;
mod fold;
mod look;
mod run;

pub use context::{Context, ContextState, Contexts, Create, Delete, Interrupt, Interrupted, List, Restart};
pub use fold::{CellError, CodeFold, Logs, Output, RunOutput};
pub use look::{Complete, Completions, Export, Inspect, Inspection, Notebook};
pub use run::{Run, RunEvent, RunInput, RunResult, RunStatus};

use std::collections::BTreeMap;

/// One thing to show, in every form that the kernel gives, by MIME type. Text and base64 are strings, JSON is itself.
pub type Bundle = BTreeMap<String, serde_json::Value>;

/// Most bytes of one cell: 1 MiB.
pub const MAX_CODE_BYTES: usize = 1 << 20;

/// The language of a run that names neither a language nor a context.
pub const DEFAULT_LANGUAGE: &str = "python";

/// The name by which a language is known here: lower case, and without its common short forms.
///
/// ```
/// assert_eq!(cabana_protocol::code::language("Python3"), "python");
/// ```
pub fn language(name: &str) -> String {
    let name = name.trim().to_lowercase();
    match name.as_str() {
        "python3" | "py" | "ipython" => "python",
        "js" | "node" => "javascript",
        "ts" => "typescript",
        "sh" | "shell" => "bash",
        other => other,
    }
    .to_owned()
}
