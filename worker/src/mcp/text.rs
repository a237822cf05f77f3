//! What a model reads of an answer: plain text, bounded, which says what was left out and how to go on. Pure.

use cabana_protocol::{Code, Data, Error, Untyped};
use serde_json::Value;

/// Most bytes of a list: about 10,000 tokens, from which on clients complain.
pub(super) const LIST_BYTES: usize = 30_000;

/// Bytes as the API writes them, as text.
pub(super) fn text(value: &Value) -> String {
    let data = Untyped::from(value.clone()).read::<Data>().unwrap_or_default();
    String::from_utf8_lossy(&data.0).into_owned()
}

/// Some text and, below it, a line in brackets.
pub(super) fn with_note(mut text: String, note: &str) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text + "[" + note + "]"
}

/// As many of these lines as are shown; below them, how many there are, and the advice where some are left out.
pub(super) fn lines(lines: impl ExactSizeIterator<Item = String>, noun: &str, is_all: bool, advice: &str) -> String {
    let count = lines.len();
    let (mut text, mut shown) = (String::new(), 0);
    for line in lines.take_while(|line| !line.is_empty()) {
        if text.len() + line.len() > LIST_BYTES {
            break;
        }
        text += &line;
        text.push('\n');
        shown += 1;
    }
    let note = match (shown == count, is_all) {
        (true, true) => format!("{count} {noun}"),
        (true, false) => format!("the first {count} {noun}; {advice}"),
        (false, _) => format!("{shown} of {}{count} {noun}; {advice}", if is_all { "" } else { "more than " }),
    };
    with_note(text, &note)
}

/// How a process has ended, as a clause.
pub(super) fn exit(exit: &Value) -> String {
    let code = &exit["code"];
    match exit["type"].as_str().unwrap_or_default() {
        "exited" => format!("exit code {code}"),
        "signalled" => format!("ended by {}, exit code {code}", exit["signal"].as_str().unwrap_or("a signal")),
        "timed_out" => format!("timed out and was ended, exit code {code}"),
        "oom_killed" => format!("ran out of memory and was killed, exit code {code}"),
        "cancelled" => "cancelled".to_owned(),
        _ => "its end is not known: the sandbox restarted".to_owned(),
    }
}

/// What `exec` answered.
pub(super) fn command(answer: &Value, wait_ms: u64) -> String {
    let output = text(&answer["stdout"]) + &text(&answer["stderr"]);
    let total = answer["stdout_bytes"].as_u64().unwrap_or(0) + answer["stderr_bytes"].as_u64().unwrap_or(0);
    let left_out = match answer["truncated"] == true {
        true => {
            format!("; output truncated: {total} bytes in all, beginning and end are shown; write it to a file and read parts")
        }
        false => String::new(),
    };
    let note = match answer.get("exit").filter(|exit| !exit.is_null()) {
        Some(end) => format!("{} after {}", exit(end), seconds(answer["duration_ms"].as_u64().unwrap_or(0))),
        None => {
            let process = answer["process"].as_str().unwrap_or_default();
            let waited = seconds(wait_ms);
            format!(
                "still running after {waited}; go on with process {{\"action\": \"wait\", \"process\": \"{process}\", \"from\": {total}}}"
            )
        }
    };
    with_note(output, &(note + &left_out))
}

/// A page of what a process has printed.
pub(super) fn logs(page: &Value) -> String {
    let (to, total) = (page["to"].as_u64().unwrap_or(0), page["output_bytes"].as_u64().unwrap_or(0));
    let output = text(&page["stdout"]) + &text(&page["stderr"]);
    let state = page.get("exit").filter(|exit| !exit.is_null()).map_or_else(|| "running".to_owned(), exit);
    let rest = if to < total { format!("; {} more bytes", total - to) } else { String::new() };
    with_note(output, &format!("{state}{rest}; go on with \"from\": {to}"))
}

/// The image among the forms of what a cell shows, as base64, and its media type.
pub(super) fn image(data: &Value) -> Option<(&str, &str)> {
    ["image/png", "image/jpeg"].into_iter().find_map(|media_type| Some((data[media_type].as_str()?.trim_end(), media_type)))
}

/// What `code.run` answered, but for images.
pub(super) fn cell(answer: &Value) -> String {
    let logs = &answer["logs"];
    let results = answer["results"].as_array().into_iter().flatten();
    let shown =
        results.filter(|result| image(&result["data"]).is_none()).filter_map(|result| result["data"]["text/plain"].as_str());
    let error = answer.get("error").filter(|error| !error.is_null()).map(|error| {
        let traceback: Vec<_> = error["traceback"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if traceback.is_empty() { format!("{}: {}", word(&error["name"]), word(&error["value"])) } else { traceback.join("\n") }
    });
    let mut output = String::new();
    for part in [word(&logs["stdout"]), word(&logs["stderr"])].into_iter().chain(shown.map(str::to_owned)).chain(error) {
        output += &part;
        if !output.is_empty() && !output.ends_with('\n') {
            output.push('\n');
        }
    }
    let (output, cut) = bounded(plain(&output));
    let lost = if answer["state_kept"] == false { "; the variables are lost" } else { "" };
    let status = match answer["status"].as_str().unwrap_or_default() {
        "ok" => "done",
        "error" => "failed",
        "timed_out" => "timed out and was interrupted",
        "kernel_died" => "the kernel ended",
        other => other,
    };
    let truncated = if cut || answer["truncated"] == true { "; output truncated: print less" } else { "" };
    with_note(output, &format!("{status} after {}{lost}{truncated}", seconds(answer["duration_ms"].as_u64().unwrap_or(0))))
}

/// The beginning and the end of a text, and whether something between them is left out.
fn bounded(text: String) -> (String, bool) {
    if text.len() <= LIST_BYTES {
        return (text, false);
    }
    let (begin, end) = (text.floor_char_boundary(LIST_BYTES / 2), text.ceil_char_boundary(text.len() - LIST_BYTES / 2));
    (format!("{}\n[{} bytes left out]\n{}", &text[..begin], end - begin, &text[end..]), true)
}

/// A text without the colors of terminals (ECMA-48, control sequences).
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, sequence)) = rest.split_once("\u{1b}[") {
        plain += before;
        let end = sequence.find(|c: char| ('@'..='~').contains(&c));
        rest = end.map_or("", |end| &sequence[end + 1..]);
    }
    plain + rest
}

/// A process, in one line.
pub(super) fn process(process: &Value) -> String {
    let state = process.get("exit").filter(|exit| !exit.is_null()).map_or_else(|| "running".to_owned(), exit);
    let name = process["name"].as_str().map(|name| format!(" {name}")).unwrap_or_default();
    let command = match &process["command"] {
        Value::String(script) => script.lines().next().unwrap_or_default().to_owned(),
        argv => argv.to_string(),
    };
    format!("{}{name}  {state}  {}  {command}", word(&process["process"]), seconds(process["duration_ms"].as_u64().unwrap_or(0)))
}

/// An entry of a directory, in one line.
pub(super) fn entry(entry: &Value) -> String {
    let path = text(&entry["path"]);
    match entry["kind"].as_str().unwrap_or_default() {
        "directory" => path + "/",
        "symlink" => format!("{path} -> {}", text(&entry["target"])),
        _ => format!("{path}  {}", entry["size_bytes"]),
    }
}

/// The lines of one file in which something was found, as grep writes them.
pub(super) fn found(file: &Value) -> Vec<String> {
    let path = text(&file["path"]);
    let lines = file["lines"].as_array().into_iter().flatten();
    lines
        .map(|line| {
            let mark = if line.get("matches").is_some() { ':' } else { '-' };
            format!("{path}{mark}{}{mark}{}", line["line"], text(&line["text"]).trim_end_matches('\n'))
        })
        .collect()
}

/// A sandbox, in one line.
pub(super) fn sandbox(sandbox: &Value) -> String {
    format!("{}  {}  {}", word(&sandbox["id"]), word(&sandbox["kind"]), word(&sandbox["state"]))
}

/// An error, with the next step.
pub(super) fn error(error: &Error) -> String {
    let details = error.details.as_ref();
    let reason = details.and_then(|details| details["reason"].as_str()).unwrap_or_default();
    let mut text = format!("{}: {}", word(&serde_json::to_value(error.code).unwrap_or_default()), error.message);
    for (field, title) in [("closest", "closest text"), ("output", "last output")] {
        if let Some(shown) = details.and_then(|details| details.get(field)) {
            text += &format!("\n{title}:\n{}", self::text(shown));
        }
    }
    if let Some(lines) = details.and_then(|details| details["lines"].as_array()) {
        text += &format!("\nit is on the lines {}", Value::from(lines.clone()));
    }
    let step = match (error.code, reason) {
        (_, "no_such_sandbox") => "make it with sandbox {\"action\": \"create\"}, or list those that there are",
        (_, "no_such_process") => "list those that there are with process {\"action\": \"list\"}",
        (_, "outside_roots") => "files there are reached by bash only",
        (Code::Forbidden, _) => "these credentials do not allow it; ask the person who gave them",
        (Code::ContainerNotReady | Code::TooManyRequests, _) => "try again in a few seconds",
        (Code::Interrupted, _) => "it may have been done: look before you repeat it",
        _ => return text,
    };
    with_note(text, step)
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_says_how_it_ended_or_how_to_go_on() {
        for (answer, expected) in [
            (
                json!({ "stdout": "out\n", "stderr": "", "exit": { "type": "exited", "code": 3 }, "duration_ms": 1_234 }),
                "out\n[exit code 3 after 1.2 s]",
            ),
            (json!({ "stdout": "", "exit": { "type": "exited", "code": 0 }, "duration_ms": 5 }), "[exit code 0 after 0.0 s]"),
            (
                json!({ "stdout": "x", "exit": { "type": "signalled", "signal": "SIGSEGV", "code": 139 }, "duration_ms": 0 }),
                "x\n[ended by SIGSEGV, exit code 139 after 0.0 s]",
            ),
            (
                json!({ "stdout": { "base64": "/w==" }, "stdout_bytes": 1, "process": "k-1", "duration_ms": 1 }),
                "\u{fffd}\n[still running after 40.0 s; go on with process {\"action\": \"wait\", \"process\": \"k-1\", \"from\": 1}]",
            ),
        ] {
            assert_eq!(command(&answer, 40_000), expected);
        }
        let truncated = json!({ "stdout": "a", "truncated": true, "stdout_bytes": 9, "exit": { "type": "exited", "code": 0 } });
        assert!(command(&truncated, 0).contains("output truncated: 9 bytes in all"));
    }

    #[test]
    fn a_cell_shows_what_it_printed_its_values_and_its_failure() {
        let cell = |status: &str, kept: bool, mut shown: Value| {
            for (name, value) in [("status", status.into()), ("state_kept", kept.into()), ("duration_ms", 120.into())] {
                shown[name] = value;
            }
            super::cell(&shown)
        };
        let shown = json!([
            { "data": { "text/plain": "<Figure>", "image/png": "aGk=\n" } },
            { "data": { "text/plain": "6", "text/html": "<b>6</b>" }, "is_value": true },
        ]);
        let failed = json!({ "name": "ValueError", "value": "no", "traceback": ["\u{1b}[31mValueError\u{1b}[0m: no"] });
        let printed = json!({ "stdout": "a", "stderr": "b\n" });
        for (answer, expected) in [
            (cell("ok", true, json!({ "results": shown, "logs": printed })), "a\nb\n6\n[done after 0.1 s]"),
            (cell("error", true, json!({ "error": failed })), "ValueError: no\n[failed after 0.1 s]"),
            (cell("kernel_died", false, json!({})), "[the kernel ended after 0.1 s; the variables are lost]"),
        ] {
            assert_eq!(answer, expected);
        }
        assert_eq!(image(&shown[0]["data"]), Some(("aGk=", "image/png")));
        let long = cell("ok", true, json!({ "logs": { "stdout": "é".repeat(40_000) } }));
        assert!(
            long.len() < LIST_BYTES + 200 && long.ends_with("[done after 0.1 s; output truncated: print less]"),
            "{}",
            long.len()
        );
    }

    #[test]
    fn lists_say_what_they_leave_out() {
        let some = |count: usize| (0..count).map(|number| format!("{number:09}"));
        assert_eq!(lines(some(2), "files", true, "narrow"), "000000000\n000000001\n[2 files]");
        assert_eq!(lines(some(0), "files", true, "narrow"), "[0 files]");
        assert!(lines(some(2), "files", false, "narrow").ends_with("[the first 2 files; narrow]"));
        let long = lines(some(10_000), "files", false, "narrow");
        assert!(long.len() < LIST_BYTES + 100 && long.ends_with("[3000 of more than 10000 files; narrow]"), "{}", long.len());
    }

    #[test]
    fn errors_name_the_next_step() {
        let missing = Error::not_found("there is no such sandbox").because("no_such_sandbox");
        assert_eq!(
            error(&missing),
            "not_found: there is no such sandbox\n[make it with sandbox {\"action\": \"create\"}, or list those that there are]"
        );
        let twice = Error::new(Code::Unprocessable, "twice").with_details(json!({ "lines": [3, 9] }));
        assert_eq!(error(&twice), "unprocessable: twice\nit is on the lines [3,9]");
    }
}
