//! Diffs in which a path is changed more than once or becomes something else: what git and patch(1) make of them, all or nothing.

use cabana_protocol::file::{Patch, PatchAction, Patched};
use cabana_tests::{Sandbox, in_sandbox};
use serde_json::{Value, json};

/// Lists names, kinds, modes and content.
const LIST: &str = r"find . -name .git -prune -o -mindepth 1 -printf '%P %y %m %l\n' | sort; find . -name .git -prune -o -type f -printf '%P: ' -exec cat {} \; | sort";

async fn patch(sandbox: &Sandbox, path: &str, patch: impl Into<Vec<u8>>) -> Patched {
    let patch: Vec<u8> = patch.into();
    sandbox.call(Patch { path: path.into(), patch: patch.into(), strip: None, dry_run: false, session: None }).await
}

/// What a script prints, byte for byte.
async fn bytes(sandbox: &Sandbox, script: &str) -> Vec<u8> {
    let output = sandbox.exec(json!({ "command": script })).await;
    assert!(output.result.success(), "{script}: {output:?}");
    output.stdout.0.into()
}

#[tokio::test]
async fn each_kind_of_series_gives_what_git_gives() {
    in_sandbox(async |sandbox| {
        let change = |from: &str, to: &str, hunk: &str| format!("--- {from}\n+++ {to}\n{hunk}");
        let symlink = "new file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+t\n\\ No newline at end of file\n";
        for (name, setup, diff) in [
            (
                "one file twice",
                "seq 3 > f",
                change("a/f", "b/f", "@@ -1,2 +1,2 @@\n-1\n+one\n 2\n") + &change("a/f", "b/f", "@@ -2,2 +2,2 @@\n 2\n-3\n+three\n"),
            ),
            ("a symlink", "true", format!("diff --git a/l b/l\n{symlink}")),
            (
                "a file becomes a symlink",
                "echo x > l",
                format!("diff --git a/l b/l\ndeleted file mode 100644\n{}diff --git a/l b/l\n{symlink}", change("a/l", "/dev/null", "@@ -1 +0,0 @@\n-x\n")),
            ),
            (
                "a symlink becomes a file",
                "ln -s t l",
                format!(
                    "diff --git a/l b/l\ndeleted file mode 120000\n{}diff --git a/l b/l\nnew file mode 100755\n{}",
                    change("a/l", "/dev/null", "@@ -1 +0,0 @@\n-t\n\\ No newline at end of file\n"),
                    change("/dev/null", "b/l", "@@ -0,0 +1 @@\n+x\n")
                ),
            ),
            (
                "a symlink leads elsewhere",
                "ln -s t l",
                "diff --git a/l b/l\nindex 718d4d4..500c070 120000\n--- a/l\n+++ b/l\n@@ -1 +1 @@\n-t\n\\ No newline at end of file\n+u\n\\ No newline at end of file\n".to_owned(),
            ),
            (
                "a file becomes a directory",
                "echo x > p",
                format!(
                    "diff --git a/p b/p\ndeleted file mode 100644\n{}diff --git a/p/q b/p/q\nnew file mode 100644\n{}",
                    change("a/p", "/dev/null", "@@ -1 +0,0 @@\n-x\n"),
                    change("/dev/null", "b/p/q", "@@ -0,0 +1 @@\n+y\n")
                ),
            ),
            (
                "a directory becomes a file",
                "mkdir -p p/r && echo x > p/q && echo z > p/r/s",
                format!(
                    "diff --git a/p b/p\nnew file mode 100644\n{}diff --git a/p/q b/p/q\ndeleted file mode 100644\n{}diff --git a/p/r/s b/p/r/s\ndeleted file mode 100644\n{}",
                    change("/dev/null", "b/p", "@@ -0,0 +1 @@\n+y\n"),
                    change("a/p/q", "/dev/null", "@@ -1 +0,0 @@\n-x\n"),
                    change("a/p/r/s", "/dev/null", "@@ -1 +0,0 @@\n-z\n")
                ),
            ),
            (
                "two files swap their names",
                "echo 1 > a && echo 2 > b",
                "diff --git a/a b/b\nsimilarity index 100%\nrename from a\nrename to b\ndiff --git a/b b/a\nsimilarity index 100%\nrename from b\nrename to a\n".to_owned(),
            ),
            (
                "three files rotate their names",
                "echo 1 > a && echo 2 > b && echo 3 > c",
                "diff --git a/c b/a\nsimilarity index 100%\nrename from c\nrename to a\ndiff --git a/a b/b\nsimilarity index 100%\nrename from a\nrename to b\ndiff --git a/b b/c\nsimilarity index 100%\nrename from b\nrename to c\n".to_owned(),
            ),
            (
                "a copy of a file that is changed too",
                "seq 9 > a",
                format!("diff --git a/a b/a\n{}diff --git a/a b/b\nsimilarity index 100%\ncopy from a\ncopy to b\n", change("a/a", "b/a", "@@ -1,3 +1,3 @@\n-1\n+one\n 2\n 3\n")),
            ),
            (
                "the last file of a directory",
                "mkdir -p d/e && echo x > d/e/f && echo y > d/g",
                format!("diff --git a/d/e/f b/d/e/f\ndeleted file mode 100644\n{}", change("a/d/e/f", "/dev/null", "@@ -1 +0,0 @@\n-x\n")),
            ),
        ] {
            sandbox.shell(&format!("rm -rf ours theirs; mkdir ours && cd ours && {setup} && cd .. && cp -a ours theirs && cd theirs && git init -q")).await;
            sandbox.put("diff", diff.clone()).await.success();
            sandbox.shell("cd theirs && git apply --whitespace=nowarn ../diff").await;
            let planned = Patch { path: "ours".into(), patch: diff.as_str().into(), strip: None, dry_run: true, session: None };
            let planned = sandbox.call(planned).await;
            let patched = patch(sandbox, "ours", diff).await;
            let told = |patched: &Patched| patched.files.iter().map(|file| (file.path.to_string(), file.action)).collect::<Vec<_>>();
            assert_eq!(told(&planned), told(&patched), "{name}");
            let list = async |directory| bytes(sandbox, &format!("cd {directory} && {LIST}")).await;
            let (ours, theirs) = (list("ours").await, list("theirs").await);
            assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs), "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_hunks_heading_may_be_any_bytes() {
    in_sandbox(async |sandbox| {
        sandbox.shell("seq 3 > f").await;
        let patched =
            patch(sandbox, ".", b"--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@ void caf\xe9(int x)\n 1\n-2\n+two\n 3\n".to_vec()).await;
        assert_eq!(patched.files[0].action, PatchAction::Modified);
        assert_eq!(sandbox.shell("cat f").await, "1\ntwo\n3\n");
    })
    .await;
}

#[tokio::test]
async fn a_series_that_fails_late_changes_nothing() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir d; cd d; seq 3 > f; echo x > p; mkdir e; echo y > e/g").await;
        let list = async || bytes(sandbox, &format!("cd d && {LIST} && stat -c %i f p e e/g")).await;
        let before = list().await;
        let good = "diff --git a/p b/p\ndeleted file mode 100644\n--- a/p\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\
                    diff --git a/p/q b/p/q\nnew file mode 100644\n--- /dev/null\n+++ b/p/q\n@@ -0,0 +1 @@\n+y\n\
                    diff --git a/e/g b/e/g\ndeleted file mode 100644\n--- a/e/g\n+++ /dev/null\n@@ -1 +0,0 @@\n-y\n\
                    --- a/f\n+++ b/f\n@@ -1 +1 @@\n-1\n+one\n";
        for (bad, code) in [
            ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-1\n+uno\n", "unprocessable"),
            ("diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+e\n\\ No newline at end of file\n\
              diff --git a/l/x b/l/x\nnew file mode 100644\n--- /dev/null\n+++ b/l/x\n@@ -0,0 +1 @@\n+y\n", "unprocessable"),
            ("diff --git a/l b/l\nnew file mode 120000\n", "unprocessable"),
            ("diff --git a/s b/s\nnew file mode 160000\n--- /dev/null\n+++ b/s\n@@ -0,0 +1 @@\n+Subproject commit 1\n", "unprocessable"),
            ("--- /dev/null\n+++ b/f/x\n@@ -0,0 +1 @@\n+y\n", "conflict"),
            ("--- a/p\n+++ b/p\n@@ -1 +1 @@\n-x\n+y\n", "not_found"),
        ] {
            let answer = sandbox.post("file.patch", json!({ "path": "d", "patch": format!("{good}{bad}") })).await;
            assert_eq!(answer.code(), code, "{bad}: {}", answer.json());
            assert!(list().await == before, "{bad}");
        }
        // Something is left in a directory that is to become a file.
        sandbox.shell("touch d/e/other").await;
        let diff = "--- /dev/null\n+++ b/e\n@@ -0,0 +1 @@\n+y\n--- a/e/g\n+++ /dev/null\n@@ -1 +0,0 @@\n-y\n";
        assert_eq!(sandbox.post("file.patch", json!({ "path": "d", "patch": diff })).await.code(), "conflict");
        assert_eq!(sandbox.shell("ls -A d d/e").await, "d:\ne\nf\np\n\nd/e:\ng\nother\n");
    })
    .await;
}

/// Makes a repository and a series of commits in it, by the roll of dice. Every path may be changed, deleted, made, moved, and become
/// something else in each of them.
const COMMITS: &str = r#"
import os, random, shutil, subprocess, sys
random.seed(int(sys.argv[1]))
names = ["a", "b", "c", "d/e", "d/f", "d/g/h", "i"]
def git(*words): subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x", *words], check=True, stdout=subprocess.DEVNULL)
def remove(path):
    if os.path.isdir(path) and not os.path.islink(path): shutil.rmtree(path)
    elif os.path.lexists(path): os.remove(path)
def make(path):
    above = os.path.dirname(path)
    while above and (not os.path.isdir(above) or os.path.islink(above)):
        if os.path.lexists(above): os.remove(above)
        above = os.path.dirname(above)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    remove(path)
def text(): return "".join(f"{random.randrange(50)}\n" for _ in range(random.randrange(5, 40)))
def step():
    path = random.choice(names)
    action = random.choice(["write", "edit", "edit", "edit", "move", "remove", "link", "mode", "swap", "copy", "file"])
    files = [name for name in names if os.path.isfile(name) and not os.path.islink(name)]
    if action == "write": make(path); open(path, "w").write(text())
    elif action == "file": make("d"); open("d", "w").write(text())
    elif action == "link": make(path); os.symlink(random.choice(["nowhere", "a", "../x"]), path)
    elif action == "remove": remove(path)
    elif not files: return
    elif action == "edit":
        path = random.choice(files)
        lines = open(path).read().splitlines(True)
        if lines: lines[random.randrange(len(lines))] = f"changed {random.randrange(1000)}\n"
        open(path, "w").write("".join(lines))
    elif action == "mode": os.chmod(random.choice(files), random.choice([0o644, 0o755]))
    elif action == "move":
        source = random.choice(files)
        if source != path and not path.startswith(source + "/"):
            content = open(source).read(); mode = os.stat(source).st_mode
            os.remove(source); make(path); open(path, "w").write(content); os.chmod(path, mode)
    elif action == "copy":
        source = random.choice(files)
        if source != path and not path.startswith(source + "/"):
            content = open(source).read(); make(path); open(path, "w").write(content)
    elif action == "swap" and len(files) > 1:
        one, other = random.sample(files, 2)
        os.rename(one, "swap"); os.rename(other, one); os.rename("swap", other)
git("init", "-q")
for name in names[:5]: make(name); open(name, "w").write(text())
git("add", "-A"); git("commit", "-qm", "first"); git("tag", "first")
for number in range(6):
    for _ in range(random.randrange(1, 5)): step()
    git("add", "-A"); git("commit", "-q", "--allow-empty", "-m", f"@@ {number}")
git("checkout", "-q", "first")
"#;

#[tokio::test]
async fn random_series_give_what_git_gives() {
    in_sandbox(async |sandbox| {
        sandbox.put("commits.py", COMMITS).await.success();
        let list = async |directory: &str| bytes(sandbox, &format!("cd {directory} && {LIST}")).await;
        for seed in 0..30 {
            sandbox.shell(&format!("rm -rf r s expected; mkdir r && cd r && python3 ../commits.py {seed} && cp -a . ../s && git checkout -q master 2>/dev/null || git checkout -q main")).await;
            let expected = list("r").await;
            for (form, script) in [
                ("a mail for each", "git format-patch --stdout --binary -M first..HEAD"),
                ("one diff", "git diff -M -C first HEAD"),
                ("one diff, with copies and rewrites", "git diff -B -M -C --find-copies-harder first HEAD"),
                ("a log", "git log -p --reverse -M first..HEAD"),
            ] {
                let diff = bytes(sandbox, &format!("cd r && {script}")).await;
                if diff.is_empty() {
                    continue;
                }
                sandbox.shell("rm -rf t; cp -a s t").await;
                let answer = sandbox.post("file.patch", json!({ "path": "t", "patch": encoded(&diff) })).await;
                assert!(answer.status.is_success(), "{form}, seed {seed}: {}\n{}", answer.json(), String::from_utf8_lossy(&diff));
                let ours = list("t").await;
                assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&expected), "{form}, seed {seed}");
            }
        }
    })
    .await;
}

fn encoded(diff: &[u8]) -> Value {
    serde_json::to_value(cabana_protocol::Data::from(diff.to_vec())).unwrap()
}
