//! The README's tour, run as it stands there.

use std::process::{Command, Stdio};

use cabana_tests::Sandbox;

/// The shell blocks between the README's two marks.
fn script() -> String {
    let readme = include_str!("../../../README.md");
    let (_, tour) = readme.split_once("<!-- tour: begin -->").unwrap();
    let (tour, _) = tour.split_once("<!-- tour: end -->").unwrap();
    tour.split("```sh\n").skip(1).map(|block| block.split_once("```").unwrap().0).collect()
}

#[test]
fn the_tour_goes_as_the_readme_says() {
    let directory = tempfile::tempdir().unwrap();
    let (url, key) = Sandbox::service();
    // The Node that the repository brings has a WebSocket; the machine's may be too old.
    let path = format!("{}/../node_modules/.bin:{}", env!("CARGO_MANIFEST_DIR"), std::env::var("PATH").unwrap());
    let tour = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script()])
        .envs([("CABANA_URL", url), ("CABANA_API_KEY", key), ("PATH", path)])
        .current_dir(&directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (said, complained) = (String::from_utf8_lossy(&tour.stdout), String::from_utf8_lossy(&tour.stderr));
    assert!(tour.status.success(), "{said}\n{complained}");
    for expected in [
        r#""stdout":"out\n","stderr":"err\n""#,
        r#""stdout":"6\n""#,
        r#""reason":"timed_out""#,
        r#"{"type":"stdout","offset":4,"bytes":"3\n"}"#,
        r#"{"happened":"listening","port":3000}"#,
        "HTTP/1.0 200 OK",
        r#""stdout":"hello from /tmp\n""#,
        r#""stdout":"hello from a file\n""#,
        "the same, byte for byte",
        r#""content":"print(\"hello from a file\")\n""#,
        r#""exit":{"reason":"cancelled"}"#,
        r#""agent_summary":"make -C lz4 -j2 lz4"#,
        r#"operation="exec",outcome="ok"}"#,
    ] {
        assert!(said.contains(expected), "{expected} is not in:\n{said}");
    }
}
