//! Bad weather on the way between workerd and a sandbox, for tests of what they make of it. Whoever may use the sidecar may order it.

use tokio::net::TcpStream;
use tokio::sync::watch;

/// How the tunnels of one sidecar fare. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Weather(watch::Sender<Now>);

#[derive(Debug, Clone, Copy, Default)]
struct Now {
    /// Nothing passes, and nobody is told.
    still: bool,
    /// How often all tunnels that there were have been cut.
    cuts: u64,
}

impl Weather {
    /// It is fair.
    pub(super) fn new() -> Self {
        Self(watch::Sender::default())
    }

    /// Changes to the weather of this name: `fair`, `still` (tunnels hold what they have, and new ones are opened), or `cut`, which resets all
    /// tunnels and changes nothing else. `None` for other names.
    pub(super) fn order(&self, name: &str) -> Option<()> {
        let change = match name {
            "fair" => |now: &mut Now| now.still = false,
            "still" => |now: &mut Now| now.still = true,
            "cut" => |now: &mut Now| now.cuts += 1,
            _ => return None,
        };
        self.0.send_modify(change);
        Some(())
    }

    /// Lets a tunnel work in fair weather, until it is done or cut; whether it was done.
    pub(super) async fn endure(&self, tunnel: impl Future<Output = ()>) -> bool {
        let mut weather = self.0.subscribe();
        let begun = weather.borrow().cuts;
        let mut tunnel = std::pin::pin!(tunnel);
        loop {
            let now = *weather.borrow_and_update();
            if now.cuts != begun {
                return false;
            }
            tokio::select! {
                () = &mut tunnel, if !now.still => return true,
                Ok(()) = weather.changed() => {}
            }
        }
    }
}

/// Has the other end see a reset when this one is closed.
pub(super) fn reset(stream: &TcpStream) {
    // One that is closed already needs none.
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_tunnel_works_in_fair_weather_alone() {
        let weather = Weather::new();
        assert!(weather.endure(async {}).await);
        weather.order("still").unwrap();
        let waiting = tokio::spawn({
            let weather = weather.clone();
            async move { weather.endure(async {}).await }
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), weather.endure(async {})).await.is_err());
        weather.order("fair").unwrap();
        assert!(waiting.await.unwrap());
        let (endless, cut) = tokio::join!(weather.endure(std::future::pending()), async { weather.order("cut") });
        assert_eq!((endless, cut), (false, Some(())));
        assert!(weather.endure(async {}).await, "later ones are not cut");
        assert_eq!(weather.order("hail"), None);
    }
}
