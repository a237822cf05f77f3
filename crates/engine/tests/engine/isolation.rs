//! What a sandbox sees of the host, and what the host sees of it.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

use hyper::Method;
use serde_json::json;

use crate::support::{Engine, IMAGE, binary, visible_directory};

#[tokio::test]
async fn changed_files_do_not_reach_the_host() {
    let engine = Engine::start().await;
    let places = ["/usr", "/etc", "/var", "/opt", "/tmp", "/workspace", "/root", "/home", "/run"];
    let marker = crate::support::marker();
    let writes: String = places.iter().map(|place| format!("echo x > {place}/{marker} && ")).collect();
    let code = engine.code_of("box", &format!("{writes} rm /etc/passwd && exit 9")).await;
    assert_eq!(code, 9);
    for place in places {
        assert!(!Path::new(place).join(&marker).exists(), "{place}");
    }
    assert!(Path::new("/etc/passwd").exists());
    assert_eq!(engine.code_of("other", &format!("test ! -e /usr/{marker} && test -e /etc/passwd")).await, 0);
}

#[tokio::test]
async fn programs_of_the_host_run() {
    let engine = Engine::start().await;
    let script = r#"
        set -e
        test "$(python3 -c 'print(2 + 2)')" = 4
        cd /workspace
        printf 'int main(void) { return 42; }\n' > a.c
        printf 'a: a.c\n\tgcc -o a a.c\n' > Makefile
        make
        ./a || exit $?
    "#;
    assert_eq!(engine.code_of("box", script).await, 42);
}

#[tokio::test]
async fn homes_and_the_engines_state_are_hidden() {
    let engine = Engine::start().await;
    let hidden = engine.directory.join("state");
    // Of a fixed name: what a killed test leaves, the next run removes.
    let secret = Path::new("/root/.cabana-engine-test");
    fs::write(secret, "secret").unwrap();
    let script = format!(
        "set -e
         test -z \"$(ls /home)\"
         test -w /root && test ! -e {secret}
         test ! -e {state}/lock
         test ! -S {socket}
         test -z \"$(ls /tmp)\" && test ! -e /run/docker.sock
         touch /run/cabana/agent 2>/dev/null && exit 1
         exit 0",
        secret = secret.display(),
        state = hidden.display(),
        socket = engine.directory.join("socket").display(),
    );
    let code = engine.code_of("box", &script).await;
    let _ = fs::remove_file(secret);
    assert_eq!(code, 0);
}

/// The state directory and the socket are hidden by themselves too, not only because /tmp is.
#[tokio::test]
async fn a_state_directory_outside_of_tmp_is_hidden() {
    let directory = visible_directory("test, a:b");
    fs::create_dir(directory.path().join("hidden")).unwrap();
    fs::write(directory.path().join("hidden/key"), "secret").unwrap();
    let engine = Engine::start_in(directory.path()).await;
    let script = format!(
        "cd '{}' && test -e log && test ! -e state/lock && test ! -S socket && test ! -e hidden/key",
        directory.path().display()
    );
    assert_eq!(engine.code_of("box", &script).await, 0);
}

#[tokio::test]
async fn the_engines_environment_is_not_inherited() {
    let engine = Engine::start().await;
    let expected = "GIVEN=a=b HOME=/root HOSTNAME=box LANG PATH TERM";
    let script = format!(
        "names=$(tr '\\0' '\\n' < /proc/1/environ | sed 's/^\\(LANG\\|PATH\\|TERM\\)=.*/\\1/' | sort | xargs)
         echo $names; test \"$names\" = '{expected}'"
    );
    let body = json!({ "Image": IMAGE, "Env": ["GIVEN=a=b"], "Cmd": ["sh", "-c", script] });
    engine.create(201, "box", body).await;
    engine.act(204, "box", "start").await;
    assert_eq!(engine.code("box").await, 0);
    let shown = engine.inspect("box").await;
    assert!(shown["Config"]["Env"].is_null(), "the environment holds secrets: {shown}");
}

#[tokio::test]
async fn a_sandbox_has_its_own_namespaces() {
    let engine = Engine::start().await;
    let host = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    let different: String = ["mnt", "pid", "net", "uts", "ipc", "cgroup"]
        .into_iter()
        .map(|kind| format!("test $(readlink /proc/1/ns/{kind}) != '{}' && ", host(kind).display()))
        .collect();
    let script = format!(
        "{different} test $$ = 1 && test $(hostname) = my-box && test $(ls /sys/class/net) = lo && \
         python3 -c 'import socket; s = socket.create_server((\"localhost\", 80)); socket.create_connection(s.getsockname())'"
    );
    assert_eq!(engine.code_of("my-box", &script).await, 0);
}

#[tokio::test]
async fn root_inside_cannot_reach_the_host() {
    let engine = Engine::start().await;
    let script = "
        mount -t tmpfs none /mnt 2>/dev/null && exit 1
        mount -o remount,rw /sys 2>/dev/null && exit 2
        mknod /dev/disk b 254 0 2>/dev/null && exit 3
        (echo 1 > /proc/sys/kernel/printk) 2>/dev/null && exit 4
        (test -e /proc/sysrq-trigger && echo h > /proc/sysrq-trigger) 2>/dev/null && exit 5
        unshare -m true 2>/dev/null && exit 6
        umount -l / 2>/dev/null && exit 7
        chroot /proc/1/root true || exit 8
        exit 0";
    assert_eq!(engine.code_of("box", script).await, 0);
}

#[tokio::test]
async fn inherited_descriptors_are_closed() {
    // Without close-on-exec, as a careless parent of the engine would leave it.
    let leak = fs::File::open("/etc").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let engine = Engine::start().await;
    let script = format!("test ! -e /proc/1/fd/{}", leak.as_raw_fd());
    assert_eq!(engine.code_of("box", &script).await, 0);
}

#[tokio::test]
async fn inherited_signals_umask_and_terminal_are_reset() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' INT QUIT HUP USR1; umask 077; exec \"$0\" serve \"$@\"", binary()]);
    let engine = Engine::start_by(directory.path(), command).await.unwrap();
    // The C library keeps 32 and 33 for itself.
    let script = "ignored=0x$(sed -n 's/^SigIgn:.//p' /proc/1/status)
        test $((ignored & 0x7fffffff)) = 0 && test $(umask) = 0022 && test $(ps -o sid= -p 1) = 1";
    assert_eq!(engine.code_of("box", script).await, 0);
}

#[tokio::test]
async fn devices_and_terminals_work() {
    let engine = Engine::start().await;
    let script = "set -e
        head -c 10 /dev/urandom > /dev/null
        head -c 1 /dev/zero > /dev/shm/x
        python3 -c 'import pty, os; pid, fd = pty.fork(); pid == 0 and os.execlp(\"tty\", \"tty\"); assert os.read(fd, 100).startswith(b\"/dev/pts/\")'
        test \"$(ls /dev | tr '\\n' ' ')\" = 'fd full null ptmx pts random shm stderr stdin stdout tty urandom zero '";
    assert_eq!(engine.code_of("box", script).await, 0);
}

#[tokio::test]
async fn images_are_registered_and_removed() {
    let engine = Engine::start().await;
    engine.expect(200, Method::POST, "/images/create?fromImage=a/egress&tag=1", "").await;
    let image = engine.expect(200, Method::GET, "/images/a%2Fegress%3A1/json", "").await;
    assert!(image["Config"]["ExposedPorts"].as_object().is_some_and(|ports| !ports.is_empty()));
    engine.expect(200, Method::DELETE, "/images/a/egress:1", "").await;
    engine.expect(404, Method::GET, "/images/a/egress:1/json", "").await;
    engine.expect(400, Method::POST, "/build?t=x", "not a Dockerfile").await;
}
