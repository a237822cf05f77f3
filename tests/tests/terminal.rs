//! Commands on a terminal. Whatever is waited for on a screen is computed, so that the echo of what was typed is not taken for it.

mod seat;

use cabana_protocol::{
    Data,
    exec::{Cells, Exec, ExecEvent, Exit, Stdin, Tty},
    line::Line,
    process::{Get, Input, Pattern, Resize, Until, Wait, Waited},
};
use cabana_tests::{Sandbox, gather, in_sandbox, until};
use futures_util::StreamExt;
use serde_json::{Value, json};

use seat::Seat;

const NDJSON: &str = "application/x-ndjson";

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
async fn all_three_streams_are_the_terminal() {
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
        let request = json!({ "command": "command -v tput >/dev/null || { echo 132; exit; }; tput cols", "tty": { "cols": 132 } });
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
        let mut seat = Seat::open(sandbox, script.into()).await;
        seat.sees("ready").await;
        let all: Vec<u8> = (0..=255).collect();
        seat.say(json!({ "type": "stdin", "bytes": serde_json::to_value(Data::from(all)).unwrap() })).await;
        let (seen, exit) = seat.ends().await;
        let numbers: Vec<u32> = seen.split_ascii_whitespace().map(|number| number.parse().unwrap()).collect();
        assert_eq!((numbers, exit), ((0..=255).collect(), exited(0)));
        let script = "stty -opost; for i in $(seq 0 255); do printf \"\\\\x$(printf %02x $i)\"; done";
        let seen = shown(sandbox, json!({ "command": ["bash", "-c", script], "tty": {} })).await;
        assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
    })
    .await;
}

#[tokio::test]
async fn the_last_bytes_before_the_end_are_seen() {
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
async fn an_interactive_shell_does_its_work() {
    in_sandbox(async |sandbox| {
        let mut seat = Seat::open(sandbox, json!(["bash", "--norc", "-i"])).await;
        seat.type_in("PS1='> '\nvalue=$((6 * 7)); echo is:$value\n").await;
        seat.sees("is:42").await;
        // Ctrl-C ends what is in the foreground, and not the shell.
        seat.type_in("echo now:$((1 + 1)); sleep 3590.1; echo code:$?\n").await;
        seat.sees("now:2").await;
        until("sleep runs", async || sandbox.count_processes("^sleep 3590.1").await == 1).await;
        seat.type_in("\u{3}").await;
        until("sleep has ended", async || sandbox.count_processes("^sleep 3590.1").await == 0).await;
        seat.type_in("echo then:$?\n").await;
        seat.sees("then:130").await;
        // Ctrl-Z stops it, and the shell's job control goes on from there.
        seat.type_in("sleep 3590.2\n").await;
        until("sleep runs", async || sandbox.count_processes("^sleep 3590.2").await == 1).await;
        seat.type_in("\u{1a}").await;
        seat.sees("Stopped").await;
        seat.type_in("bg; jobs -r | wc -l | sed s/^/running:/; kill %1; wait %1; echo killed:$?\n").await;
        seat.sees("running:1").await;
        seat.sees("killed:143").await;
        // Ctrl-D is the end of what it reads, and so of the shell. The prompt says that it reads.
        seat.sees("> ").await;
        seat.say(json!({ "type": "eof" })).await;
        let (_, exit) = seat.ends().await;
        assert_eq!(exit, exited(0));
    })
    .await;
}

#[tokio::test]
async fn programs_that_draw_and_ask_work() {
    in_sandbox(async |sandbox| {
        let mut seat = Seat::open(sandbox, json!(["python3", "-q"])).await;
        seat.sees(">>> ").await;
        seat.type_in("import os; print('size', *os.get_terminal_size(), 6 * 7)\r").await;
        seat.sees("size 80 24 42").await;
        seat.type_in("import time; print(7 * 7); time.sleep(3590.3)\r").await;
        seat.sees("49").await;
        seat.type_in("\u{3}").await;
        seat.sees("KeyboardInterrupt").await;
        seat.type_in("raise SystemExit(5)\r").await;
        assert_eq!(seat.ends().await.1, exited(5));
        sandbox.shell("seq 1 1000 > numbers").await;
        for (program, quit, first) in
            [("less", "q", "23"), ("more", "q", "23"), ("vim -u NONE", ":q!\r", "23"), ("top", "q", "PID")]
        {
            let name = program.split(' ').next().unwrap();
            if sandbox.exec(json!({ "command": format!("command -v {name}") })).await.result.exit != Some(exited(0)) {
                continue;
            }
            let command = if name == "top" { name.to_owned() } else { format!("{program} numbers") };
            let mut seat = Seat::open(sandbox, command.into()).await;
            seat.sees(first).await;
            seat.type_in(quit).await;
            assert_eq!(seat.ends().await.1, exited(0), "{program}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_new_size_is_noticed() {
    in_sandbox(async |sandbox| {
        let script = "import os, signal, sys, time\n\
                      size = lambda *_: os.write(1, b'size:%d %d;' % tuple(os.get_terminal_size())[::-1])\n\
                      signal.signal(signal.SIGWINCH, size); size()\n\
                      while not os.path.exists('end'): time.sleep(0.02)\n\
                      sys.exit(9)";
        let mut seat = Seat::open(sandbox, json!(["python3", "-c", script])).await;
        seat.sees("size:24 80;").await;
        seat.resize(120, 40).await;
        seat.sees("size:40 120;").await;
        // Another viewer may do so as well.
        let request = Resize { process: seat.process.clone(), cols: Cells::new(9999).unwrap(), rows: Cells::new(1).unwrap() };
        sandbox.call(request.clone()).await;
        seat.sees("size:1 1000;").await;
        let refused = sandbox.post("process.resize", json!({ "process": seat.process, "cols": 0, "rows": 10 })).await;
        assert_eq!(refused.code(), "invalid_request");
        for _ in 0..500 {
            sandbox.call(request.clone()).await;
        }
        sandbox.put("end", "").await.success();
        assert_eq!(seat.ends().await.1, exited(9));
        let plain = sandbox.exec(json!({ "command": "sleep 3590.4", "detach": true })).await.result.process;
        let refused = sandbox.post("process.resize", json!({ "process": plain, "cols": 10, "rows": 10 })).await;
        assert_eq!(refused.code(), "conflict");
    })
    .await;
}

#[tokio::test]
async fn a_detached_terminal_has_many_viewers_and_a_replay() {
    in_sandbox(async |sandbox| {
        let request = Exec { detach: true, tty: Some(size(80, 24)), ..Exec::new("stty -echo; echo ready; cat; exit 4") };
        let process = sandbox.exec(serde_json::to_value(request).unwrap()).await.result.process.to_string();
        let mut first = Seat::ask(sandbox, "process.attach", json!({ "process": process })).await;
        first.sees("ready").await;
        first.type_in("from the first\n").await;
        first.sees("from the first").await;
        let mut second = Seat::ask(sandbox, "process.attach", json!({ "process": process })).await;
        assert_eq!(second.sees("from the first").await, "ready\r\nfrom the first");
        second.type_in("from the second\n").await;
        for seat in [&mut first, &mut second] {
            seat.sees("from the second").await;
        }
        drop(second);
        let keys = Input { process: process.clone(), data: Some("by hand\n".into()), eof: false };
        sandbox.call(keys).await;
        first.sees("by hand").await;
        let eof = Input { process: process.clone(), data: None, eof: true };
        sandbox.call(eof).await;
        assert_eq!(first.ends().await.1, exited(4));
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
        let until = Until::Log(Pattern::Text("all:42".to_owned()));
        sandbox.call(Wait { process: process.clone(), until, timeout_ms: Some(60_000) }).await;
        let mut lines = sandbox.stream_of("process.attach", NDJSON, json!({ "process": process })).await;
        assert!(matches!(lines.next().await, Some(Line::Event(ExecEvent::Started { .. }))));
        let Some(Line::Event(ExecEvent::Gap { from: 0, to })) = lines.next().await else { panic!("no gap") };
        let kept = 1_000_000 + 2 + 8 - to;
        assert!(((256 << 10)..(320 << 10)).contains(&kept), "{kept} bytes are kept");
        sandbox.call(Input { process: process.clone(), data: Some("\n".into()), eof: false }).await;
        let ended = sandbox.call(Wait { process, until: Until::Exit {}, timeout_ms: None }).await;
        assert_eq!(ended, Waited::Exited { exit: exited(0) });
    })
    .await;
}

#[tokio::test]
async fn what_is_typed_first_may_come_with_the_request() {
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
async fn a_terminal_ends_with_all_that_runs_on_it() {
    in_sandbox(async |sandbox| {
        // Each time an interactive shell with jobs in groups of their own, and one that has left the session.
        let work = "bash --norc -i -c 'set -m; sleep 3590.6 & setsid sleep 3590.6 & trap \"\" HUP TERM; sleep 3590.6'; true";
        let running = async || sandbox.count_processes("^sleep 3590.6").await == 3;
        let gone = async || sandbox.count_processes("^sleep 3590.6").await == 0;
        let mut seat = Seat::open(sandbox, work.into()).await;
        until("all run", running).await;
        seat.socket.send("cancel", "seat", json!({})).await;
        assert_eq!(seat.ends().await.1, Exit::Cancelled);
        assert!(gone().await);
        let seat = Seat::open(sandbox, work.into()).await;
        until("all run", running).await;
        drop(seat);
        until("a terminal without its client is gone", gone).await;
        let output = sandbox.exec(json!({ "command": work, "tty": {}, "timeout_ms": 500 })).await;
        assert_eq!(output.result.exit, Some(Exit::TimedOut));
        assert!(gone().await);
    })
    .await;
}
