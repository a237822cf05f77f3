//! Fuzzing of proc_pid_stat(5) and proc_pid_environ(5): a process chooses its name and its environment, and nothing else.

use super::*;
use crate::{process::supervisor::oom, system};

/// Whatever its name, the fields behind it are the kernel's.
const FIELDS: &[u8] = b") S 1 7 6 0 -1 4194560 100 200 0 0 1 20 300 4000 20 0 1 0 4711 5 6";

/// A name, a NUL, and an environment: neither changes any other field of the process, and a variable is found as it was set.
pub fn stat(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let [name, environ] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let stat = [b"7 (", name, FIELDS].concat();
    let mark = b"MARK=".as_slice();
    let variable = environ.split(|byte| *byte == 0).find(|text| text.starts_with(mark)).map(|text| text[mark.len()..].to_vec());
    let expected = Entry { pid: 7, parent: 1, group: 7, session: 6, stopped: false, started: 4_711, variable: Variable::Unread };
    assert_eq!(parse(7, &stat), Some((expected, MainThread::Runs)));
    assert_eq!(value(environ, "MARK"), variable);
    assert_eq!(system::fuzz::ticks_of(&stat), Some(4_321));
    // What the kernel never writes is read without a panic.
    parse(7, bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        oom::parse(text);
    }
}
