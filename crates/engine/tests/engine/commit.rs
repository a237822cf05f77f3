//! Images of running containers: what they hold, what they share, and when their disk space is free again.

use hyper::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Engine, IMAGE, eventually, marker, processes_with};

/// Makes files of every kind.
const MAKE: &str = r#"
    set -e
    cd /workspace
    echo one > plain; chown 1234:5678 plain; chmod 640 plain; touch -d @1000000000.123456789 plain
    python3 -c 'import os; os.setxattr("plain", "user.note", b"\0\1"); os.setxattr("/workspace", "user.directory", b"d")'
    ln plain second
    ln -s /nowhere/at-all link
    mkfifo -m 600 pipe
    printf x > "$(printf 'new\nline \377 \\ name')"
    truncate -s 1G sparse; printf end | dd of=sparse bs=1 seek=500000000 conv=notrunc status=none
    mkdir -p deep/a/b; echo inner > deep/a/b/file; touch -d @1000000001 deep/a
    cp /bin/true suid; chmod 4755 suid
    rm /etc/group
    rm -rf /etc/profile.d; mkdir /etc/profile.d; echo mine > /etc/profile.d/mine
    echo home > /root/home; echo tmp > /tmp/tmp; echo run > /run/run
"#;

/// Fails unless they are as they were made.
const CHECK: &str = r#"
    set -e
    cd /workspace
    [ "$(cat plain)" = one ]; [ "$(stat -c '%u:%g %a %.9Y' plain)" = '1234:5678 640 1000000000.123456789' ]
    python3 -c 'import os; assert os.getxattr("plain", "user.note") == b"\0\1" and os.getxattr("/workspace", "user.directory") == b"d"'
    [ "$(stat -c %i plain)" = "$(stat -c %i second)" ]; [ "$(stat -c %h plain)" = 2 ]
    [ "$(readlink link)" = /nowhere/at-all ]
    [ "$(stat -c '%F %a' pipe)" = 'fifo 600' ]
    [ "$(cat "$(printf 'new\nline \377 \\ name')")" = x ]
    [ "$(stat -c %s sparse)" = 1073741824 ]; [ "$(stat -c %b sparse)" -lt 1000 ]
    [ "$(dd if=sparse bs=1 skip=500000000 count=3 status=none)" = end ]
    [ "$(stat -c %Y deep/a)" = 1000000001 ]
    [ "$(stat -c %a suid)" = 4755 ]
    [ ! -e /etc/group ]
    [ "$(ls /etc/profile.d)" = mine ]
    [ "$(cat /root/home /tmp/tmp)" = "$(printf 'home\ntmp')" ]; [ ! -e /run/run ]
"#;

impl Engine {
    /// Runs a script in a container of this image, and returns when it has come to its end; the container runs on.
    async fn prepare(&self, name: &str, image: &str, script: &str) {
        let marker = marker();
        let script = format!("{script}\nexec sleep {marker}");
        self.create(201, name, json!({ "Image": image, "Cmd": ["sh", "-c", script] })).await;
        self.act(204, name, "start").await;
        let sleeps = || processes_with(&marker).iter().any(|line| line.starts_with("sleep"));
        eventually("the files are made", sleeps).await;
    }

    /// Runs a script in a container of this image, which must succeed.
    async fn check(&self, name: &str, image: &str, script: &str) {
        self.create(201, name, json!({ "Image": image, "Cmd": ["sh", "-xc", script] })).await;
        self.act(204, name, "start").await;
        assert_eq!(self.code(name).await, 0, "{}", self.log());
        self.remove(204, name).await;
    }

    async fn commit(&self, name: &str, image: &str) -> Value {
        let path = format!("/commit?container={name}&pause=true&repo={image}");
        let committed = self.expect(201, Method::POST, &path, "").await;
        let shown = self.expect(200, Method::GET, &format!("/images/{image}/json"), "").await;
        assert_eq!(shown["Id"], committed["Id"]);
        shown
    }

    async fn remove_image(&self, image: &str) {
        self.expect(200, Method::DELETE, &format!("/images/{image}?noprune=true"), "").await;
    }

    /// How many layers there are on disk.
    fn layers(&self) -> usize {
        std::fs::read_dir(self.directory.join("state/layers")).map(|entries| entries.count()).unwrap_or_default()
    }
}

#[tokio::test]
async fn committed_files_are_exact() {
    let engine = Engine::start().await;
    engine.prepare("box", IMAGE, MAKE).await;
    let image = engine.commit("box", "snap").await;
    assert!(image["Size"].as_u64().unwrap() < 4 << 20, "holes take no space: {}", image["Size"]);
    engine.check("other", "snap", CHECK).await;
    engine.remove(204, "box").await;
    engine.check("third", "snap", CHECK).await;
}

#[tokio::test]
async fn commits_share_layers_and_do_not_see_each_others_changes() {
    let engine = Engine::start().await;
    engine.prepare("box", IMAGE, MAKE).await;
    let first = engine.commit("box", "first").await;
    let change = "
        cd /workspace; echo more >> plain; rm link; mv deep deeper; echo new > deeper/a/new
        rm -rf /etc/profile.d; cp /bin/true /etc/group; echo 2 > /root/home";
    let changed = r#"
        set -e
        cd /workspace; [ "$(cat plain)" = "$(printf 'one\nmore')" ]; [ ! -L link ]; [ ! -e deep ]
        [ "$(cat deeper/a/b/file deeper/a/new)" = "$(printf 'inner\nnew')" ]
        [ ! -e /etc/profile.d ]; [ -x /etc/group ]; [ "$(cat /root/home)" = 2 ]; [ -p pipe ]"#;
    engine.prepare("second", "first", change).await;
    let second = engine.commit("second", "second").await;
    engine.check("a", "first", CHECK).await;
    engine.check("b", "second", changed).await;
    let layers = |image: &Value| image["RootFS"]["Layers"].as_array().unwrap().clone();
    assert_eq!((layers(&first).len(), layers(&second).len(), engine.layers()), (1, 2, 2));
    assert_eq!((&layers(&second)[0], &second["Parent"]), (&layers(&first)[0], &first["Id"]));
}

#[tokio::test]
async fn the_disk_space_of_layers_is_free_when_nothing_needs_them() {
    let engine = Engine::start().await;
    engine.prepare("box", IMAGE, "echo 1 > /workspace/a").await;
    engine.commit("box", "first").await;
    engine.prepare("second", "first", "echo 2 > /workspace/a").await;
    engine.commit("second", "second").await;
    engine.remove(204, "box").await;
    engine.remove_image("first").await;
    assert_eq!(engine.layers(), 2, "the second image and its container need both");
    engine.remove_image("second").await;
    eventually("the second layer is removed", || engine.layers() == 1).await;
    engine.act(204, "second", "kill?signal=SIGKILL").await;
    engine.create(404, "third", json!({ "Image": "second" })).await;
    engine.remove(204, "second").await;
    eventually("every layer is removed", || engine.layers() == 0).await;
}

#[tokio::test]
async fn images_outlive_a_killed_engine_and_commits_that_it_cut_short_do_not() {
    let directory = tempfile::TempDir::new().unwrap();
    let mut engine = Engine::start_in(directory.path()).await;
    engine.prepare("box", IMAGE, "echo kept > /workspace/a").await;
    engine.commit("box", "snap").await;
    engine.end(Signal::KILL);
    std::fs::create_dir(directory.path().join("state/layers/unfinished")).unwrap();
    let engine = Engine::start_in(directory.path()).await;
    engine.check("box", "snap", r#"[ "$(cat /workspace/a)" = kept ]"#).await;
    eventually("what was cut short is removed", || engine.layers() == 1).await;
}

#[tokio::test]
async fn many_commits_in_a_row_become_one_layer() {
    let engine = Engine::start().await;
    engine.prepare("box0", IMAGE, "echo 0 > /workspace/0; echo x > /workspace/removed").await;
    engine.commit("box0", "snap0").await;
    let mut most = 0;
    for number in 1..=70 {
        let script = format!("rm /workspace/removed; echo {number} > /workspace/{number}; echo {number} > /workspace/last");
        let (name, image) = (format!("box{number}"), format!("snap{number}"));
        engine.prepare(&name, &format!("snap{}", number - 1), &script).await;
        let committed = engine.commit(&name, &image).await;
        most = most.max(committed["RootFS"]["Layers"].as_array().unwrap().len());
        engine.remove(204, &format!("box{}", number - 1)).await;
        engine.remove_image(&format!("snap{}", number - 1)).await;
    }
    assert_eq!(most, 64);
    let script = r#"[ "$(ls /workspace | wc -l)" = 72 ]; [ "$(cat /workspace/last)" = 70 ]; [ "$(cat /workspace/0)" = 0 ]"#;
    engine.check("last", "snap70", &format!("set -e; {script}")).await;
}

#[tokio::test]
async fn invalid_commits_are_refused() {
    let engine = Engine::start_with_faults().await;
    let commit = |container: &str| format!("/commit?container={container}&repo=snap");
    engine.expect(404, Method::POST, &commit("none"), "").await;
    engine.create(201, "box", json!({ "Image": IMAGE, "Env": ["CASE=hit"], "Cmd": ["sleep", "1000"] })).await;
    engine.expect(409, Method::POST, &commit("box"), "").await;
    engine.act(204, "box", "start").await;
    engine.expect(204, Method::PUT, "/faults/start/f", r#"{"kind":"refuse_commit","environment":"hit","starts":1}"#).await;
    let refused = engine.expect(500, Method::POST, &commit("box"), "").await;
    assert_eq!(refused["message"], "an injected fault refuses this commit");
    engine.expect(404, Method::GET, "/images/snap/json", "").await;
    engine.expect(201, Method::POST, &commit("box"), "").await;
    engine.start_sidecar("box-proxy").await;
    engine.expect(501, Method::POST, &commit("box-proxy"), "").await;
}
