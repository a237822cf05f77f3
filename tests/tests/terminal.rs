//! Commands on a terminal. Text that a case waits for is computed by the command, so that the echo of typed text is not taken for it.

mod client;

use cabana_protocol::{
    Data,
    exec::{Cells, Exec, ExecEvent, Exit, Stdin, Tty},
    line::Line,
    process::{Get, Input, Resize, Until, Wait, Waited},
};
use cabana_tests::{NDJSON, Sandbox, gather, in_sandbox, require, until};
use futures_util::StreamExt;
use serde_json::{Value, json};

use client::TerminalClient;

fn size(cols: u64, rows: u64) -> Tty {
    Tty { cols: Cells::new(cols).unwrap(), rows: Cells::new(rows).unwrap() }
}

const fn exited(code: i32) -> Exit {
    Exit::Exited { code }
}

/// What a script shows on a terminal, whose result must be a success.
async fn shown(sandbox: &Sandbox, request: Value) -> Vec<u8> {
    let output = sandbox.exec(request.clone()).await;
    assert!(output.result.success() && output.stderr.0.is_empty(), "{request}: {output:?}");
    output.stdout.0.to_vec()
}

#[tokio::test]
async fn stdin_stdout_and_stderr_are_the_terminal() {
    in_sandbox(async |sandbox| {
        let script = "tty; for fd in 0 1 2; do test -t $fd && echo terminal; done; echo err >&2; echo $TERM; stty size; : < /dev/tty \
                      && echo controls; [ $(ps -o sess= -p $$) = $$ ] && echo leads";
        let text = String::from_utf8(shown(sandbox, json!({ "command": script, "tty": { "cols": 99, "rows": 33 } })).await).unwrap();
        let (tty, rest) = text.split_once("\r\n").unwrap();
        assert!(tty.starts_with("/dev/pts/"), "{tty}");
        let expected = "terminal\r\nterminal\r\nterminal\r\nerr\r\nxterm-256color\r\n33 99\r\ncontrols\r\nleads\r\n";
        assert_eq!(rest, expected);
        let request = json!({ "command": "stty size; echo $TERM", "tty": {}, "env": { "TERM": "vt100", "LINES": "7" } });
        assert_eq!(shown(sandbox, request).await, b"24 80\r\nvt100\r\n");
        let request = json!({ "command": "stty size", "tty": { "cols": 70000, "rows": 1 } });
        assert_eq!(shown(sandbox, request).await, b"1 1000\r\n");
        let request = json!({ "command": ["env"], "tty": {}, "env": { "TERM": null } });
        assert!(!String::from_utf8_lossy(&shown(sandbox, request).await).contains("TERM="));
        let request = json!({ "command": ["tput", "cols"], "tty": { "cols": 132 } });
        assert_eq!(shown(sandbox, request).await, b"132\r\n");
        for tty in [json!({ "cols": 0 }), json!({ "rows": 0, "cols": 1 }), json!("80x24")] {
            assert_eq!(sandbox.post("exec", json!({ "command": "true", "tty": tty })).await.code(), "invalid_request");
        }
    })
    .await;
}

#[tokio::test]
async fn bytes_pass_a_terminal_exactly() {
    in_sandbox(async |sandbox| {
        let script = "stty raw -echo; printf ready; head -c 256 | od -An -v -tu1 | tr -d '\\n'";
        let mut client = TerminalClient::open(sandbox, script.into()).await;
        client.wait_for("ready").await;
        let all: Vec<u8> = (0..=255).collect();
        client.send_input(json!({ "type": "stdin", "bytes": serde_json::to_value(Data::from(all)).unwrap() })).await;
        let (seen, exit) = client.finish().await;
        let numbers: Vec<u32> = seen.split_ascii_whitespace().map(|number| number.parse().unwrap()).collect();
        assert_eq!((numbers, exit), ((0..=255).collect(), exited(0)));
        let script = "stty -opost; for i in $(seq 0 255); do printf \"\\\\x$(printf %02x $i)\"; done";
        let seen = shown(sandbox, json!({ "command": ["bash", "-c", script], "tty": {} })).await;
        assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
    })
    .await;
}

#[tokio::test]
async fn the_last_bytes_on_a_terminal_arrive() {
    in_sandbox(async |sandbox| {
        for _ in 0..50 {
            assert_eq!(shown(sandbox, json!({ "command": ["printf", "last"], "tty": {} })).await, b"last");
        }
        // Something that outlives the command and keeps the terminal open does not take them away, nor does it hold up the end.
        let request = json!({ "command": "sleep 3590.5 & seq 1 20000", "tty": {} });
        let expected: String = (1..=20_000).map(|number| format!("{number}\r\n")).collect();
        assert!(shown(sandbox, request.clone()).await == expected.as_bytes());
        let (stdout, _, result) = gather(sandbox.stream(NDJSON, request).await).await;
        assert!(stdout == expected.as_bytes() && result.success());
        sandbox.exec(json!({ "command": ["pkill", "-f", "sleep 3590.5"] })).await;
    })
    .await;
}

#[tokio::test]
async fn an_interactive_shell_has_job_control() {
    in_sandbox(async |sandbox| {
        let mut client = TerminalClient::open(sandbox, json!(["bash", "--norc", "-i"])).await;
        client.type_text("PS1='> '\nvalue=$((6 * 7)); echo is:$value\n").await;
        client.wait_for("is:42").await;
        // Ctrl-C ends what is in the foreground, and not the shell.
        client.type_text("echo now:$((1 + 1)); sleep 3590.1; echo code:$?\n").await;
        client.wait_for("now:2").await;
        until("sleep runs", async || sandbox.count_processes("^sleep 3590.1").await == 1).await;
        client.type_text("\u{3}").await;
        until("sleep has ended", async || sandbox.count_processes("^sleep 3590.1").await == 0).await;
        client.type_text("echo then:$?\n").await;
        client.wait_for("then:130").await;
        // Ctrl-Z stops it, and the shell's job control goes on from there.
        client.type_text("sleep 3590.2\n").await;
        until("sleep runs", async || sandbox.count_processes("^sleep 3590.2").await == 1).await;
        client.type_text("\u{1a}").await;
        client.wait_for("Stopped").await;
        client.type_text("bg; jobs -r | wc -l | sed s/^/running:/; kill %1; wait %1; echo killed:$?\n").await;
        client.wait_for("running:1").await;
        client.wait_for("killed:143").await;
        // Ctrl-D is the end of what it reads, and so of the shell. The prompt says that it reads.
        client.wait_for("> ").await;
        client.send_input(json!({ "type": "eof" })).await;
        let (_, exit) = client.finish().await;
        assert_eq!(exit, exited(0));
    })
    .await;
}

#[tokio::test]
async fn full_screen_programs_work() {
    in_sandbox(async |sandbox| {
        let mut client = TerminalClient::open(sandbox, json!(["python3", "-q"])).await;
        client.wait_for(">>> ").await;
        client.type_text("import os; print('size', *os.get_terminal_size(), 6 * 7)\r").await;
        client.wait_for("size 80 24 42").await;
        client.type_text("import time; print(7 * 7); time.sleep(3590.3)\r").await;
        client.wait_for("49").await;
        client.type_text("\u{3}").await;
        client.wait_for("KeyboardInterrupt").await;
        client.type_text("raise SystemExit(5)\r").await;
        assert_eq!(client.finish().await.1, exited(5));
        sandbox.shell("seq 1 1000 > numbers").await;
        for (program, quit, first) in
            [("less", "q", "23"), ("more", "q", "23"), ("vim -u NONE", ":q!\r", "23"), ("top", "q", "PID")]
        {
            let name = program.split(' ').next().unwrap();
            let found = sandbox.exec(json!({ "command": format!("command -v {name}") })).await.result.success();
            // The sandboxes of the local engine have the programs of this machine.
            if require("engine", found.then_some(()), &format!("{name} is not installed")).is_none() {
                continue;
            }
            let command = if name == "top" { name.to_owned() } else { format!("{program} numbers") };
            let mut client = TerminalClient::open(sandbox, command.into()).await;
            client.wait_for(first).await;
            client.type_text(quit).await;
            assert_eq!(client.finish().await.1, exited(0), "{program}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_resize_reaches_the_program() {
    in_sandbox(async |sandbox| {
        let script = "import os, signal, sys, time\n\
                      size = lambda *_: os.write(1, b'size:%d %d;' % tuple(os.get_terminal_size())[::-1])\n\
                      signal.signal(signal.SIGWINCH, size); size()\n\
                      while not os.path.exists('end'): time.sleep(0.02)\n\
                      sys.exit(9)";
        let mut client = TerminalClient::open(sandbox, json!(["python3", "-c", script])).await;
        client.wait_for("size:24 80;").await;
        client.resize(120, 40).await;
        client.wait_for("size:40 120;").await;
        // Another viewer may do so as well.
        let request = Resize { process: client.process.clone(), cols: Cells::new(9999).unwrap(), rows: Cells::new(1).unwrap() };
        sandbox.call(request.clone()).await;
        client.wait_for("size:1 1000;").await;
        let refused = sandbox.post("process.resize", json!({ "process": client.process, "cols": 0, "rows": 10 })).await;
        assert_eq!(refused.code(), "invalid_request");
        for _ in 0..500 {
            sandbox.call(request.clone()).await;
        }
        sandbox.put("end", "").await.success();
        assert_eq!(client.finish().await.1, exited(9));
        let plain = sandbox.exec(json!({ "command": "sleep 3590.4", "detach": true })).await.result.process;
        let refused = sandbox.post("process.resize", json!({ "process": plain, "cols": 10, "rows": 10 })).await;
        assert_eq!(refused.code(), "conflict");
    })
    .await;
}

#[tokio::test]
async fn a_detached_terminal_has_several_viewers_and_a_replay() {
    in_sandbox(async |sandbox| {
        let request = Exec { detach: true, tty: Some(size(80, 24)), ..Exec::new("stty -echo; echo ready; cat; exit 4") };
        let process = sandbox.exec(serde_json::to_value(request).unwrap()).await.result.process.to_string();
        let mut first = TerminalClient::ask(sandbox, "process.attach", json!({ "process": process })).await;
        first.wait_for("ready").await;
        first.type_text("from the first\n").await;
        first.wait_for("from the first").await;
        let mut second = TerminalClient::ask(sandbox, "process.attach", json!({ "process": process })).await;
        assert_eq!(second.wait_for("from the first").await, "ready\r\nfrom the first");
        second.type_text("from the second\n").await;
        for client in [&mut first, &mut second] {
            client.wait_for("from the second").await;
        }
        drop(second);
        let keys = Input { process: process.clone(), data: Some("by hand\n".into()), eof: false };
        sandbox.call(keys).await;
        first.wait_for("by hand").await;
        let eof = Input { process: process.clone(), data: None, eof: true };
        sandbox.call(eof).await;
        assert_eq!(first.finish().await.1, exited(4));
        assert_eq!(sandbox.call(Get { process }).await.exit, Some(exited(4)));
    })
    .await;
}

#[tokio::test]
async fn a_terminal_replays_its_newest_quarter_of_a_mebibyte() {
    in_sandbox(async |sandbox| {
        let command = "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo all:$((2 * 21)); read -r end";
        let output = sandbox.exec(json!({ "command": command, "tty": {}, "detach": true })).await;
        let process = output.result.process.to_string();
        let until = Until::Log { log: "all:42".to_owned() };
        sandbox.call(Wait { process: process.clone(), until, from: None, timeout_ms: Some(60_000) }).await;
        let mut lines = sandbox.stream_of("process.attach", NDJSON, json!({ "process": process })).await;
        assert!(matches!(lines.next().await, Some(Line::Event(ExecEvent::Started { .. }))));
        let Some(Line::Event(ExecEvent::Gap { from: 0, to })) = lines.next().await else { panic!("no gap") };
        let kept = 1_000_000 + 2 + 8 - to;
        assert!(((256 << 10)..(320 << 10)).contains(&kept), "{kept} bytes are kept");
        sandbox.call(Input { process: process.clone(), data: Some("\n".into()), eof: false }).await;
        let ended = sandbox.call(Wait { process, until: Until::EXIT, from: None, timeout_ms: None }).await;
        assert_eq!(ended, Waited::Exited { exit: exited(0) });
    })
    .await;
}

#[tokio::test]
async fn attaching_can_begin_with_what_the_terminal_shows() {
    in_sandbox(async |sandbox| {
        let draw = "printf '\\033[2J\\033[2;3Hold\\033[2;3Hnew\\033[?25l'; echo; for i in 1 2 3; do echo line $i; done; read -r more; echo $more";
        let tty = json!({ "cols": 40, "rows": 10 });
        let output = sandbox.exec(json!({ "command": draw, "tty": tty, "detach": true })).await;
        let process = output.result.process.to_string();
        let until = Until::Log { log: "line 3".to_owned() };
        sandbox.call(Wait { process: process.clone(), until, from: None, timeout_ms: Some(60_000) }).await;
        let mut lines = sandbox.stream_of("process.attach", NDJSON, json!({ "process": process, "screen": true })).await;
        assert!(matches!(lines.next().await, Some(Line::Event(ExecEvent::Started { .. }))));
        let Some(Line::Event(ExecEvent::Screen { offset, cols, rows, bytes })) = lines.next().await else { panic!("no screen") };
        assert_eq!((cols.get(), rows.get()), (40, 10));
        let painted = String::from_utf8(bytes.0.to_vec()).unwrap();
        assert!(painted.contains("new") && painted.contains("line 3") && !painted.contains("old"), "{painted:?}");
        assert!(painted.contains("\u{1b}[?25l"), "its modes too: {painted:?}");
        sandbox.call(Input { process: process.clone(), data: Some("and on\n".into()), eof: false }).await;
        let Some(Line::Event(ExecEvent::Stdout { offset: next, .. })) = lines.next().await else { panic!("no output") };
        assert_eq!(next, offset, "what is painted is not told again");
        let piped = sandbox.exec(json!({ "command": "sleep 60", "detach": true })).await.result.process.to_string();
        let refused = sandbox.post("process.attach", json!({ "process": piped, "screen": true })).await;
        assert_eq!((refused.code().as_str(), &refused.json()["error"]["details"]["reason"]), ("conflict", &json!("no_terminal")));
    })
    .await;
}

#[tokio::test]
async fn initial_input_is_typed_on_the_terminal() {
    in_sandbox(async |sandbox| {
        let request = Exec {
            tty: Some(size(80, 24)),
            stdin: Some(Stdin::Bytes("first\n\u{4}".into())),
            ..Exec::new("stty -echo; cat; echo end")
        };
        let seen = String::from_utf8(shown(sandbox, serde_json::to_value(request).unwrap()).await).unwrap();
        // The echo is on or off by the time the line is typed.
        assert!(seen.ends_with("first\r\nend\r\n"), "{seen:?}");
    })
    .await;
}

#[tokio::test]
async fn a_terminal_ends_with_all_its_processes() {
    in_sandbox(async |sandbox| {
        // Each time an interactive shell with jobs in groups of their own, and one that has left the session.
        let work = "bash --norc -i -c 'set -m; sleep 3590.6 & setsid sleep 3590.6 & trap \"\" HUP TERM; sleep 3590.6'; true";
        let running = async || sandbox.count_processes("^sleep 3590.6").await == 3;
        let gone = async || sandbox.count_processes("^sleep 3590.6").await == 0;
        let mut client = TerminalClient::open(sandbox, work.into()).await;
        until("all run", running).await;
        client.socket.send("cancel", "terminal", json!({})).await;
        assert_eq!(client.finish().await.1, Exit::Cancelled);
        assert!(gone().await);
        let client = TerminalClient::open(sandbox, work.into()).await;
        until("all run", running).await;
        drop(client);
        until("a terminal without its client is gone", gone).await;
        let output = sandbox.exec(json!({ "command": work, "tty": {}, "timeout_ms": 500 })).await;
        assert_eq!(output.result.exit, Some(Exit::TimedOut));
        assert!(gone().await);
    })
    .await;
}
