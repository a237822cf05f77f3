//! Finding by name and searching content.

use cabana_protocol::file::{FilePath, Find, Found, Search, Searched, Span};
use cabana_tests::{Kind, Sandbox, in_agent_by, in_kind, in_sandbox, until};
use serde_json::{Value, json};

/// An operation that must succeed, by its JSON.
async fn find(sandbox: &Sandbox, mut request: Value) -> Found {
    request.as_object_mut().unwrap().entry("path").or_insert(json!("."));
    sandbox.call(serde_json::from_value::<Find>(request).unwrap()).await
}

async fn search(sandbox: &Sandbox, mut request: Value) -> Searched {
    request.as_object_mut().unwrap().entry("path").or_insert(json!("."));
    sandbox.call(serde_json::from_value::<Search>(request).unwrap()).await
}

fn paths(found: &Found) -> Vec<String> {
    found.entries.iter().map(|entry| entry.path.to_string()).collect()
}

/// Every shown line as `path:number:text`, with `-` for context.
fn lines(searched: &Searched) -> Vec<String> {
    let lines = searched.files.iter().flat_map(|file| file.lines.iter().map(move |line| (&file.path, line)));
    let lines = lines.map(|(path, line)| {
        let mark = if line.matches.is_empty() { '-' } else { ':' };
        format!("{path}{mark}{}{mark}{}", line.line, String::from_utf8_lossy(&line.text.0))
    });
    lines.collect()
}

const TREE: &str = "mkdir -p .git/info src/deep/er target/out .hidden docs && touch src/main.rs src/lib.rs src/deep/a.rs src/deep/er/b.rs \
                    target/out/gen.rs .hidden/h.rs docs/x.md && ln -s /etc out && ln -s src link && echo /target > .gitignore && \
                    echo '*.md' > .git/info/exclude && printf 'er/\\n!.hidden\\n' > .ignore";

#[tokio::test]
async fn files_are_found_as_ripgrep_finds_them() {
    in_sandbox(async |sandbox| {
        sandbox.shell(TREE).await;
        for (request, expected) in [
            (json!({ "pattern": "*.rs" }), vec![".hidden/h.rs", "src/deep/a.rs", "src/lib.rs", "src/main.rs"]),
            (json!({ "pattern": "*.rs", "path": "src" }), vec!["src/deep/a.rs", "src/lib.rs", "src/main.rs"]),
            (json!({ "pattern": "*.rs", "path": "link" }), vec!["link/deep/a.rs", "link/lib.rs", "link/main.rs"]),
            (json!({ "pattern": "src/*.rs" }), vec!["src/lib.rs", "src/main.rs"]),
            (json!({ "pattern": "*.rs", "exclude": ["deep", ".*"] }), vec!["src/lib.rs", "src/main.rs"]),
            (json!({ "pattern": "*.md" }), vec![]),
            (json!({ "pattern": "*.md", "ignored": true }), vec!["docs/x.md"]),
            (json!({ "pattern": "{gen,b}.rs", "ignored": true }), vec!["src/deep/er/b.rs", "target/out/gen.rs"]),
            (json!({ "pattern": "*ignore" }), vec![]),
            (json!({ "pattern": "*ignore", "hidden": true }), vec![".gitignore", ".ignore"]),
            (json!({ "pattern": "*", "kind": "directory" }), vec![".hidden", "docs", "src", "src/deep"]),
            (json!({ "pattern": "*", "kind": "symlink" }), vec!["link", "out"]),
            (json!({ "pattern": "*", "path": "out" }), vec![]),
        ] {
            if request["path"] == "out" {
                assert_eq!(sandbox.post("file.find", request).await.code(), "forbidden");
                continue;
            }
            let found = find(sandbox, request.clone()).await;
            assert_eq!(
                (paths(&found), found.truncated),
                (expected.iter().map(ToString::to_string).collect(), false),
                "{request}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn ignore_files_apply_to_the_directories_below_them() {
    in_sandbox(async |sandbox| {
        // Without a repository .gitignore says nothing; a repository within does not hear of those above it.
        sandbox
            .shell("mkdir -p a/b/.git a/c; touch a/x a/b/x a/b/y a/c/x a/c/z; echo x > a/.gitignore; echo y > a/b/.gitignore")
            .await;
        let found = async |path: &str| paths(&find(sandbox, json!({ "pattern": "?", "kind": "file", "path": path })).await);
        assert_eq!(found("a").await, ["a/b/x", "a/c/x", "a/c/z", "a/x"]);
        sandbox.shell("mkdir a/.git; printf '!x\\n' > a/c/.ignore").await;
        assert_eq!(found("a").await, ["a/b/x", "a/c/x", "a/c/z"]);
        sandbox.shell("rm a/c/.ignore; echo /c/z >> a/.gitignore").await;
        assert_eq!(found("a/c").await, [""; 0], "what is above where the search starts counts");
        sandbox.shell("rm a/.gitignore; mkfifo a/.gitignore; ln -s /etc/passwd a/c/.ignore").await;
        assert_eq!(found("a/c").await, ["a/c/x", "a/c/z"], "neither a FIFO nor a symlink is an ignore file");
    })
    .await;
}

#[tokio::test]
async fn found_files_are_sorted_before_the_limit() {
    in_sandbox(async |sandbox| {
        sandbox.shell("for d in $(seq 20); do mkdir $d; for f in $(seq 100); do : > $d/$f.txt; done; done").await;
        let mut all = paths(&find(sandbox, json!({ "pattern": "*.txt", "limit": 10_000 })).await);
        assert_eq!(all.len(), 2_000);
        let found = find(sandbox, json!({ "pattern": "*.txt", "limit": 150 })).await;
        all.truncate(150);
        assert_eq!((paths(&found), found.truncated), (all, true));
        for bad in [json!({ "limit": 0 }), json!({ "limit": 10_001 }), json!({ "timeout_ms": 0 }), json!({ "pattern": "[" })] {
            let mut request = json!({ "path": ".", "pattern": "*" });
            request.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
            assert_eq!(sandbox.post("file.find", request).await.code(), "invalid_request", "{bad}");
        }
        assert_eq!(sandbox.post("file.find", json!({ "path": "1/1.txt", "pattern": "*" })).await.code(), "conflict");
    })
    .await;
}

#[tokio::test]
async fn content_is_searched_as_ripgrep_searches_it() {
    in_sandbox(async |sandbox| {
        sandbox.shell(TREE).await;
        let content = "printf 'fn main() {\\n    run(1.5);\\n}\\n' > src/main.rs; printf 'pub fn run(x: f64) {}\\r\\n// Main RUN' > src/lib.rs; \
                       printf 'run\\n' | tee target/out/gen.rs src/deep/er/b.rs docs/x.md > .hidden/h.rs; printf 'run\\n\\0' > src/binary; \
                       printf 'run \\377\\n' > src/latin";
        sandbox.shell(content).await;
        for (request, expected) in [
            (
                json!({ "pattern": "run" }),
                vec![".hidden/h.rs:1:run", "src/latin:1:run \u{fffd}", "src/lib.rs:1:pub fn run(x: f64) {}\r", "src/main.rs:2:    run(1.5);"],
            ),
            (json!({ "pattern": "^pub|^}$", "path": "src" }), vec!["src/lib.rs:1:pub fn run(x: f64) {}\r", "src/main.rs:3:}"]),
            (json!({ "pattern": "1.5", "path": "src/main.rs" }), vec!["src/main.rs:2:    run(1.5);"]),
            (json!({ "pattern": "n(1.", "literal": true }), vec!["src/main.rs:2:    run(1.5);"]),
            (json!({ "pattern": "main run", "ignore_case": true }), vec!["src/lib.rs:2:// Main RUN"]),
            (json!({ "pattern": "u", "word": true }), vec![]),
            (json!({ "pattern": "run", "include": ["*.rs"], "exclude": ["lib.*", ".*"] }), vec!["src/main.rs:2:    run(1.5);"]),
            (json!({ "pattern": "run", "include": ["binary"], "binary": true }), vec!["src/binary:1:run"]),
            (json!({ "pattern": "run", "path": "src/binary" }), vec![]),
            (json!({ "pattern": "run", "include": ["gen.rs", "b.rs"], "ignored": true }), vec!["src/deep/er/b.rs:1:run", "target/out/gen.rs:1:run"]),
            (json!({ "pattern": "target", "hidden": true }), vec![".gitignore:1:/target"]),
            (
                json!({ "pattern": "run", "path": "src/main.rs", "context": 1 }),
                vec!["src/main.rs-1-fn main() {", "src/main.rs:2:    run(1.5);", "src/main.rs-3-}"],
            ),
        ] {
            let found = search(sandbox, request.clone()).await;
            assert_eq!((lines(&found), found.truncated), (expected.iter().map(ToString::to_string).collect(), false), "{request}");
        }
        let found = search(sandbox, json!({ "pattern": "n", "path": "src/main.rs" })).await;
        let spans = found.files[0].lines.iter().map(|line| line.matches.iter().map(|span| (span.start, span.end)).collect());
        assert_eq!(spans.collect::<Vec<Vec<_>>>(), [vec![(1, 2), (6, 7)], vec![(6, 7)]]);
        for (request, code) in [
            (json!({ "path": ".", "pattern": "(" }), "invalid_request"),
            (json!({ "path": ".", "pattern": "" }), "invalid_request"),
            (json!({ "path": ".", "pattern": "a\nb" }), "invalid_request"),
            (json!({ "path": ".", "pattern": "((a{1000}){1000}){1000}" }), "invalid_request"),
            (json!({ "path": ".", "pattern": "a", "context": 101 }), "invalid_request"),
            (json!({ "path": "nothing", "pattern": "a" }), "not_found"),
            (json!({ "path": "out", "pattern": "a" }), "forbidden"),
            (json!({ "path": "out/passwd", "pattern": "root" }), "forbidden"),
        ] {
            assert_eq!(sandbox.post("file.search", request.clone()).await.code(), code, "{request}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_search_is_limited_and_says_so() {
    in_sandbox(async |sandbox| {
        sandbox.shell("for f in $(seq 20); do seq 1000 > $f; done").await;
        let found = search(sandbox, json!({ "pattern": "7", "max_per_file": 3 })).await;
        assert_eq!((found.matches, found.files.len(), found.truncated), (60, 20, false));
        assert!(found.files.iter().all(|file| file.truncated && file.lines.len() == 3));
        let found = search(sandbox, json!({ "pattern": "^7$", "limit": 20 })).await;
        assert_eq!((found.matches, found.truncated), (20, false), "exactly as many as there are");
        let found = search(sandbox, json!({ "pattern": "^7$", "limit": 19 })).await;
        assert_eq!((found.matches, found.truncated, found.timed_out), (19, true, false));
    })
    .await;
}

#[tokio::test]
async fn searches_take_bounded_memory_and_time() {
    in_sandbox(async |sandbox| {
        // A line that is larger than may be held, a line that is long, a file without end, and one that cannot be read as text.
        sandbox.shell("truncate -s 40M wide; tr '\\0' a < wide > line; rm wide; mkfifo fifo; seq -s ' ' 100000 > numbers").await;
        let found = search(sandbox, json!({ "pattern": "(a*)*b|99999 1" })).await;
        assert_eq!((found.matches, found.searched, found.skipped), (1, 2, 1));
        let line = &found.files[0].lines[0];
        assert!(line.offset > 500_000 && line.text.0.len() <= 1_024, "{line:?}");
        let Span { start, end } = line.matches[0];
        assert_eq!(&line.text.0[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()], b"99999 1");
        // Gigabytes for a search that reads them all. Its time includes the wait for a thread, without which it is refused.
        let links = "import os\nfor i in range(1000):\n    os.link('large', f'link{i}')";
        sandbox.shell(&format!("rm line; seq 1000000 > large; python3 -c \"{links}\"")).await;
        let found = search(sandbox, json!({ "pattern": "no such text", "timeout_ms": 200 })).await;
        assert_eq!((found.timed_out, found.truncated, found.matches), (true, true, 0));
    })
    .await;
}

#[tokio::test]
async fn names_of_any_bytes_are_found_and_searched() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir \"$(printf 'a\\nb')\"; echo text > \"$(printf 'a\\nb/\\377\\t')\"").await;
        let path = FilePath::from(b"a\nb/\xff\t".to_vec());
        assert_eq!(find(sandbox, json!({ "pattern": "?\t" })).await.entries[0].path, path);
        assert_eq!(search(sandbox, json!({ "pattern": "text" })).await.files[0].path, path);
    })
    .await;
}

#[tokio::test]
async fn a_tree_with_cycles_and_great_depth_is_walked_once() {
    in_sandbox(async |sandbox| {
        let deep = "import os\nos.symlink('.', 'cycle')\nfor _ in range(600):\n    os.mkdir('d'); os.symlink('..', 'd/up'); os.chdir('d')\nopen('leaf', 'w').write('leaf')\n";
        let made = sandbox.exec(json!({ "command": ["python3", "-c", deep] })).await;
        assert!(made.result.success(), "{made:?}");
        assert_eq!(find(sandbox, json!({ "pattern": "leaf" })).await.entries.len(), 1);
        assert_eq!(search(sandbox, json!({ "pattern": "leaf" })).await.files.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_search_ends_when_its_client_disconnects() {
    in_kind(Kind::Tight, async |sandbox| {
        // Many gigabytes for a search that reads them all.
        let links = "import os\nos.mkdir('links')\nfor i in range(10000):\n    os.link('large', f'links/{i}')";
        sandbox.shell(&format!("seq 1000000 > large; python3 -c \"{links}\"; echo text > small")).await;
        for name in ["file.search", "file.find"] {
            let mut socket = sandbox.connect().await;
            socket.send("file.search", "long", json!({ "path": "links", "pattern": "text", "timeout_ms": 600_000 })).await;
            let short = async || {
                let path = if name == "file.find" { "." } else { "small" };
                sandbox.post(name, json!({ "path": path, "pattern": "text", "timeout_ms": 100 })).await
            };
            until("the long one has its turn", async || short().await.status == 429).await;
            assert_eq!(short().await.json()["error"]["details"]["limit"], 1);
            drop(socket);
            until("it has given it up", async || short().await.status == 200).await;
        }
    })
    .await;
}

mod agent_only {
    use super::*;

    #[tokio::test]
    async fn unreadable_files_are_counted_and_the_rest_is_searched() {
        // Root, but bound by permission bits like anybody else.
        let bound = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all", "--"];
        in_agent_by(&bound, &[], async |sandbox| {
            sandbox.shell("mkdir shut; echo here | tee open closed shut/file; chmod 0 closed shut").await;
            let searched = search(sandbox, json!({ "pattern": "here" })).await;
            assert_eq!(lines(&searched), ["open:1:here"]);
            assert_eq!((searched.skipped, searched.searched), (2, 1), "{searched:?}");
            assert_eq!(paths(&find(sandbox, json!({ "pattern": "*" })).await), ["closed", "open", "shut"]);
            for (name, body) in
                [("file.search", json!({ "path": "closed", "pattern": "here" })), ("file.read", json!({ "path": "closed" }))]
            {
                assert_eq!(sandbox.post(name, body).await.code(), "forbidden");
            }
            sandbox.shell("chmod 700 shut").await;
        })
        .await;
    }
}
