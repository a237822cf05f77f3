//! Sending signals, of any number.

use cabana_protocol::Signal;
use rustix::process::Pid;

/// Whom to signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) enum Whom {
    /// One process.
    Process(Pid),
    /// All processes of the group that this one leads, or led.
    Group(Pid),
    /// All processes but this one, and the first one of the namespace.
    All,
}

/// kill(2). Whoever is gone meanwhile needs no signal. rustix knows no real-time signals.
#[allow(unsafe_code)]
pub(in crate::process) fn send(whom: Whom, signal: Signal) {
    let target = match whom {
        Whom::Process(pid) => pid.as_raw_nonzero().get(),
        Whom::Group(pid) => -pid.as_raw_nonzero().get(),
        Whom::All => -1,
    };
    // SAFETY: kill(2) takes two integers and touches no memory of ours.
    unsafe { libc::kill(target, signal.number()) };
}
