//! The commands of the documentation, run as they stand there.

use std::process::{Command, Stdio};

use cabana_tests::Sandbox;

/// The blocks of a language between a page's two marks.
fn blocks(page: &str, language: &str) -> String {
    let (_, tour) = page.split_once("<!-- tour: begin -->").unwrap();
    let (tour, _) = tour.split_once("<!-- tour: end -->").unwrap();
    let fence = format!("```{language}\n");
    tour.split(&fence).skip(1).map(|block| block.split_once("```").unwrap().0).collect()
}

/// Runs a page's commands, which must succeed and print all that is expected.
fn check(page: &str, expected: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    // The repository's Node has a WebSocket; the machine's may be too old.
    let path = format!("{}/../node_modules/.bin:{}", env!("CARGO_MANIFEST_DIR"), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &blocks(page, "sh")]).env("PATH", path).current_dir(&directory);
    run(&mut bash, expected);
}

/// Runs what a page says, which must succeed and print all that is expected, and leave no sandbox behind that this run has made.
fn run(command: &mut Command, expected: &[&str]) {
    let (url, key) = Sandbox::service();
    let tour = command.envs([("CABANA_URL", url), ("CABANA_API_KEY", key)]).stdin(Stdio::null()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&tour.stdout), String::from_utf8_lossy(&tour.stderr));
    assert!(tour.status.success(), "{stdout}\n{stderr}");
    for expected in expected {
        assert!(stdout.contains(expected), "{expected} is not in:\n{stdout}");
    }
}

/// Output of the commands that the README and the tour share.
const SHARED: [&str; 9] = [
    r#""stdout":"out\n","stderr":"err\n""#,
    r#""stdout":"6\n""#,
    r#""type":"timed_out""#,
    r#"{"type":"stdout","offset":4,"bytes":"3\n"}"#,
    r#"{"type":"listening","port":3000}"#,
    "HTTP/1.0 200 OK",
    r#""stdout":"hello from a file\n""#,
    r#""text":"285""#,
    "PNG of ",
];

#[test]
fn commands_of_the_readme_work_as_written() {
    check(include_str!("../../../README.md"), &SHARED);
}

#[test]
fn commands_of_the_tour_work_as_written() {
    let own = [
        r#""stdout":"hello from /tmp\n""#,
        "the same, byte for byte",
        r#""content":"print(\"hello from a file\")\n""#,
        r#""exit":{"type":"cancelled","code":143}"#,
        r#""agent_summary":"make -C lz4 -j2 lz4"#,
        r#"operation="exec",outcome="ok"}"#,
    ];
    check(include_str!("../../../docs/tour.md"), &[SHARED.as_slice(), &own].concat());
}

#[test]
fn commands_of_the_previews_page_work_as_written() {
    // Through the preview's own host, and through the API.
    check(include_str!("../../../docs/previews.md"), &[r#""port":3000"#, "hello\nhello\n"]);
}

#[test]
fn commands_of_the_commands_page_work_as_written() {
    check(include_str!("../../../docs/commands.md"), &["src/main.rs"]);
}

#[test]
fn commands_of_the_network_page_work_as_written() {
    check(include_str!("../../../docs/network.md"), &[r#""id":"sbx-locked""#]);
}

#[test]
fn programs_of_the_languages_page_work_as_written() {
    let page = include_str!("../../../docs/languages.md");
    run(Command::new("python3").args(["-c", &blocks(page, "python")]), &["python: 6 0\npython: 1\n", "2\n"]);
    // Both the repository's Node and the machine's, which may be older.
    let pinned = concat!(env!("CARGO_MANIFEST_DIR"), "/../node_modules/.bin/node");
    for node in [pinned, "node"] {
        let mut node = Command::new(node);
        run(node.args(["--input-type=module", "--eval", &blocks(page, "js")]), &["javascript: 6 0\njavascript: 1\n", "2\n"]);
    }
}
