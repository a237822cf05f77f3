//! Everything a process started, and how to end it.
//!
//! Who belongs to a tree is read from `/proc`: children of members, members' process groups and sessions, and whoever carries the
//! mark that the agent puts into every process's environment. So a daemon that has left its parent, group and session is found as
//! long as it keeps its environment. One that has left all four is found only when the agent ends.

mod freeze;
pub(in crate::process) mod kill;
mod members;
mod origins;
mod owner;
pub(crate) mod proc;
mod search;
mod thread;

pub use origins::Origins;
pub use thread::start;

use std::time::Duration;

use cabana_protocol::Signal;
use tokio::time::{Instant, sleep};

use super::TreeEnd;

pub(crate) use members::Members;
pub(in crate::process) use search::stop_and_kill;
use thread::look;

/// The variable that marks a process; all that it starts inherit it.
pub(crate) const MARK: &str = "CABANA_PROCESS";

/// Shortest and longest pause between two looks at a tree that is ending.
const PAUSES: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(50);

/// How long SIGKILL may take to end a tree, apart from the looks at it. A process that waits in the kernel, for a dead file system say,
/// does not end before that wait does.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// The same with the looks, each of which may take seconds while hundreds of processes fork.
const LOOK_PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two attempts to end what SIGKILL has not ended in that time.
const SLOW_PAUSE: Duration = Duration::from_secs(1);

/// Ends a tree: SIGTERM, then, after `grace`, SIGKILL until nothing is left but zombies that wait for their parent, or for as long as
/// that can be expected to take. Without `/proc` only the process group is reached.
pub(crate) async fn end(members: Members, grace: Duration) -> TreeEnd {
    end_by(|signal| look(&members, signal), grace).await
}

/// Ends what `look` signals, which says whether anything is left.
async fn end_by<F: Future<Output = bool>>(look: impl Fn(Option<Signal>) -> F, grace: Duration) -> TreeEnd {
    let deadline = Instant::now() + grace;
    let mut left = look(Some(Signal::TERM)).await;
    let mut pause = *PAUSES.start();
    while left && Instant::now() < deadline {
        sleep(pause).await;
        pause = (pause * 2).min(*PAUSES.end());
        left = look(None).await;
    }
    let begun = Instant::now();
    let mut waited = Duration::ZERO;
    let mut pause = *PAUSES.start();
    while left {
        if waited > KILL_PATIENCE || begun.elapsed() > LOOK_PATIENCE {
            return TreeEnd::Stuck;
        }
        left = look(Some(Signal::KILL)).await;
        sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(*PAUSES.end());
    }
    TreeEnd::Gone
}

/// Goes on killing a tree that does not end, until it has.
pub(crate) async fn keep_killing(members: Members) {
    while look(&members, Some(Signal::KILL)).await {
        sleep(SLOW_PAUSE).await;
    }
}

/// Signals all members once.
pub(crate) async fn signal(members: Members, signal: Signal) {
    look(&members, Some(signal)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_sigkill_does_not_end_is_given_up() {
        let grace = Duration::from_secs(2);
        for (look_takes, patience) in [(Duration::ZERO, KILL_PATIENCE), (Duration::from_secs(1), LOOK_PATIENCE)] {
            let begun = Instant::now();
            let end = end_by(
                |_| async {
                    sleep(look_takes).await;
                    true
                },
                grace,
            );
            assert_eq!(end.await, TreeEnd::Stuck);
            let taken = begun.elapsed();
            assert!(taken > grace + patience && taken < grace + patience + KILL_PATIENCE, "{taken:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tree_whose_looks_take_long_is_not_given_up_for_that() {
        let looks = std::cell::Cell::new(0);
        let end = end_by(
            |_| async {
                sleep(KILL_PATIENCE).await;
                looks.set(looks.get() + 1);
                looks.get() < 5
            },
            Duration::ZERO,
        );
        assert_eq!(end.await, TreeEnd::Gone);
    }

    #[tokio::test(start_paused = true)]
    async fn sigkill_comes_only_after_the_grace_time() {
        let begun = Instant::now();
        let heard = std::sync::Mutex::new(Vec::new());
        let look = |signal: Option<Signal>| {
            heard.lock().unwrap().extend(signal.map(|signal| (signal, begun.elapsed())));
            std::future::ready(signal != Some(Signal::KILL))
        };
        assert_eq!(end_by(look, Duration::from_secs(2)).await, TreeEnd::Gone);
        let heard = heard.into_inner().unwrap();
        assert!(matches!(heard[..], [(Signal::TERM, Duration::ZERO), (Signal::KILL, after)] if after >= Duration::from_secs(2)));
    }
}
