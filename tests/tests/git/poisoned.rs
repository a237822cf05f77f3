//! Repositories whose content makes git write elsewhere or run programs.

use cabana_tests::{Sandbox, in_sandbox};
use serde_json::json;

use super::remote::{IDENTITY, Remote};

/// What stands in the trees: a commit, a file, a directory that is laid out as git's own with a hook, and blobs by their content.
const OBJECTS: &str = r#"
    blob() { printf "$1" | git hash-object -w --stdin; }
    hooks=$(printf "100755 blob $(blob '#!/bin/sh\ntouch ../ran ran\n')\tpost-checkout\000" | git mktree -z)
    directory=$(printf "040000 tree $hooks\thooks\000" | git mktree -z)
    file=$(blob 'word\n')
    commit=$(git rev-parse main)
"#;

const DIRECTORY: &str = "040000 tree $directory";
const FILE: &str = "100644 blob $file";
const SUBMODULE: &str = "160000 commit $commit";

fn link(to: &str) -> String {
    format!("120000 blob $(blob '{to}')")
}

/// What makes a submodule of this name, at this path and from this URL.
fn modules(name: &str, path: &str, url: &str) -> String {
    format!("100644 blob $(blob '[submodule \"{name}\"]\\n\\tpath = {path}\\n\\turl = {url}\\n')")
}

/// Makes a tree of what has these names, in git's order.
fn tree(entries: &[(&str, &str)]) -> String {
    let lines: String = entries.iter().map(|(what, name)| format!("{what}\\t{name}\\000")).collect();
    format!("$(printf \"{lines}\" | git mktree -z --missing)")
}

/// Serves, as `poisoned.git`, a repository with this tree on its main branch.
async fn serve(sandbox: &Sandbox, tree: &str) {
    let make = format!(
        "{IDENTITY} set -e; rm -rf served/poisoned.git; cp -r served/project.git served/poisoned.git; cd served/poisoned.git; {OBJECTS} \
         git update-ref refs/heads/main $(git commit-tree -p main -m poisoned {tree})"
    );
    sandbox.shell(&make).await;
}

#[tokio::test]
async fn trees_with_forbidden_names_are_refused() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        let pull = json!({ "path": "work", "remote": remote.url("poisoned.git"), "branch": "main" });
        for name in [".git", ".GIT", ".Git ", "git~1", "..", "."] {
            serve(sandbox, &tree(&[(DIRECTORY, name)])).await;
            for (path, before, after) in [("new", "true", ""), ("there", "mkdir there", "there\n")] {
                sandbox.shell(before).await;
                let answer = sandbox.post("git.clone", json!({ "url": remote.url("poisoned.git"), "path": path })).await;
                assert_eq!(answer.code(), "unprocessable", "{name}: {}", answer.json());
                let left = sandbox.shell("ls -A; ls -A there 2> /dev/null; rm -rf there").await;
                assert_eq!(left, format!("served\nserver.py\n{after}"), "{name}");
            }
            remote.clone("work").await;
            assert_eq!(sandbox.post("git.pull", pull.clone()).await.code(), "unprocessable", "{name}");
            assert_eq!(sandbox.shell("git -C work status --short; ls -A work; rm -r work").await, ".git\nfile\n", "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn hostile_trees_write_nothing_outside_and_run_nothing() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        let below = |name: &str, what: &str| format!("040000 tree {}", tree(&[(what, name)]));
        let attributes = "100644 blob $(blob '* filter=evil diff=evil merge=evil ident\\n')";
        for (what, tree, names) in [
            ("names that differ in case", tree(&[(DIRECTORY, "A"), (&link(".git"), "a")]), "A a"),
            ("a link and a directory of one name", tree(&[(&link(".."), "d"), (DIRECTORY, "d")]), "d d"),
            ("a link out", tree(&[(&link("../.."), "out")]), "out"),
            (
                "a submodule whose path ends in a carriage return, and a link to its hooks",
                tree(&[
                    (&modules("sub", "\"sub\\r\"", "../project.git"), ".gitmodules"),
                    (&link(".git/modules/sub/hooks"), "sub"),
                    (SUBMODULE, "sub\\r"),
                ]),
                ".gitmodules sub sub\\r",
            ),
            (
                "a submodule below what is a link into .git, but for case",
                tree(&[
                    (&modules("x/y", "A/modules/x", "../project.git"), ".gitmodules"),
                    (&below("modules", &below("x", SUBMODULE)), "A"),
                    (&link(".git"), "a"),
                ]),
                ".gitmodules A a",
            ),
            (
                "a submodule whose name leads out",
                tree(&[(&modules("../../out", "sub", "../project.git"), ".gitmodules"), (SUBMODULE, "sub")]),
                ".gitmodules sub",
            ),
            (
                "a submodule whose URL is an option",
                tree(&[(&modules("sub", "sub", "--upload-pack=touch ran"), ".gitmodules"), (SUBMODULE, "sub")]),
                ".gitmodules sub",
            ),
            ("attributes", tree(&[(attributes, ".gitattributes"), (FILE, "word")]), ".gitattributes word"),
        ] {
            serve(sandbox, &tree).await;
            let served = "git -C served/poisoned.git ls-tree --name-only main | tr -d '\"' | xargs -d '\\n'";
            assert_eq!(sandbox.shell(served).await.trim_end(), names, "{what}");
            let url = remote.url("poisoned.git");
            sandbox.post("git.clone", json!({ "url": url, "path": "work" })).await;
            remote.clone("other").await;
            sandbox.post("git.pull", json!({ "path": "other", "remote": url, "branch": "main" })).await;
            for branch in ["feature", "main"] {
                sandbox.post("git.checkout", json!({ "path": "other", "branch": branch })).await;
            }
            // No hook, no repository of a submodule, nothing beside the clones.
            let look = "mkdir -p work; ls; find . -name 'ran*'; find work other -path '*.git/hooks/post-checkout' -o -path '*.git/modules'; \
                        find work/sub* other/sub* -mindepth 1 2> /dev/null; rm -r work other";
            assert_eq!(sandbox.shell(look).await, "other\nserved\nserver.py\nwork\n", "{what}");
        }
    })
    .await;
}

#[tokio::test]
async fn submodules_are_ignored_whatever_the_configuration_says() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        let (project, poisoned) = (remote.url("project.git"), remote.url("poisoned.git"));
        for clone in ["work", "control"] {
            remote.clone(clone).await;
            let set = "git config submodule.sub.active true; git config submodule.recurse true";
            let lead = format!("git config submodule.sub.url {project}; git remote set-url origin {poisoned}");
            sandbox.shell(&format!("cd {clone}; {set}; {lead}")).await;
        }
        serve(sandbox, &tree(&[(&modules("sub", "sub", "../project.git"), ".gitmodules"), (SUBMODULE, "sub")])).await;
        sandbox.shell("git -C control pull -q").await;
        assert_eq!(sandbox.shell("ls control/sub").await, "file\n", "git by hand clones it");
        sandbox.post("git.pull", json!({ "path": "work" })).await.success();
        for branch in ["feature", "main"] {
            sandbox.post("git.checkout", json!({ "path": "work", "branch": branch })).await.success();
        }
        assert_eq!(sandbox.shell("find work/sub work/.git/modules 2> /dev/null; true").await, "work/sub\n");
    })
    .await;
}
