//! Faults of the network between workerd and a sandbox, which tests inject to see what both make of them.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;

/// The faults of one sidecar's tunnels. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct NetworkFault(watch::Sender<Condition>);

#[derive(Debug, Clone, Copy, Default)]
struct Condition {
    /// No byte passes, and neither end is told.
    stalled: bool,
    /// New tunnels are refused.
    refused: bool,
    /// How many times the open tunnels have been reset.
    resets: u64,
}

impl NetworkFault {
    /// No fault.
    pub(super) fn none() -> Self {
        Self(watch::Sender::default())
    }

    /// Injects a fault by name: `stall` (open tunnels hold what they have, and new ones are accepted), `refuse` (new tunnels are refused, and
    /// open ones live on), `reset` (resets the open tunnels, and changes nothing else), or `clear`, which ends what lasts. `None` for other names.
    pub(super) fn inject(&self, name: &str) -> Option<()> {
        let change = match name {
            "clear" => |condition: &mut Condition| (condition.stalled, condition.refused) = (false, false),
            "refuse" => |condition: &mut Condition| condition.refused = true,
            "stall" => |condition: &mut Condition| condition.stalled = true,
            "reset" => |condition: &mut Condition| condition.resets += 1,
            _ => return None,
        };
        self.0.send_modify(change);
        Some(())
    }

    /// Whether new tunnels are refused.
    pub(super) fn refuses(&self) -> bool {
        self.0.borrow().refused
    }

    /// Runs a tunnel, except while it is stalled. `true` if it has finished, `false` if it was reset.
    pub(super) async fn apply(&self, tunnel: impl Future<Output = ()>) -> bool {
        let mut condition = self.0.subscribe();
        let resets_before = condition.borrow().resets;
        let mut tunnel = std::pin::pin!(tunnel);
        loop {
            let Condition { stalled, resets, .. } = *condition.borrow_and_update();
            if resets != resets_before {
                return false;
            }
            tokio::select! {
                () = &mut tunnel, if !stalled => return true,
                Ok(()) = condition.changed() => {}
            }
        }
    }
}

/// Makes closing this stream a reset for its other end.
pub(super) fn reset_on_close(stream: &TcpStream) {
    // Fails where the stream is closed already.
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use super::*;

    /// Polls a future once.
    fn is_pending(future: Pin<&mut impl Future>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[tokio::test]
    async fn a_stalled_tunnel_waits_and_a_reset_one_ends() {
        let fault = NetworkFault::none();
        assert!(fault.apply(async {}).await);
        fault.inject("stall").unwrap();
        let mut stalled = pin!(fault.apply(async {}));
        assert!(is_pending(stalled.as_mut()));
        fault.inject("clear").unwrap();
        assert!(stalled.await);
        let (endless, reset) = tokio::join!(fault.apply(std::future::pending()), async { fault.inject("reset") });
        assert_eq!((endless, reset), (false, Some(())));
        assert!(fault.apply(async {}).await, "later tunnels are not reset");
        fault.inject("refuse").unwrap();
        assert!(fault.refuses() && fault.apply(async {}).await);
        fault.inject("clear").unwrap();
        assert!(!fault.refuses());
        assert_eq!(fault.inject("hail"), None);
    }
}
