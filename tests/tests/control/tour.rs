//! The commands of the documentation, run as they stand there.

use std::process::{Command, Stdio};

use cabana_tests::Sandbox;

/// The shell blocks between a page's two marks.
fn script(page: &str) -> String {
    let (_, tour) = page.split_once("<!-- tour: begin -->").unwrap();
    let (tour, _) = tour.split_once("<!-- tour: end -->").unwrap();
    tour.split("```sh\n").skip(1).map(|block| block.split_once("```").unwrap().0).collect()
}

/// Runs a page's commands, which must succeed and print all that is expected.
fn check(page: &str, expected: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let (url, key) = Sandbox::service();
    // The repository's Node has a WebSocket; the machine's may be too old.
    let path = format!("{}/../node_modules/.bin:{}", env!("CARGO_MANIFEST_DIR"), std::env::var("PATH").unwrap());
    let tour = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script(page)])
        .envs([("CABANA_URL", url), ("CABANA_API_KEY", key), ("PATH", path)])
        .current_dir(&directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&tour.stdout), String::from_utf8_lossy(&tour.stderr));
    assert!(tour.status.success(), "{stdout}\n{stderr}");
    for expected in expected {
        assert!(stdout.contains(expected), "{expected} is not in:\n{stdout}");
    }
}

/// Output of the commands that the README and the tour share.
const SHARED: [&str; 7] = [
    r#""stdout":"out\n","stderr":"err\n""#,
    r#""stdout":"6\n""#,
    r#""reason":"timed_out""#,
    r#"{"type":"stdout","offset":4,"bytes":"3\n"}"#,
    r#"{"happened":"listening","port":3000}"#,
    "HTTP/1.0 200 OK",
    r#""stdout":"hello from a file\n""#,
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
        r#""exit":{"reason":"cancelled"}"#,
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
