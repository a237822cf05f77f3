//! Settings of a cell as code: what changes the directory and the variables of a kernel's process.

use std::time::Duration;

use cabana_protocol::{Code, Error, code::RunEvent};
use tokio::time::timeout;

use super::{
    connection::Channel,
    content::{ExecuteReply, execution},
    context::Settings,
    kernel::{Incoming, Kernel},
};

/// How long a kernel may take to apply settings.
const LIMIT: Duration = Duration::from_secs(10);

/// Applies the settings of a cell, before it.
///
/// Fails with `unprocessable`: the language has no code for them, or the kernel refuses it.
pub(super) async fn apply(settings: &Settings, kernel: &mut Kernel) -> Result<(), Error> {
    if *settings == Settings::default() {
        return Ok(());
    }
    let language = &kernel.spec().language;
    let code = code(language, settings).ok_or_else(|| unsettable(language))?;
    execute_silently(kernel, &code).await
}

/// The code that applies these settings in a language; `None` where it is not known how.
pub(super) fn code(language: &str, settings: &Settings) -> Option<String> {
    // Strings of JSON are strings of all these languages: what is not ASCII stands for itself.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let cwd = settings.cwd.as_ref().map(|cwd| quoted(&cwd.to_string_lossy()));
    let lines: Vec<String> = match language {
        "python" => {
            let cwd = cwd.map(|cwd| format!("__import__(\"os\").chdir({cwd})"));
            let env = settings.env.iter().map(|(name, value)| match value {
                Some(value) => format!("__import__(\"os\").environ[{}] = {}", quoted(name), quoted(value)),
                None => format!("__import__(\"os\").environ.pop({}, None)", quoted(name)),
            });
            cwd.into_iter().chain(env).collect()
        }
        "javascript" | "typescript" => {
            let cwd = cwd.map(|cwd| format!("globalThis.process.chdir({cwd});"));
            let env = settings.env.iter().map(|(name, value)| match value {
                Some(value) => format!("globalThis.process.env[{}] = {};", quoted(name), quoted(value)),
                None => format!("delete globalThis.process.env[{}];", quoted(name)),
            });
            cwd.into_iter().chain(env).collect()
        }
        _ => return None,
    };
    Some(lines.join("\n"))
}

/// Runs code that is not a cell, and waits for its end.
async fn execute_silently(kernel: &mut Kernel, code: &str) -> Result<(), Error> {
    let id = kernel.next_id();
    let failed = |why: String| Error::new(Code::Unprocessable, format!("the kernel does not take `cwd` and `env`: {why}"));
    kernel
        .request(&id, "execute_request", None, &execution(code, true, false))
        .await
        .map_err(|error| failed(error.to_string()))?;
    let replied = async {
        loop {
            match kernel.next().await {
                Incoming::Message(Channel::Shell, message) if message.parent.as_deref() == Some(id.as_str()) => {
                    return Some(message);
                }
                Incoming::Ended(exit) => {
                    kernel.note_end(exit);
                    return None;
                }
                _ => {}
            }
        }
    };
    let reply = timeout(LIMIT, replied).await.ok().flatten();
    match reply.and_then(|message| message.read::<ExecuteReply>()) {
        Some(reply) if reply.status == "ok" => Ok(()),
        Some(reply) => Err(failed(match reply.failure.into_event() {
            RunEvent::Failed { name, value, .. } => format!("{name}: {value}"),
            _ => String::new(),
        })),
        None => Err(failed("it does not answer".to_owned())),
    }
}

fn unsettable(language: &str) -> Error {
    let message = format!("`cwd` and `env` cannot be changed in a context of {language:?}: set them when it is created");
    Error::new(Code::Unprocessable, message).because("no_settings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_become_code() {
        let settings = Settings {
            cwd: Some("/work/\"quoted\"".into()),
            env: vec![("A".into(), Some("line\n\\\"é🌊".into())), ("B".into(), None)],
        };
        assert_eq!(
            code("python", &settings).unwrap(),
            "__import__(\"os\").chdir(\"/work/\\\"quoted\\\"\")\n\
             __import__(\"os\").environ[\"A\"] = \"line\\n\\\\\\\"é🌊\"\n\
             __import__(\"os\").environ.pop(\"B\", None)"
        );
        assert!(code("typescript", &settings).unwrap().ends_with("delete globalThis.process.env[\"B\"];"));
        assert_eq!(code("r", &settings), None);
    }
}
