//! Sending signals, of any number.

use cabana_protocol::Signal;
use rustix::process::Pid;

/// Whom to signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// One process.
    Process(Pid),
    /// All processes of the group that this one leads, or led.
    Group(Pid),
}

/// kill(2). Whoever is gone meanwhile needs no signal. rustix knows no real-time signals.
#[allow(unsafe_code)]
pub(super) fn send(whom: Whom, signal: Signal) {
    let target = match whom {
        Whom::Process(pid) => pid.as_raw_nonzero().get(),
        Whom::Group(pid) => -pid.as_raw_nonzero().get(),
    };
    // SAFETY: kill(2) takes two integers and touches no memory of ours.
    unsafe { libc::kill(target, signal.number()) };
}
