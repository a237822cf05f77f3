//! `cabana connect`.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use jsonc_parser::{
    ParseOptions,
    cst::{CstInputValue, CstRootNode},
};

use crate::{context::Context, id::Named};

/// The name of the server in the settings of an assistant.
const NAME: &str = "cabana";
/// What begins and ends the part of a TOML file that is ours.
const MARKS: [&str; 2] = ["# cabana connect: begin", "# cabana connect: end"];

/// Tells an assistant of the tools of your sandboxes, in its own settings. It starts `cabana mcp`, so that no key is in them.
///
/// What else is in the settings stays as it is, comments too. Claude, Cursor and VS Code keep them in this directory, the others in your home.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Print the settings in place of writing them
    #[arg(long, conflicts_with = "undo")]
    print: bool,
    /// Take the settings out again
    #[arg(long)]
    undo: bool,
    /// The assistant
    assistant: Assistant,
    /// The only sandbox that the tools are for; a name alone is of the kind sbx
    #[arg(value_name = "ID")]
    id: Option<Named>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Assistant {
    Claude,
    Codex,
    Cursor,
    Vscode,
    Windsurf,
    Zed,
}

/// How the assistant is to start the server.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    command: String,
    arguments: Vec<String>,
}

impl Connect {
    pub(crate) fn run(self, context: &Context) -> Result<u8> {
        let output = context.output();
        let server = self.server(context)?;
        if self.print {
            output.print(&self.assistant.edit("", Some(&server))?)?;
            return Ok(0);
        }
        let file = self.assistant.file()?;
        let about = || format!("the settings in {}", file.display());
        let before = match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.with_context(about)?,
        };
        let after = self.assistant.edit(&before, Some(&server).filter(|_| !self.undo)).with_context(about)?;
        if after != before {
            replace(&file, &after).with_context(about)?;
        }
        output.note(&format!("{}: {}", file.display(), if self.undo { "without cabana" } else { "with cabana" }));
        Ok(0)
    }

    fn server(&self, context: &Context) -> Result<Server> {
        let program = env::current_exe().context("find this program")?;
        let mut arguments = Vec::new();
        for (option, value) in [("--profile", context.profile()), ("--tenant", context.tenant())] {
            arguments.extend(value.into_iter().flat_map(|value| [option.to_owned(), value.to_owned()]));
        }
        arguments.push("mcp".to_owned());
        arguments.extend(self.id.as_ref().map(|id| id.0.to_string()));
        Ok(Server { command: program.to_string_lossy().into_owned(), arguments })
    }
}

impl Assistant {
    /// Where its settings are.
    fn file(self) -> Result<PathBuf> {
        let home = || env::home_dir().context("HOME is not set");
        Ok(match self {
            Self::Claude => ".mcp.json".into(),
            Self::Cursor => ".cursor/mcp.json".into(),
            Self::Vscode => ".vscode/mcp.json".into(),
            Self::Codex => home()?.join(".codex/config.toml"),
            Self::Windsurf => home()?.join(".codeium/windsurf/mcp_config.json"),
            Self::Zed => home()?.join(".config/zed/settings.json"),
        })
    }

    /// The settings with the server, or without it.
    fn edit(self, text: &str, server: Option<&Server>) -> Result<String> {
        match self {
            Self::Codex => edit_toml(text, server),
            Self::Claude | Self::Cursor | Self::Windsurf => edit_json(text, "mcpServers", server, &[]),
            Self::Vscode => edit_json(text, "servers", server, &[("type", "stdio")]),
            Self::Zed => edit_json(text, "context_servers", server, &[]),
        }
    }
}

fn edit_json(text: &str, list: &str, server: Option<&Server>, more: &[(&str, &str)]) -> Result<String> {
    let tree = CstRootNode::parse(if text.trim().is_empty() { "{}\n" } else { text }, &ParseOptions::default());
    let tree = tree.context("this is no JSON with comments")?;
    let root = tree.object_value_or_create().context("this is no JSON object")?;
    let Some(server) = server else {
        if let Some(servers) = root.object_value(list) {
            servers.get(NAME).into_iter().for_each(|present| present.remove());
        }
        return Ok(if text.is_empty() { String::new() } else { tree.to_string() });
    };
    let servers = root.object_value_or_create(list).with_context(|| format!("{list} is no object"))?;
    let mut fields: Vec<(String, CstInputValue)> =
        more.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    fields.push(("command".to_owned(), server.command.as_str().into()));
    fields.push(("args".to_owned(), server.arguments.clone().into()));
    match servers.get(NAME) {
        Some(present) => present.set_value(CstInputValue::Object(fields)),
        None => {
            servers.append(NAME, CstInputValue::Object(fields));
        }
    }
    Ok(tree.to_string())
}

/// Codex reads TOML, of which a table can stand anywhere: ours stands at the end, between marks.
fn edit_toml(text: &str, server: Option<&Server>) -> Result<String> {
    let [begin, end] = MARKS;
    let mut rest = match (text.find(begin), text.find(end)) {
        (Some(first), Some(last)) if first < last => {
            format!("{}{}", &text[..first], text[last + end.len()..].trim_start_matches('\n'))
        }
        (None, None) => text.to_owned(),
        _ => bail!("the marks of `cabana connect` are not a pair: mend the file by hand"),
    };
    let Some(server) = server else { return Ok(rest) };
    if rest.contains("[mcp_servers.cabana]") {
        bail!("there is a server that is called {NAME} already: take it out first");
    }
    if !rest.is_empty() && !rest.ends_with('\n') {
        rest.push('\n');
    }
    let quote = |text: &String| toml::Value::String(text.clone()).to_string();
    let arguments: Vec<String> = server.arguments.iter().map(quote).collect();
    let (command, arguments) = (quote(&server.command), arguments.join(", "));
    Ok(format!("{rest}{begin}\n[mcp_servers.{NAME}]\ncommand = {command}\nargs = [{arguments}]\n{end}\n"))
}

/// Writes a file in one step.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    // A link to the settings stays one.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let partial = directory.join(format!(".cabana-{}", std::process::id()));
    fs::write(&partial, text)?;
    if let Ok(present) = fs::metadata(&file) {
        fs::set_permissions(&partial, present.permissions())?;
    }
    fs::rename(&partial, &file)
}

#[cfg(test)]
mod tests {
    use super::{Assistant, Server};

    fn server(arguments: &[&str]) -> Server {
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        Server { command: "/bin/cabana".to_owned(), arguments }
    }

    #[test]
    fn settings_come_and_go_and_the_rest_stays() {
        for (assistant, text) in [
            (Assistant::Cursor, "{\n  // mine\n  \"mcpServers\": {\n    \"other\": { \"url\": \"x\" }\n  }\n}\n"),
            (Assistant::Zed, "// settings\n{\n  \"theme\": \"x\", // dark\n  \"context_servers\": {}\n}\n"),
            (Assistant::Codex, "model = \"x\"\n\n[mcp_servers.other]\ncommand = \"y\"\n"),
        ] {
            let with = assistant.edit(text, Some(&server(&["mcp", "sbx-a"]))).unwrap();
            assert!(with.contains("/bin/cabana") && with.contains("sbx-a"), "{with}");
            let again = assistant.edit(&with, Some(&server(&["mcp", "sbx-b"]))).unwrap();
            assert!(again.contains("sbx-b") && !again.contains("sbx-a"), "{again}");
            let without = assistant.edit(&again, None).unwrap();
            let squeezed = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(squeezed(&without), squeezed(text), "{assistant:?}");
        }
    }

    #[test]
    fn settings_are_made_where_there_are_none() {
        let text = Assistant::Vscode.edit("", Some(&server(&["mcp"]))).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({ "type": "stdio", "command": "/bin/cabana", "args": ["mcp"] });
        assert_eq!(value["servers"]["cabana"], expected);
        let text = Assistant::Codex.edit("", Some(&server(&["mcp", "a\"b"]))).unwrap();
        let value: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(value["mcp_servers"]["cabana"]["args"][1].as_str(), Some("a\"b"));
    }

    #[test]
    fn settings_that_cannot_be_read_are_left_alone() {
        assert!(Assistant::Claude.edit("{ not json", Some(&server(&[]))).is_err());
        assert!(Assistant::Claude.edit("[]", Some(&server(&[]))).is_err());
        assert!(Assistant::Codex.edit("[mcp_servers.cabana]\n", Some(&server(&[]))).is_err());
    }
}
