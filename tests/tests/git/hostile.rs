//! Repositories whose configuration names programs.

use cabana_protocol::{exec::Exit, git::Push};
use cabana_tests::{Sandbox, in_sandbox};
use serde_json::{Value, json};

use super::remote::{IDENTITY, Remote};

/// Settings by which a repository names a program, each with a command that has git run it when nobody prevents that. Where there is
/// none, it takes more than these repositories have.
const TRAPS: &[(&str, &str)] = &[
    ("core.fsmonitor", "status"),
    ("core.askPass", "ls-remote private"),
    ("core.pager", "-p log"),
    ("core.editor", "commit --allow-empty"),
    ("core.alternateRefsCommand", ""),
    ("core.gitProxy", "ls-remote git://127.0.0.1/x"),
    ("core.sshCommand", "ls-remote ssh://127.0.0.1/x"),
    ("diff.external", "diff"),
    ("diff.evil.command", "diff"),
    ("diff.evil.textconv", "diff"),
    ("filter.evil.clean", "add file"),
    ("filter.evil.process", "add file"),
    ("filter.evil.smudge", "checkout -f origin/feature"),
    ("merge.evil.driver", "cherry-pick theirs"),
    ("credential.helper", "ls-remote private"),
    ("credential.http://127.0.0.1.helper", ""),
    ("gpg.program", "commit --allow-empty -S -m x"),
    ("sequence.editor", "rebase -i HEAD~1"),
    ("remote.origin.uploadpack", ""),
    ("remote.origin.receivepack", ""),
    // Git 2.54 and later.
    ("hook.evil.command", ""),
];

/// Those that make git more willing.
const WILLING: &[(&str, &str)] = &[
    ("filter.evil.required", "true"),
    ("log.showSignature", "true"),
    ("commit.gpgSign", "true"),
    ("merge.verifySignatures", "true"),
    ("push.gpgSign", "if-asked"),
    ("core.hooksPath", "evil-hooks"),
    ("gc.auto", "1"),
    ("protocol.ext.allow", "always"),
    ("hook.evil.event", "post-commit"),
];

/// What a hook is called.
const HOOKS: &str = "commit-msg post-checkout post-commit post-index-change post-merge pre-commit pre-merge-commit pre-push \
                     prepare-commit-msg reference-transaction";

/// A program that leaves a file `ran-…` in the root.
fn program(root: &str, number: usize) -> String {
    let path = format!("{root}/program-{number}");
    format!("printf '#!/bin/sh\\ntouch {root}/ran-{number}\\nexit 1\\n' > {path}; chmod +x {path};")
}

/// Has all files of a repository go through the programs of its configuration.
const ATTRIBUTES: &str = "echo '* filter=evil diff=evil merge=evil' > .git/info/attributes;";

/// Has a clone set all its traps.
async fn arm(sandbox: &Sandbox, repository: &str) {
    let root = &sandbox.root;
    let traps = TRAPS.iter().enumerate();
    let traps: String =
        traps.map(|(number, (key, _))| format!("{} git config {key} {root}/program-{number};", program(root, number))).collect();
    let willing: String = WILLING.iter().map(|(key, value)| format!("git config {key} {value};")).collect();
    let hooks = format!(
        "mkdir -p evil-hooks .git/hooks; for hook in {HOOKS}; do printf '#!/bin/sh\\ntouch {root}/ran-hook\\nexit 1\\n' > evil-hooks/$hook; \
         chmod +x evil-hooks/$hook; cp evil-hooks/$hook .git/hooks/$hook; done;"
    );
    sandbox.shell(&format!("set -e; cd {repository}; {traps} {willing} {hooks} {ATTRIBUTES}")).await;
}

#[tokio::test]
async fn plain_git_runs_the_programs_of_the_traps() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        let root = &sandbox.root;
        let prepare = format!(
            "{IDENTITY} cp -r work control; cd control; {ATTRIBUTES} sed -i s/1/ours/ file; git commit -qam ours; git branch theirs; \
             git reset -q --hard HEAD~1; sed -i s/1/more/ file; git commit -qam more; echo more >> file; \
             export GIT_TERMINAL_PROMPT=0; unset SSH_ASKPASS GIT_ASKPASS;"
        );
        remote.clone("work").await;
        for (number, (key, command)) in TRAPS.iter().enumerate().filter(|(_, (_, command))| !command.is_empty()) {
            let command = command.replace("private", &remote.url("private/project.git"));
            let reset = if command.starts_with("cherry-pick") || command.starts_with("rebase") { "git checkout -q -f;" } else { "" };
            let script = format!(
                "{prepare} {} git config {key} {root}/program-{number}; {reset} git {command}; \
                 cd ..; rm -rf control; rm ran-{number}",
                program(root, number)
            );
            assert!(sandbox.exec(json!({ "command": script, "tty": {} })).await.result.success(), "{key}");
        }
    })
    .await;
}

#[tokio::test]
async fn programs_configured_by_a_repository_are_not_run() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        for clone in ["work", "theirs"] {
            remote.clone(clone).await;
        }
        // A merge will have both sides' changes of one file to join.
        sandbox.put("theirs/file", "line 1\nline 2\nline 3\ntheirs\n").await.success();
        sandbox.shell(&format!("{IDENTITY} cd theirs; git commit -qam theirs; git push -q")).await;
        arm(sandbox, "work").await;
        let author = json!({ "name": "Ada", "email": "ada@example.com" });
        let append = "sleep 0.01; echo ours >> work/other-file; sed -i 's/line 1/line one/' work/file";
        sandbox.shell(append).await;
        for (operation, request) in [
            ("git.status", json!({})),
            ("git.diff", json!({})),
            ("git.add", json!({ "all": true })),
            ("git.diff", json!({ "staged": true })),
            ("git.diff", json!({ "from": "HEAD~1", "to": "HEAD" })),
            ("git.commit", json!({ "message": "ours", "author": author })),
            ("git.log", json!({})),
            ("git.branch", json!({ "action": { "type": "create", "name": "side" } })),
            ("git.checkout", json!({ "branch": "feature" })),
            ("git.checkout", json!({ "branch": "main" })),
        ] {
            sandbox.post(operation, with_path(request)).await.success();
            assert_eq!(sandbox.shell("ls -d ran-* 2>/dev/null; true").await, "", "{operation}");
        }
        sandbox.shell("git -C work config user.name Ada; git -C work config user.email ada@example.com").await;
        let merge = json!({ "path": "work", "strategy": "merge" });
        let answer = sandbox.post("git.pull", merge).await;
        assert_eq!(sandbox.shell("ls -d ran-* 2>/dev/null; true").await, "", "{:?}", answer.json());
        // Another driver than git's own cannot be trusted to merge, and what it would have merged is a conflict.
        assert_eq!(answer.json()["error"]["details"]["reason"], "merge_conflict", "{}", answer.json());
        sandbox.post("git.add", json!({ "path": "work", "paths": ["file"] })).await.success();
        sandbox.post("git.commit", json!({ "path": "work", "message": "merged", "author": author })).await.success();
        remote.fold::<Push>(json!({ "path": "work" })).await;
        for (operation, url) in [("git.pull", "private/project.git"), ("git.push", "private/project.git")] {
            sandbox.shell(&format!("git -C work remote set-url origin {}", remote.url(url))).await;
            assert_eq!(sandbox.post(operation, json!({ "path": "work" })).await.code(), "forbidden");
        }
        assert_eq!(sandbox.shell("ls -d ran-* 2>/dev/null; true").await, "");
        sandbox.shell("printf '[filter \"\\377\"]\\n\\tclean = touch ran-clean\\n' >> work/.git/config").await;
        let answer = sandbox.post("git.status", json!({ "path": "work" })).await;
        assert_eq!(answer.json()["error"]["details"]["reason"], "unsafe_configuration", "{}", answer.json());
        sandbox.shell("git -C work config --remove-section \"filter.$(printf '\\377')\"").await;
        sandbox.shell("git -C work config new.x.command 'touch ran-new'").await;
        let answer = sandbox.post("git.commit", json!({ "path": "work", "message": "x", "allow_empty": true })).await;
        assert_eq!(answer.code(), "forbidden");
        let details = answer.json()["error"]["details"].take();
        assert_eq!(details, json!({ "reason": "unsafe_configuration", "key": "new.x.command" }), "a key that is not known");
        sandbox.shell("git -C work config --remove-section new.x").await;
        // The hook of a command that comes past no other trap.
        let by_hand = json!({ "command": "git -C work update-ref refs/heads/x HEAD; ls ran-hook" });
        assert_eq!(sandbox.exec(by_hand).await.stdout, "ran-hook\n".into(), "the hooks are there");
    })
    .await;
}

fn with_path(mut request: Value) -> Value {
    request["path"] = json!("work");
    request
}

#[tokio::test]
async fn a_repository_of_another_owner_is_worked_on() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        remote.clone("work").await;
        sandbox.shell_as_root("chown -R nobody work").await;
        let plain = sandbox.exec(json!({ "command": "HOME=/nowhere git -C work status" })).await;
        assert_eq!(plain.result.exit, Some(Exit::Exited { code: 128 }));
        assert!(String::from_utf8_lossy(&plain.stderr.0).contains("dubious ownership"), "{plain:?}");
        sandbox.post("git.status", json!({ "path": "work" })).await.success();
    })
    .await;
}

#[tokio::test]
async fn repositories_above_the_roots_are_not_found() {
    in_sandbox(async |sandbox| {
        // Links lead out for git as for every operation on files.
        sandbox.shell("git init -q outside-work; ln -s / up; ln -s ../etc up2; mkdir plain").await;
        for (path, code) in [("plain", "not_found"), ("up", "forbidden"), ("up2", "forbidden"), ("plain/../..", "forbidden")] {
            assert_eq!(sandbox.post("git.status", json!({ "path": path })).await.code(), code, "{path}");
        }
        sandbox.post("git.status", json!({ "path": "plain/../outside-work" })).await.success();
    })
    .await;
}
