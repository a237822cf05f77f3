//! The thread that looks at process trees and signals them. It is made at the start and never given up: when commands have used up
//! every process that the sandbox may have, it can still end them.
//!
//! To read `/proc` takes milliseconds, so one reading serves all trees that are waiting to be looked at.

use std::{io, sync::LazyLock, thread};

use cabana_protocol::Signal;
use tokio::sync::{mpsc, oneshot};

use super::{Members, proc, search};

/// Looks that may wait for the thread; who asks for more waits for room.
const LOOKS: usize = 64;

static THREAD: LazyLock<io::Result<mpsc::Sender<Look>>> = LazyLock::new(|| {
    let (sender, looks) = mpsc::channel(LOOKS);
    proc::reserve_descriptors();
    thread::Builder::new().name("trees".to_owned()).spawn(move || run(looks))?;
    Ok(sender)
});

/// A look at a tree.
struct Look {
    members: Members,
    signal: Option<Signal>,
    /// Told whether there were members.
    found: oneshot::Sender<bool>,
}

/// Makes the thread, if there is none yet.
///
/// Fails where the kernel does not give one.
pub fn start() -> io::Result<()> {
    match &*THREAD {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

/// Whether there are members; signals them.
pub(super) async fn look(members: &Members, signal: Option<Signal>) -> bool {
    let (found, was_found) = oneshot::channel();
    let look = Look { members: members.clone(), signal, found };
    let sent = match &*THREAD {
        Ok(thread) => thread.send(look).await.map_err(|mpsc::error::SendError(look)| look),
        Err(_) => Err(look),
    };
    if let Err(look) = sent {
        // Nothing but a defect of the agent ends the thread. The tree must still end.
        serve(vec![look]);
    }
    was_found.await.unwrap_or(false)
}

fn run(mut looks: mpsc::Receiver<Look>) {
    while let Some(first) = looks.blocking_recv() {
        let more = std::iter::from_fn(|| looks.try_recv().ok()).take(LOOKS);
        serve([first].into_iter().chain(more).collect());
    }
}

fn serve(looks: Vec<Look>) {
    let (kills, others): (Vec<_>, Vec<_>) = looks.into_iter().partition(|look| look.signal == Some(Signal::KILL));
    if !others.is_empty() {
        let trees: Vec<_> = others.iter().map(|look| (&look.members, look.signal)).collect();
        answer(search::signal(&trees), others);
    }
    if !kills.is_empty() {
        let trees: Vec<_> = kills.iter().map(|look| &look.members).collect();
        answer(search::stop_and_kill(&trees), kills);
    }
}

fn answer(found: Vec<bool>, looks: Vec<Look>) {
    for (look, found) in looks.into_iter().zip(found) {
        // Who asked may have gone away.
        let _ = look.found.send(found);
    }
}
