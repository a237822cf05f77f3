//! What each tool takes. The doc comments are what a model reads: a test writes tools.json from them.

use serde::Deserialize;

/// Which sandbox a call is for.
pub(super) trait SandboxArgument {
    /// The id that the call names.
    fn sandbox(&self) -> Option<&str>;
}

/// Declares the arguments of a tool. Each begins with the sandbox, which the tools of one sandbox do not have.
macro_rules! arguments {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        pub(super) struct $name {
            /// Id of the sandbox, for instance `sbx-tour`. Default: a sandbox of yours that is made on first use.
            pub(super) sandbox: Option<String>,
            $($(#[$field_meta])* pub(super) $field: $type,)*
        }

        impl SandboxArgument for $name {
            fn sandbox(&self) -> Option<&str> {
                self.sandbox.as_deref()
            }
        }
    )*};
}

arguments! {
    /// `bash`
    Bash {
        /// The script, as for `bash -c`.
        command: String,
        /// Working directory. Default: /workspace.
        cwd: Option<String>,
        /// Ends the command after this long, in milliseconds. Default: 600000.
        timeout_ms: Option<u64>,
        /// How long to wait for the end, 0 to 40000 ms. Default: 40000. A command that still runs then goes on; `process` continues it.
        wait_ms: Option<u64>,
        /// How much output to show, 1 to 200000 bytes: its beginning and its end. Default: 30000.
        max_output_bytes: Option<u64>,
    }

    /// `read`
    Read {
        /// The file; a relative path starts at /workspace.
        path: String,
        /// First line, from 1. Default: 1.
        offset: Option<u64>,
        /// How many lines. Default: 2000.
        limit: Option<u64>,
    }

    /// `write`
    Write {
        /// The file; missing directories are made.
        path: String,
        /// Everything that the file is to hold.
        content: String,
    }

    /// `edit`
    Edit {
        /// The file.
        path: String,
        /// The text to replace, exactly as it is in the file, line breaks and indentation included.
        old: String,
        /// The text to put there.
        new: String,
        /// Replaces every occurrence. Default: false, and `old` must occur once.
        #[serde(default)]
        all: bool,
    }

    /// `apply_patch`
    ApplyPatch {
        /// A unified diff, as `git diff` prints it.
        patch: String,
        /// The directory that its paths start from. Default: /workspace.
        path: Option<String>,
    }

    /// `glob`
    Glob {
        /// For instance `*.rs` or `src/**/*.ts`.
        pattern: String,
        /// Where to look. Default: /workspace.
        path: Option<String>,
        /// Includes hidden files and those that .gitignore names. Default: false.
        #[serde(default)]
        all: bool,
    }

    /// `grep`
    Grep {
        /// A regular expression.
        pattern: String,
        /// A file or a directory. Default: /workspace.
        path: Option<String>,
        /// Searches only files whose names match this glob, for instance `*.py`.
        include: Option<String>,
        /// Takes the pattern for a text instead. Default: false.
        #[serde(default)]
        literal: bool,
        /// Ignores case. Default: false.
        #[serde(default)]
        ignore_case: bool,
        /// Lines to show before and after each match, 0 to 100. Default: 0.
        context: Option<u32>,
    }

    /// `list`
    List {
        /// The directory. Default: /workspace.
        path: Option<String>,
        /// How many levels, 1 to 64. Default: 1.
        depth: Option<u32>,
    }

    /// `process`
    Process {
        /// What to do.
        action: ProcessAction,
        /// The process, by its id or name: for everything but `start` and `list`.
        process: Option<String>,
        /// `start`: the script, as for `bash -c`.
        command: Option<String>,
        /// `start`: a name, which makes starting it twice harmless.
        name: Option<String>,
        /// `start`: the working directory.
        cwd: Option<String>,
        /// `wait`: until this port accepts connections. Default: until the process ends.
        port: Option<u16>,
        /// `wait`: until a line of its output holds this text.
        log: Option<String>,
        /// `wait`, `logs`: the first byte of output to show; an earlier answer says where to go on.
        from: Option<u64>,
        /// `wait`: how long, 1 to 40000 ms. Default: 40000.
        wait_ms: Option<u64>,
        /// `input`: what to write to its stdin, a line break included.
        data: Option<String>,
        /// `signal`: for instance SIGINT. Default: SIGTERM, then SIGKILL, and the answer waits for the end.
        signal: Option<String>,
    }

    /// `run_code`
    RunCode {
        /// The cell. The value of its last expression is shown.
        code: String,
        /// `python`, `javascript`, `typescript`, or another kernel of the sandbox. Default: python.
        language: Option<String>,
        /// Interrupts the cell after this long, 1 to 40000 ms. Default: 40000.
        timeout_ms: Option<u64>,
    }

    /// `expose_port`
    ExposePort {
        /// The port that a server in the sandbox listens on.
        port: u16,
        /// `token`: everyone who has the URL, which holds a secret. `public`: everyone. `private`: callers of this API. Default: token.
        access: Option<Access>,
    }

    /// `sandbox`
    Sandbox {
        /// What to do.
        action: SandboxAction,
        /// `create`: the kind, for instance `python`. Default: the default kind.
        kind: Option<String>,
        /// `create`, `fork`: a name; `create` finds the sandbox that has it.
        name: Option<String>,
    }
}

/// What to do with a process.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum ProcessAction {
    Start,
    List,
    Wait,
    Logs,
    Input,
    Signal,
}

/// Who may visit a port.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum Access {
    Token,
    Public,
    Private,
}

/// What to do with a sandbox.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum SandboxAction {
    Create,
    List,
    Show,
    Fork,
    Destroy,
}
