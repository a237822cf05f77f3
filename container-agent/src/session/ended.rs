//! The end of a session's command, as others hear of it.

use cabana_protocol::exec::ExecResult;
use tokio_util::sync::CancellationToken;

use crate::process::{Journal, Pipes, Place};

/// A command that has ended, and whose last words are still to be read.
pub(super) struct Ended {
    /// Whether the session has ended with it.
    pub(super) session_ended: bool,
    pub(super) result: ExecResult,
    pub(super) pipes: Pipes,
    pub(super) journal: Journal,
    pub(super) place: Place,
    pub(super) agent_ends: CancellationToken,
}

impl Ended {
    /// Tells whoever listens what it has printed and how it ended. What it left in the background is not heard any more, but must
    /// not be ended by a broken pipe. A listener who is slow holds up nobody else: the shell is at the next command already.
    pub(super) async fn relate(self) {
        let Self { result, mut pipes, journal, place, agent_ends, .. } = self;
        let last_words = async {
            while let Some(chunk) = pipes.print(&journal).await {
                journal.push(chunk);
            }
        };
        agent_ends.run_until_cancelled(last_words).await;
        journal.end(result);
        drop(place);
        if pipes.held() {
            agent_ends.run_until_cancelled_owned(pipes.discard()).await;
        }
    }
}
