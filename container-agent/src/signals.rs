//! The signals that the agent is sent.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What container engines stop a container with, the last where an image says so: they end the agent.
const ENDING: [SignalKind; 3] = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()];

/// What may mean something to the image's own command.
const PASSED_ON: [SignalKind; 4] =
    [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2(), SignalKind::window_change()];

/// Signals that no longer do what they do by default.
#[derive(Debug)]
pub struct Signals(Vec<(SignalKind, Signal)>);

impl Signals {
    /// Listens to those that end the agent and, where there is a command to pass them on to, to the others. To be called in the
    /// runtime.
    pub fn listen(command: bool) -> io::Result<Self> {
        // A file that would grow beyond RLIMIT_FSIZE is then an error of the write. Commands start without the handler.
        drop(signal(SignalKind::from_raw(libc::SIGXFSZ))?);
        let passed_on = PASSED_ON.into_iter().filter(|_| command);
        let listen = |kind| Ok((kind, signal(kind)?));
        ENDING.into_iter().chain(passed_on).map(listen).collect::<io::Result<_>>().map(Self)
    }

    /// The next signal. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> SignalKind {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<SignalKind> {
        let received = self.0.iter_mut().find_map(|(kind, signal)| signal.poll_recv(context).is_ready().then_some(*kind));
        received.map_or(Poll::Pending, Poll::Ready)
    }
}

/// Whether this signal ends the agent.
pub(crate) fn ends(kind: SignalKind) -> bool {
    ENDING.contains(&kind)
}
