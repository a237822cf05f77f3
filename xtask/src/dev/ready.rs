//! What the user is told when the service is ready.

use super::directory::write_private;
use crate::progress::seconds;
use anyhow::Result;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// The command that shows that sandboxes work.
pub(crate) const FIRST_COMMAND: &str = r#"python3 -c "print(2 + 2)""#;

/// What came of the first command.
pub(crate) struct First {
    /// Its standard output.
    pub(crate) output: String,
    /// From the request that creates the sandbox to the command's result.
    pub(crate) took: Duration,
}

/// Everything there is to say.
pub(crate) struct Ready<'a> {
    pub(crate) url: &'a str,
    pub(crate) api_key: &'a str,
    pub(crate) first: &'a First,
    /// Where the state is that lasts over runs; `None`: it goes with this run.
    pub(crate) kept: Option<&'a Path>,
}

impl Ready<'_> {
    /// The lines for the terminal; the commands in them can be copied as they are.
    pub(crate) fn block(&self, logs: &Path) -> String {
        let Self { url, api_key, first, kept } = self;
        let (output, took) = (first.output.trim(), seconds(first.took));
        let logs = logs.display();
        let kept = match kept {
            Some(kept) => format!("kept in {} for the next run; --fresh forgets it", kept.display()),
            None => "goes with this run".to_owned(),
        };
        let headers = format!("-H 'Authorization: Bearer {api_key}' -H 'Content-Type: application/json'");
        format!(
            r#"
Cabana is ready.

  URL      {url}
  API key  {api_key}
  First    {FIRST_COMMAND} in a fresh sandbox printed {output} after {took}, the sandbox's start included
  State    {kept}

Try it:
  curl -sS {url}/v1/sandboxes {headers} -d '{{"name": "demo"}}'
  curl -sS {url}/v1/sandboxes/sbx-demo/exec {headers} -d '{{"command": "echo hello from $(hostname)"}}'

Logs are in {logs}. Ctrl-C ends the service and its sandboxes.
"#
        )
    }

    /// Writes URL and key as JSON to `file`, for its owner only.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        write_private(file, &format!("{}\n", json!({ "url": self.url, "api_key": self.api_key })))
    }
}

#[cfg(test)]
mod tests {
    use super::{First, Ready};
    use serde_json::{Value, json};
    use std::time::Duration;

    fn ready(first: &First) -> Ready<'_> {
        Ready { url: "http://127.0.0.1:8787", api_key: "key", first, kept: None }
    }

    #[test]
    fn the_block_says_where_with_what_and_what_came_of_it() {
        let first = First { output: "4\n".to_owned(), took: Duration::from_millis(312) };
        let block = ready(&first).block("target/dev/7".as_ref());
        assert!(block.contains("http://127.0.0.1:8787") && block.contains("API key  key"), "{block}");
        assert!(block.contains("printed 4 after 312 ms"), "{block}");
        let commands: Vec<&str> = block.lines().filter(|line| line.trim_start().starts_with("curl ")).collect();
        assert_eq!(commands.len(), 2);
        assert!(commands.iter().all(|line| line.contains("'Authorization: Bearer key'")));
    }

    #[test]
    fn the_ready_file_is_json() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ready");
        let first = First { output: String::new(), took: Duration::ZERO };
        ready(&first).write(&file).unwrap();
        let value: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(value, json!({"url": "http://127.0.0.1:8787", "api_key": "key"}));
    }
}
