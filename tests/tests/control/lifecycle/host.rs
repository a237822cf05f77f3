//! The agent's process of a sandbox, where the stack runs on this machine.

pub(in crate::control) use cabana_tests::process::{Process, until_gone};
use cabana_tests::require;

use super::Named;

/// Processes whose command line contains this text; NUL separates its words.
pub(in crate::control) fn find(text: &str) -> Vec<Process> {
    Process::find(text)
}

/// The agent of a sandbox; `None` where the stack runs elsewhere.
pub(in crate::control) async fn agent_of(sandbox: &Named) -> Option<Process> {
    let mark = format!("7{}.5", sandbox.id.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())));
    sandbox.print(&format!("(sleep {mark} > /dev/null 2>&1 &)")).await;
    let mut agent = None;
    // The shell may not have become `sleep` yet.
    for _ in 0..100 {
        let process = find(&format!("sleep\0{mark}")).first().copied();
        agent = process.and_then(|process| process.ancestors().find(|process| process.name() == "agent"));
        if agent.is_some() {
            break;
        }
        super::pause(20).await;
    }
    require("engine", agent, "no process of the sandbox has an ancestor called agent on this machine")
}
