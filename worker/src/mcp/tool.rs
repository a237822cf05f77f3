//! The tools that there are, and which of them a caller sees.
//!
//! What a model reads of them, name, description and schema, is tools.json, which a test makes from the argument types.

use cabana::{Access, Principal, SandboxId};
use serde_json::Value;

/// What a model reads.
const DESCRIPTIONS: &str = include_str!("tools.json");

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Bash,
    Read,
    Write,
    Edit,
    ApplyPatch,
    Glob,
    Grep,
    List,
    Process,
    RunCode,
    ExposePort,
    Sandbox,
}

impl Tool {
    /// All tools, in the order in which they are listed.
    pub(super) const ALL: [Self; 12] = [
        Self::Bash,
        Self::Read,
        Self::Write,
        Self::Edit,
        Self::ApplyPatch,
        Self::Glob,
        Self::Grep,
        Self::List,
        Self::Process,
        Self::RunCode,
        Self::ExposePort,
        Self::Sandbox,
    ];

    /// The name under which it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Read => "read",
            Self::Write => "write",
            Self::Edit => "edit",
            Self::ApplyPatch => "apply_patch",
            Self::Glob => "glob",
            Self::Grep => "grep",
            Self::List => "list",
            Self::Process => "process",
            Self::RunCode => "run_code",
            Self::ExposePort => "expose_port",
            Self::Sandbox => "sandbox",
        }
    }

    /// The tool of this name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// The least operation that a caller must be allowed for whom the tool is of use, and whether that only reads.
    fn operation(self) -> (&'static str, bool) {
        match self {
            Self::Bash => ("exec", false),
            Self::Read => ("file.read", true),
            Self::Write => ("file.write", false),
            Self::Edit => ("file.edit", false),
            Self::ApplyPatch => ("file.patch", false),
            Self::Glob => ("file.find", true),
            Self::Grep => ("file.search", true),
            Self::List => ("file.list", true),
            Self::Process => ("process.list", true),
            Self::RunCode => ("code.run", false),
            Self::ExposePort => ("port.expose", false),
            Self::Sandbox => ("sandbox.list", true),
        }
    }

    /// Whether a caller sees it: where all tools are for one sandbox, it has no tool that is for all of them.
    pub(super) fn is_visible(self, principal: &Principal, sandbox: Option<&SandboxId>) -> bool {
        let (operation, read_only) = self.operation();
        let access = Access { sandbox, operation, read_only };
        match sandbox {
            Some(_) => self != Self::Sandbox && principal.check(&access).is_ok(),
            None => principal.check_operation(&access).is_ok(),
        }
    }
}

/// The tools that a caller sees, as `tools/list` shows them.
pub(super) fn list(principal: &Principal, sandbox: Option<&SandboxId>) -> Vec<Value> {
    let all: Vec<Value> = serde_json::from_slice(DESCRIPTIONS.as_bytes()).expect("a test writes this file");
    let shown = all.into_iter().filter(|tool| {
        let name = tool["name"].as_str().unwrap_or_default();
        Tool::parse(name).is_some_and(|tool| tool.is_visible(principal, sandbox))
    });
    let mut shown: Vec<_> = shown.collect();
    if sandbox.is_some() {
        for tool in &mut shown {
            tool["inputSchema"]["properties"].as_object_mut().map(|properties| properties.remove("sandbox"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use schemars::{JsonSchema, generate::SchemaSettings};
    use serde_json::json;

    use super::{super::arguments, *};

    /// What a call may do: only reads; may destroy what is there; may be repeated; reaches beyond the sandbox.
    struct Hints(bool, bool, bool, bool);

    fn describe<T: JsonSchema>(tool: Tool, title: &str, hints: Hints, description: &str) -> Value {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
        for key in ["$schema", "title", "description"] {
            schema.as_object_mut().unwrap().remove(key);
        }
        for property in schema["properties"].as_object_mut().unwrap().values_mut() {
            *property = flat(property.take());
        }
        schema["additionalProperties"] = false.into();
        let Hints(read_only, destructive, idempotent, open_world) = hints;
        json!({
            "name": tool.name(),
            "title": title,
            "description": description,
            "inputSchema": schema,
            "annotations": {
                "readOnlyHint": read_only,
                "destructiveHint": destructive,
                "idempotentHint": idempotent,
                "openWorldHint": open_world,
            },
            // Our own bound is lower, but not every client counts as we do.
            "_meta": { "anthropic/maxResultSizeChars": 250_000 },
        })
    }

    /// A property without what says only that it may be absent, and with its words as one `enum`.
    fn flat(mut property: Value) -> Value {
        if let Some(options) = property["anyOf"].take().as_array().cloned() {
            let description = property["description"].take();
            property = options.into_iter().find(|option| option["type"] != "null").unwrap();
            property["description"] = description;
        }
        if let Some(types) = property["type"].as_array() {
            property["type"] = types.iter().find(|kind| **kind != "null").unwrap().clone();
        }
        if let Some(words) = property["enum"].as_array_mut() {
            words.retain(|word| !word.is_null());
        }
        let fields = property.as_object_mut().unwrap();
        fields.retain(|key, value| !value.is_null() && !["format", "default", "oneOf", "maximum"].contains(&key.as_str()));
        property
    }

    fn descriptions() -> Vec<Value> {
        use arguments::*;
        vec![
            describe::<Bash>(
                Tool::Bash,
                "Run a command",
                Hints(false, true, false, true),
                "Runs a shell script in the sandbox and returns its output and exit code, within 40 s. What runs longer goes on, and the \
                 answer has a process id for `process`.\n\nEach call is a new shell: it starts in /workspace and keeps nothing of earlier \
                 ones but files; use `cwd` or `cd dir && …`. stdout and stderr come together, in their order. Of long output you see \
                 beginning and end, with a line that counts what was left out: send it to a file and read parts of it. Start servers \
                 with `process`, not here.",
            ),
            describe::<Read>(
                Tool::Read,
                "Read a file",
                Hints(true, false, true, false),
                "Returns a text file's lines, 2000 unless `limit` says more, from `offset` on; a PNG, JPEG, GIF or WebP comes as an image.\
                 \n\nLines come as they are, without numbers. The last line of the answer says how many there are and where to go on.",
            ),
            describe::<Write>(
                Tool::Write,
                "Write a file",
                Hints(false, true, true, false),
                "Makes a file, or replaces all that it holds. Missing directories are made. For changes within a file use `edit`.",
            ),
            describe::<Edit>(
                Tool::Edit,
                "Edit a file",
                Hints(false, true, false, false),
                "Replaces one text in a file by another. `old` must be in the file exactly once, to the byte; or use `all`.\n\nIf it is \
                 not, nothing changes, and the error shows what comes closest or where it occurs: take more lines into `old`.",
            ),
            describe::<ApplyPatch>(
                Tool::ApplyPatch,
                "Apply a patch",
                Hints(false, true, false, false),
                "Applies a unified diff of one or many files, as `git diff` prints it: all of it, or nothing.\n\nHunks may be some lines \
                 off. Files are made, deleted and renamed as the diff says.",
            ),
            describe::<Glob>(
                Tool::Glob,
                "Find files",
                Hints(true, false, true, false),
                "Lists the files whose paths match a glob, however deep, sorted by path.\n\nHidden files and those that .gitignore names \
                 are left out unless `all`.",
            ),
            describe::<Grep>(
                Tool::Grep,
                "Search in files",
                Hints(true, false, true, false),
                "Searches files for a regular expression, as ripgrep does, and returns `path:line:text` for each match.\n\nHidden, ignored \
                 and binary files are left out.",
            ),
            describe::<List>(
                Tool::List,
                "List a directory",
                Hints(true, false, true, false),
                "Lists a directory: one path a line, directories with a slash, files with their size in bytes.",
            ),
            describe::<Process>(
                Tool::Process,
                "Background processes",
                Hints(false, true, false, true),
                "Starts and follows processes that outlive a call, such as servers: start, list, wait, logs, input, signal.\n\n`start` \
                 answers at once with an id. `wait` ends when the process does, or when `port` accepts connections, or when `log` is \
                 printed, or after `wait_ms`; then call it again. `logs` shows the output from byte `from` on. `input` writes to its \
                 stdin. `signal` without a signal ends it with all that it has started.",
            ),
            describe::<RunCode>(
                Tool::RunCode,
                "Run code that keeps its state",
                Hints(false, true, false, true),
                "Runs a cell of Python, JavaScript or TypeScript in the sandbox, and shows what it prints, its last value and its figures.\n\n\
                 Variables, imports and functions stay for the next call in the same language. Figures come back as images. A cell is \
                 interrupted after `timeout_ms`: run longer work with `process`. A kind without the language's kernel says so; the kind \
                 `python` has Python with numpy, pandas and matplotlib.",
            ),
            describe::<ExposePort>(
                Tool::ExposePort,
                "Give a port a URL",
                Hints(false, false, true, true),
                "Gives a port of the sandbox a URL outside, for a person to open. Start the server first, with `process`.",
            ),
            describe::<Sandbox>(
                Tool::Sandbox,
                "Manage sandboxes",
                Hints(false, true, false, true),
                "Creates, lists, shows, forks and destroys sandboxes. A sandbox is a Linux machine with files of its own.\n\n`create` with \
                 a `name` finds the sandbox of that name if there is one. `fork` makes a new one with the same files. Idle sandboxes sleep \
                 and keep their files; any call wakes them. `destroy` deletes the files for good.",
            ),
        ]
    }

    #[test]
    fn the_descriptions_are_made_from_the_arguments() {
        let text = format!("{:#}\n", Value::from(descriptions()));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mcp/tools.json");
        if env::var_os("CABANA_BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "CABANA_BLESS=1 cargo test -p cabana-worker writes it anew");
    }

    #[test]
    fn descriptions_begin_with_the_contract_and_fit_what_clients_show() {
        let all = descriptions();
        assert!(all.len() <= 12 && all.iter().map(|tool| &tool["name"]).eq(Tool::ALL.map(Tool::name).iter()));
        for tool in &all {
            let description = tool["description"].as_str().unwrap();
            let contract = description.split("\n\n").next().unwrap();
            assert!(contract.len() <= 200 && description.len() <= 2_000, "{description}");
            for (name, property) in tool["inputSchema"]["properties"].as_object().unwrap() {
                assert!(property["type"].is_string() && property["description"].is_string(), "{name}: {property}");
            }
        }
    }

    #[test]
    fn callers_see_the_tools_that_they_may_use() {
        let names = |scopes: Value, sandbox: Option<&str>| {
            let principal =
                Principal { operator: false, scopes: serde_json::from_value(scopes).unwrap(), ..Principal::operator() };
            let sandbox = sandbox.map(|id| id.parse().unwrap());
            let listed = list(&principal, sandbox.as_ref());
            listed.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        for (scopes, sandbox, expected) in [
            (json!({}), None, "bash read write edit apply_patch glob grep list process run_code expose_port sandbox"),
            (json!({}), Some("sbx-a"), "bash read write edit apply_patch glob grep list process run_code expose_port"),
            (json!({ "read_only": true }), None, "read glob grep list process sandbox"),
            (json!({ "operations": ["file"] }), None, "read write edit apply_patch glob grep list"),
            (json!({ "sandboxes": ["sbx-a"] }), Some("sbx-b"), ""),
        ] {
            assert_eq!(names(scopes.clone(), sandbox), expected, "{scopes} {sandbox:?}");
        }
        let all = list(&Principal::operator(), Some(&"sbx-a".parse().unwrap()));
        assert!(all.iter().all(|tool| tool["inputSchema"]["properties"].get("sandbox").is_none()), "the id is known");
    }
}
