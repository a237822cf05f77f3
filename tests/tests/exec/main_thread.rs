//! Programs whose main thread ends before the others: the kernel shows them as zombies while they run.

use cabana_tests::in_sandbox;
use serde_json::json;

use super::time_out;

/// Holds a lock on the file `lock` in a second thread, after the main thread has ended.
const PROGRAM: &str = "import ctypes, fcntl, threading, time\nlock = open('lock', 'w')\nfcntl.flock(lock, fcntl.LOCK_EX)\n\
                       threading.Thread(target=time.sleep, args=(1000,)).start()\nprint('up', flush=True)\n\
                       ctypes.CDLL(None).pthread_exit(None)";

#[tokio::test]
async fn a_timeout_ends_a_program_whose_main_thread_has_ended() {
    in_sandbox(async |sandbox| {
        time_out(sandbox, json!(["python3", "-c", PROGRAM]), "up\n").await;
        sandbox.shell("flock --nonblock lock true").await;
    })
    .await;
}

/// It has left its parent, group and session: only its environment tells where it comes from, and the main thread shows none.
#[tokio::test]
async fn a_timeout_ends_a_daemon_whose_main_thread_has_ended() {
    in_sandbox(async |sandbox| {
        let daemon = "setsid --fork python3 -c \"$0\"; while flock --nonblock lock true; do sleep 0.02; done; sleep 1000";
        time_out(sandbox, json!(["sh", "-c", daemon, PROGRAM]), "up\n").await;
        sandbox.shell("flock --nonblock lock true").await;
    })
    .await;
}
