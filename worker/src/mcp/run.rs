//! What each tool does: one or two requests to the API, and their answers as text.

use cabana::Code;
use cabana_protocol::{Error, decode_fields, names::missing_field};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use worker::Method;

use super::{
    api::{Api, Target},
    arguments::{
        Access, ApplyPatch, Bash, Edit, ExposePort, Glob, Grep, List, Process, ProcessAction, Read, RunCode, Sandbox,
        SandboxAction, SandboxArgument, Write,
    },
    text,
    tool::Tool,
};

/// Longest wait within one call: clients give up after 45 to 60 s.
const MAX_WAIT_MS: u64 = 40_000;

/// How long a command may run that names no time.
const COMMAND_MS: u64 = 600_000;

/// Bytes of output that are shown of a command, by default and at most.
const OUTPUT_BYTES: (u64, u64) = (30_000, 200_000);

/// Lines that are shown of a file by default.
const LINES: u64 = 2_000;

/// Most bytes of a file's lines.
const TEXT_BYTES: usize = 100_000;

/// Largest image.
const IMAGE_BYTES: u64 = 4 << 20;

/// What images are called that models see.
const IMAGES: [&str; 5] = [".png", ".jpg", ".jpeg", ".gif", ".webp"];

/// Calls a tool. The answer is blocks of content.
///
/// Fails with what the model is told: arguments that cannot be, and the errors of the API.
pub(super) async fn run(tool: Tool, arguments: Map<String, Value>, api: &Api<'_>) -> Result<Vec<Value>, Error> {
    match tool {
        Tool::Bash => bash(decode(arguments)?, api).await,
        Tool::Read => return Ok(vec![read(decode(arguments)?, api).await?]),
        Tool::Write => write(decode(arguments)?, api).await,
        Tool::Edit => edit(decode(arguments)?, api).await,
        Tool::ApplyPatch => apply_patch(decode(arguments)?, api).await,
        Tool::Glob => glob(decode(arguments)?, api).await,
        Tool::Grep => grep(decode(arguments)?, api).await,
        Tool::List => list(decode(arguments)?, api).await,
        Tool::Process => process(decode(arguments)?, api).await,
        Tool::RunCode => return run_code(decode(arguments)?, api).await,
        Tool::ExposePort => expose_port(decode(arguments)?, api).await,
        Tool::Sandbox => sandbox(decode(arguments)?, api).await,
    }
    .map(|text| vec![block(text)])
}

/// A block of content that is text.
pub(super) fn block(text: String) -> Value {
    json!({ "type": "text", "text": text })
}

fn decode<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, Error> {
    decode_fields(arguments)
}

fn target<'a>(api: &'a Api<'_>, arguments: &impl SandboxArgument) -> Result<Target<'a>, Error> {
    api.target(arguments.sandbox())
}

async fn bash(arguments: Bash, api: &Api<'_>) -> Result<String, Error> {
    let wait_ms = arguments.wait_ms.unwrap_or(MAX_WAIT_MS).min(MAX_WAIT_MS);
    let (default, most) = OUTPUT_BYTES;
    let mut request = json!({
        "command": arguments.command,
        "stderr": "stdout",
        "detach": true,
        "wait_ms": wait_ms,
        "timeout_ms": arguments.timeout_ms.unwrap_or(COMMAND_MS),
        "max_output_bytes": arguments.max_output_bytes.unwrap_or(default).clamp(1, most),
    });
    set(&mut request, "cwd", arguments.cwd.as_ref());
    let answer = target(api, &arguments)?.post("exec", request).await?;
    Ok(text::command(&answer, wait_ms))
}

async fn read(arguments: Read, api: &Api<'_>) -> Result<Value, Error> {
    let target = target(api, &arguments)?;
    let name = arguments.path.to_ascii_lowercase();
    if IMAGES.iter().any(|suffix| name.ends_with(suffix)) {
        let answer =
            target.post("file/read", json!({ "path": arguments.path, "encoding": "base64", "length": IMAGE_BYTES })).await?;
        let (size, media_type) = (answer["size_bytes"].as_u64().unwrap_or(0), answer["media_type"].as_str().unwrap_or_default());
        if size > IMAGE_BYTES {
            return Err(Error::new(Code::PayloadTooLarge, format!("the image has {size} bytes: make a smaller one with bash")));
        }
        if media_type.starts_with("image/") {
            return Ok(json!({ "type": "image", "data": answer["content"]["base64"], "mimeType": media_type }));
        }
    }
    let (first, count) = (arguments.offset.unwrap_or(1).max(1), arguments.limit.unwrap_or(LINES).max(1));
    let lines = json!({ "from": first, "to": first.saturating_add(count - 1) });
    let answer = target.post("file/read", json!({ "path": arguments.path, "lines": lines })).await?;
    if !answer["content"].is_string() {
        let (size, media_type) = (&answer["size_bytes"], answer["media_type"].as_str().unwrap_or("application/octet-stream"));
        return Ok(block(format!("[{size} bytes of {media_type}, which is not text; look at it with bash]")));
    }
    Ok(block(shown_lines(answer["content"].as_str().unwrap_or_default(), first, count)))
}

/// Lines of a file, whole ones, as far as they are shown.
fn shown_lines(content: &str, first: u64, count: u64) -> String {
    let mut shown = String::new();
    let mut number = 0;
    for line in content.split_inclusive('\n') {
        if !shown.is_empty() && shown.len() + line.len() > TEXT_BYTES {
            break;
        }
        shown += line;
        number += 1;
    }
    if shown.len() > TEXT_BYTES {
        shown.truncate(shown.floor_char_boundary(TEXT_BYTES));
        return text::with_note(
            shown,
            &format!("the beginning of line {first}, which is longer than {TEXT_BYTES} bytes; use bash"),
        );
    }
    let last = first + number;
    let note = match number {
        0 if first > 1 => format!("the file has fewer than {first} lines"),
        0 => "the file is empty".to_owned(),
        _ if number == count || shown.len() < content.len() => {
            format!("lines {first} to {}; go on with \"offset\": {last}", last - 1)
        }
        _ => format!("lines {first} to {}, the end of the file", last - 1),
    };
    text::with_note(shown, &note)
}

async fn write(arguments: Write, api: &Api<'_>) -> Result<String, Error> {
    let request = json!({ "path": arguments.path, "content": arguments.content });
    let answer = target(api, &arguments)?.post("file/write", request).await?;
    let verb = if answer["created"] == true { "made" } else { "replaced" };
    Ok(format!("{verb} {}, {} bytes", arguments.path, answer["size_bytes"]))
}

async fn edit(arguments: Edit, api: &Api<'_>) -> Result<String, Error> {
    let edit = json!({ "old": arguments.old, "new": arguments.new, "all": arguments.all });
    let answer = target(api, &arguments)?.post("file/edit", json!({ "path": arguments.path, "edits": [edit] })).await?;
    Ok(format!("replaced {} in {}", answer["replacements"], arguments.path))
}

async fn apply_patch(arguments: ApplyPatch, api: &Api<'_>) -> Result<String, Error> {
    let request = json!({ "patch": arguments.patch, "path": arguments.path.as_deref().unwrap_or(".") });
    let answer = target(api, &arguments)?.post("file/patch", request).await?;
    let files = answer["files"].as_array().cloned().unwrap_or_default();
    let line = |file: Value| format!("{} {}", file["action"].as_str().unwrap_or_default(), text::text(&file["path"]));
    Ok(text::lines(files.into_iter().map(line), "files", true, "list the directory"))
}

async fn glob(arguments: Glob, api: &Api<'_>) -> Result<String, Error> {
    let path = arguments.path.as_deref().unwrap_or(".");
    let request = json!({ "path": path, "pattern": arguments.pattern, "hidden": arguments.all, "ignored": arguments.all });
    let answer = target(api, &arguments)?.post("file/find", request).await?;
    let files = answer["items"].as_array().cloned().unwrap_or_default();
    let is_all = answer["truncated"] != true && answer["timed_out"] != true;
    let paths = files.into_iter().map(|file| text::text(&file["path"]));
    Ok(text::lines(paths, "files", is_all, "narrow the pattern or the path"))
}

async fn grep(arguments: Grep, api: &Api<'_>) -> Result<String, Error> {
    let mut request = json!({
        "path": arguments.path.as_deref().unwrap_or("."),
        "pattern": arguments.pattern,
        "literal": arguments.literal,
        "ignore_case": arguments.ignore_case,
    });
    set(&mut request, "context", arguments.context);
    set(&mut request, "include", arguments.include.as_ref().map(|glob| [glob]));
    let answer = target(api, &arguments)?.post("file/search", request).await?;
    let lines: Vec<_> = answer["files"].as_array().into_iter().flatten().flat_map(text::found).collect();
    let is_all = answer["truncated"] != true && answer["timed_out"] != true;
    Ok(text::lines(lines.into_iter(), "lines", is_all, "narrow the pattern, the path or `include`"))
}

async fn list(arguments: List, api: &Api<'_>) -> Result<String, Error> {
    let mut request = json!({ "path": arguments.path.as_deref().unwrap_or(".") });
    set(&mut request, "depth", arguments.depth);
    let answer = target(api, &arguments)?.post("file/list", request).await?;
    let entries = answer["items"].as_array().cloned().unwrap_or_default();
    let is_all = answer["cursor"].is_null();
    Ok(text::lines(entries.iter().map(text::entry), "entries", is_all, "list a directory below it, or use `glob`"))
}

async fn process(arguments: Process, api: &Api<'_>) -> Result<String, Error> {
    let target = target(api, &arguments)?;
    let process = || arguments.process.clone().ok_or_else(|| missing_field("process"));
    match arguments.action {
        ProcessAction::Start => {
            let command = arguments.command.as_ref().ok_or_else(|| missing_field("command"))?;
            let mut request = json!({ "command": command, "detach": true, "stderr": "stdout", "stdin": { "stream": true } });
            set(&mut request, "name", arguments.name.as_ref());
            set(&mut request, "cwd", arguments.cwd.as_ref());
            let answer = target.post("exec", request).await?;
            let id = answer["process"].as_str().unwrap_or_default();
            Ok(match answer.get("exit").filter(|exit| !exit.is_null()) {
                Some(end) => {
                    format!("process {id} of this name has ended already: {}; start it under another name", text::exit(end))
                }
                None => format!("process {id} runs; follow it with \"wait\" or \"logs\""),
            })
        }
        ProcessAction::List => {
            let answer = target.post("process/list", json!({})).await?;
            let processes = answer["items"].as_array().cloned().unwrap_or_default();
            Ok(text::lines(processes.iter().map(text::process), "processes", true, "end some"))
        }
        ProcessAction::Wait => wait(&arguments, process()?, &target).await,
        ProcessAction::Logs => logs(&arguments, process()?, &target).await,
        ProcessAction::Input => {
            let data = arguments.data.as_ref().ok_or_else(|| missing_field("data"))?;
            target.post("process/input", json!({ "process": process()?, "data": data })).await?;
            Ok("written; look at what it prints with \"logs\"".to_owned())
        }
        ProcessAction::Signal => match &arguments.signal {
            Some(signal) => {
                target.post("process/signal", json!({ "process": process()?, "signal": signal })).await?;
                Ok(format!("{signal} was sent; look at what it does with \"wait\""))
            }
            None => {
                let answer = target.post("process/end", json!({ "process": process()? })).await?;
                Ok(answer["items"].as_array().into_iter().flatten().map(text::process).collect::<Vec<_>>().join("\n"))
            }
        },
    }
}

async fn wait(arguments: &Process, process: String, target: &Target<'_>) -> Result<String, Error> {
    let until = match (arguments.port, &arguments.log) {
        (Some(_), Some(_)) => return Err(Error::invalid_request("`wait` takes `port` or `log`, not both")),
        (Some(port), None) => json!({ "port": port }),
        (None, Some(log)) => json!({ "log": log }),
        (None, None) => json!("exit"),
    };
    let timeout_ms = arguments.wait_ms.unwrap_or(MAX_WAIT_MS).clamp(1, MAX_WAIT_MS);
    let mut request = json!({ "process": process, "until": until, "timeout_ms": timeout_ms });
    if arguments.log.is_some() {
        set(&mut request, "from", arguments.from);
    }
    let outcome = match target.post("process/wait", request).await {
        Ok(answer) => match answer["line"].as_str() {
            Some(line) => format!("it has printed: {line}"),
            None if arguments.port.is_some() => "the port accepts connections".to_owned(),
            None => "it has ended".to_owned(),
        },
        // Time is over, and nothing is wrong: the model decides whether to wait on.
        Err(error) if error.code == Code::Timeout => format!("not yet, after {timeout_ms} ms"),
        Err(error) => return Err(error),
    };
    Ok(format!("{outcome}\n{}", logs(arguments, process, target).await?))
}

async fn logs(arguments: &Process, process: String, target: &Target<'_>) -> Result<String, Error> {
    let mut request = json!({ "process": process, "max_bytes": OUTPUT_BYTES.0 });
    set(&mut request, "from", arguments.from);
    target.post("process/logs", request).await.map(|page| text::logs(&page))
}

async fn run_code(arguments: RunCode, api: &Api<'_>) -> Result<Vec<Value>, Error> {
    let request = json!({
        "code": arguments.code,
        "language": arguments.language.as_deref().unwrap_or("python"),
        "timeout_ms": arguments.timeout_ms.unwrap_or(MAX_WAIT_MS).min(MAX_WAIT_MS),
    });
    let answer = target(api, &arguments)?.post("code/run", request).await?;
    let results = answer["results"].as_array().into_iter().flatten();
    let images = results.filter_map(|result| text::image(&result["data"])).filter(|(data, _)| data.len() as u64 <= IMAGE_BYTES);
    let images = images.map(|(data, media_type)| json!({ "type": "image", "data": data, "mimeType": media_type }));
    Ok(images.chain([block(text::cell(&answer))]).collect())
}

async fn expose_port(arguments: ExposePort, api: &Api<'_>) -> Result<String, Error> {
    let access = match arguments.access {
        None | Some(Access::Token) => "token",
        Some(Access::Public) => "public",
        Some(Access::Private) => "private",
    };
    let answer = target(api, &arguments)?.post("ports", json!({ "port": arguments.port, "access": access })).await?;
    Ok(match answer["url"].as_str() {
        Some(url) => format!("port {} is at {url} ({access})", arguments.port),
        None => format!(
            "this deployment has no domain for previews; callers of the API reach port {} at {}",
            arguments.port,
            answer["path"].as_str().unwrap_or_default()
        ),
    })
}

async fn sandbox(arguments: Sandbox, api: &Api<'_>) -> Result<String, Error> {
    let named = || arguments.sandbox.as_deref().ok_or_else(|| missing_field("sandbox"));
    match arguments.action {
        SandboxAction::Create => {
            let mut request = json!({});
            set(&mut request, "kind", arguments.kind.as_ref());
            set(&mut request, "name", arguments.name.as_ref());
            let made = api.send(Method::Post, "/v1/sandboxes", Some(&request)).await?;
            Ok(text::with_note(text::sandbox(&made), "name its id as `sandbox` in the calls that are for it"))
        }
        SandboxAction::List => {
            let answer = api.send(Method::Get, "/v1/sandboxes?limit=100", None).await?;
            let sandboxes = answer["items"].as_array().cloned().unwrap_or_default();
            let is_all = answer["cursor"].is_null();
            Ok(text::lines(sandboxes.iter().map(text::sandbox), "sandboxes", is_all, "there are more"))
        }
        SandboxAction::Show => {
            let id = api.target(Some(named()?))?.id().clone();
            let shown = api.send(Method::Get, &format!("/v1/sandboxes/{id}"), None).await?;
            Ok(format!("{shown:#}"))
        }
        SandboxAction::Fork => {
            let mut request = json!({});
            set(&mut request, "name", arguments.name.as_ref());
            let answer = api.target(Some(named()?))?.post("fork", request).await?;
            let made = answer["items"].as_array().cloned().unwrap_or_default();
            Ok(text::lines(made.iter().map(text::sandbox), "sandboxes", true, "list them"))
        }
        SandboxAction::Destroy => {
            let id = api.target(Some(named()?))?.id().clone();
            api.send(Method::Delete, &format!("/v1/sandboxes/{id}"), None).await?;
            Ok(format!("{id} and its files are gone"))
        }
    }
}

/// Sets a field of a request, if there is a value for it.
fn set(request: &mut Value, field: &str, value: Option<impl Serialize>) {
    if let (Some(fields), Some(value)) = (request.as_object_mut(), value) {
        fields.insert(field.to_owned(), json!(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_file_say_where_to_go_on() {
        for (content, first, count, expected) in [
            ("", 1, 10, "[the file is empty]"),
            ("", 9, 10, "[the file has fewer than 9 lines]"),
            ("a\nb", 1, 10, "a\nb\n[lines 1 to 2, the end of the file]"),
            ("c\nd\n", 3, 2, "c\nd\n[lines 3 to 4; go on with \"offset\": 5]"),
        ] {
            assert_eq!(shown_lines(content, first, count), expected);
        }
        let long = format!("{}\n", "x".repeat(99)).repeat(2_000);
        let shown = shown_lines(&long, 1, 5_000);
        assert!(shown.ends_with("[lines 1 to 1000; go on with \"offset\": 1001]"), "{}", &shown[shown.len() - 90..]);
        assert!(shown_lines(&"x".repeat(200_000), 4, 10).ends_with("which is longer than 100000 bytes; use bash]"));
    }
}
