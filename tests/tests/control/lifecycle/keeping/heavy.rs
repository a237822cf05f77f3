//! Large and odd trees, and programs at work, over sleep, wake, forks and restores.

use super::*;

/// A git checkout with a build tree of 20,000 files.
const CHECKOUT: &str = r#"
    set -e
    git init -q repo; cd repo; git config user.email a@b; git config user.name n
    mkdir src; for i in $(seq 200); do echo "source $i" > src/$i.rs; done
    echo target > .gitignore; git add -A; git commit -qm first; git checkout -qb work; echo more >> src/1.rs
    python3 - <<'END'
import os
for number in range(20_000):
    directory = f"target/{number % 100}"
    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/{number}.o", "w") as file:
        file.write(f"object {number}\n" * (number % 50 + 1))
END"#;

/// A program that its package manager has installed, without a network: the package is made here.
const INSTALL: &str = r#"
    set -e
    mkdir -p pkg/DEBIAN pkg/usr/bin pkg/etc
    printf 'Package: cabana-greeter\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@b>\nDescription: greets\n' > pkg/DEBIAN/control
    printf '#!/bin/sh\necho greetings\n' > pkg/usr/bin/cabana-greet; chmod 755 pkg/usr/bin/cabana-greet; echo setting > pkg/etc/cabana-greeter
    dpkg-deb --root-owner-group -b pkg greeter.deb > /dev/null; dpkg -i greeter.deb > /dev/null; cabana-greet"#;

/// Odd files: large, sparse, of several names, with attributes, of another owner, and named as nothing should be.
const ODD: &str = r#"
    set -e
    mkdir odd; cd odd
    truncate -s 1G sparse; printf begin | dd of=sparse conv=notrunc status=none; printf end >> sparse
    head -c 64M /dev/urandom > large
    echo shared > one; ln one two; mkdir sub; ln one sub/three
    echo owned > owned; chown 1234:4321 owned; chmod 4711 owned
    mkfifo fifo; ln -s /nowhere/else dangling
    touch -- -rf ' ' 'a
b' "$(printf '\001\377')" "$(printf 'n%.0s' $(seq 255))"
    python3 -c 'import os; os.setxattr("one", "user.note", b"kept \0 whole")' 2>/dev/null || true"#;

/// All that is known of a tree: kinds, modes, owners, links, sizes, blocks of sparse files, times, attributes, content.
const LIST: &str = r#"
    set -e
    # A look changes nothing: git would write its index anew.
    export GIT_OPTIONAL_LOCKS=0
    for tree in repo odd; do
        # The size of a directory is its file system's own.
        find $tree -type d -printf '%P|%y|%m|%U:%G|%T@\n' -o -printf '%P|%y|%m|%U:%G|%n|%s|%T@|%l\n' | LC_ALL=C sort
        find $tree -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    done | sha256sum
    python3 -c 'import os; print([(os.listxattr("odd/one"))[:1], [os.getxattr("odd/one", name) for name in os.listxattr("odd/one")]])'
    [ "$(stat -c %b odd/sparse)" -lt 1000 ] && echo sparse
    cd repo && git status --porcelain && git log --format=%s && git fsck --strict 2>&1 && cd .. && cabana-greet && dpkg -s cabana-greeter | grep Status && cat /etc/cabana-greeter"#;

#[tokio::test]
async fn checkouts_installed_programs_and_odd_files_survive_byte_for_byte() {
    let sandbox = Named::new("heavy", json!({})).await;
    for script in [CHECKOUT, INSTALL, ODD] {
        sandbox.print(script).await;
    }
    let listed = sandbox.print(LIST).await;
    assert!(listed.contains("sparse\n") && listed.contains("greetings\n") && listed.contains("ok installed"), "{listed}");
    for action in ["/stop", "/restart"] {
        assert_eq!(sandbox.call(Method::POST, action, None).await.0, StatusCode::OK);
        assert_eq!(sandbox.print(LIST).await, listed, "{action}");
    }
    let (status, made) = sandbox.call(Method::POST, "/fork", Some(json!({ "count": 2 }))).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let forks: Vec<_> = made["items"].as_array().unwrap().iter().map(|fork| Named::of(fork["id"].as_str().unwrap())).collect();
    assert_eq!(forks[0].print(LIST).await, listed);
    forks[0].print("rm -rf repo odd; dpkg -r cabana-greeter > /dev/null").await;
    assert_eq!(forks[1].print(LIST).await, listed, "they do not see each other");
    sandbox.print("rm -rf repo/target/7 odd/large; echo changed > repo/src/2.rs").await;
    let restore = format!("/snapshots/{}/restore", made["snapshot"]["id"].as_str().unwrap());
    assert_eq!(sandbox.call(Method::POST, &restore, None).await.0, StatusCode::OK);
    assert_eq!(sandbox.print(LIST).await, listed);
    for fork in forks {
        fork.end().await;
    }
    sandbox.end().await;
}

/// Writes rows for ever, each in a transaction of its own, and says when the first is in.
const WRITER: &str = r#"
import sqlite3
base = sqlite3.connect("base.db", isolation_level=None)
base.execute("PRAGMA journal_mode=WAL")
base.execute("CREATE TABLE IF NOT EXISTS log (number INTEGER PRIMARY KEY, text TEXT)")
while True:
    base.execute("INSERT INTO log (text) VALUES (hex(randomblob(500)))")
    if base.execute("SELECT count(*) FROM log").fetchone()[0] == 1: print("up", flush=True)"#;

/// How many rows there are, without a gap, in a database that is whole.
const COUNT: &str = r#"python3 -c '
import sqlite3
base = sqlite3.connect("base.db")
assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
count, last = base.execute("SELECT count(*), max(number) FROM log").fetchone()
assert count == last
print(count)'"#;

#[tokio::test]
async fn a_database_under_load_is_whole_after_sleep_fork_and_wake() {
    let sandbox = Named::new("database", json!({})).await;
    let writer = json!({ "command": ["python3", "-c", WRITER], "detach": true, "name": "writer", "restart": true });
    assert_eq!(sandbox.call(Method::POST, "/exec", Some(writer)).await.0, StatusCode::OK);
    let up = json!({ "process": "writer", "until": { "log": "up" } });
    assert_eq!(sandbox.call(Method::POST, "/process/wait", Some(up)).await.0, StatusCode::OK);
    let count = async |sandbox: &Named| sandbox.print(COUNT).await.trim().parse::<u64>().unwrap();
    let mut seen = count(&sandbox).await;
    for action in ["/stop", "/restart"] {
        assert_eq!(sandbox.call(Method::POST, action, None).await.0, StatusCode::OK);
        let now = count(&sandbox).await;
        assert!(now >= seen, "{now} rows are left of {seen}");
        seen = now;
    }
    // Taken while it writes: as after a crash, which the database survives.
    let (_, made) = sandbox.call(Method::POST, "/fork", Some(json!({}))).await;
    let fork = Named::of(made["items"][0]["id"].as_str().unwrap());
    assert!(count(&fork).await >= seen);
    until("it writes again", async || count(&fork).await > seen).await;
    fork.end().await;
    sandbox.end().await;
}

/// The agent is killed at different moments of a snapshot, an archive and a restore. The runtime and the engine have their turn in the outages.
#[tokio::test]
async fn an_agent_killed_while_files_are_saved_never_loses_the_last_good_state() {
    let sandbox = Named::new("killed", json!({})).await;
    let Some(_) = LocalEngine::find(&sandbox).await else { return sandbox.end().await };
    sandbox.print("head -c 3000000 /dev/urandom > data; sha256sum data > sum").await;
    for (round, (milliseconds, action)) in
        [(0, "/snapshots"), (10, "/stop"), (40, "/archives"), (5, "/restart"), (100, "/stop"), (20, "/snapshots")]
            .into_iter()
            .enumerate()
    {
        sandbox.print(&format!("echo {round} > round; sha256sum -c --quiet sum")).await;
        let good = sandbox.snapshot("good").await;
        sandbox.print("echo later > round").await;
        let agent = host::agent_of(&sandbox).await.unwrap();
        let killing = async {
            pause(milliseconds).await;
            agent.signal("KILL");
        };
        let (_, ()) = tokio::join!(sandbox.call(Method::POST, action, None), killing);
        sandbox.recover().await;
        let found = sandbox.print("sha256sum -c --quiet sum && cat round").await;
        assert!([format!("{round}\n"), "later\n".to_owned()].contains(&found), "round {round} {action}: {found}");
        let restore = format!("/snapshots/{}/restore", good["id"].as_str().unwrap());
        until("it is restored", async || sandbox.call(Method::POST, &restore, None).await.0 == StatusCode::OK).await;
        assert_eq!(sandbox.print("sha256sum -c --quiet sum && cat round").await, format!("{round}\n"));
    }
    sandbox.end().await;
}
