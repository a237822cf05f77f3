//! The idle timeout of request bodies.
//!
//! Not tower-http's `TimeoutBody`: it hides the body's size, by which an upload reserves its space on the disk, and it polls its timer
//! before the body, so that a piece that has arrived meanwhile is lost to the timeout.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
};
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    Agent,
    body::{Next, through},
};

/// The same request, whose body fails when nothing of it arrives within the timeout.
pub(super) async fn limit(State(agent): State<Agent>, request: Request) -> Request {
    request.map(|body| limited(body, agent.limits.body_timeout))
}

fn limited(body: Body, timeout: Duration) -> Body {
    let mut idle = IdleTimeout { timeout, deadline: None, waiting: false };
    through(body, move |body, context| match body.poll_frame(context) {
        Poll::Pending => idle.poll(context),
        ready => {
            idle.waiting = false;
            ready
        }
    })
}

struct IdleTimeout {
    timeout: Duration,
    /// Made when the body is waited for the first time: most bodies are there at once.
    deadline: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl IdleTimeout {
    fn poll(&mut self, context: &mut Context<'_>) -> Next {
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(self.timeout)));
        if !std::mem::replace(&mut self.waiting, true) {
            deadline.as_mut().reset(Instant::now() + self.timeout);
        }
        deadline.as_mut().poll(context).map(|()| {
            let message = format!("nothing arrived for {} ms", self.timeout.as_millis());
            Some(Err(axum::Error::new(io::Error::other(message))))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt, stream};

    use axum::body::Bytes;

    use super::*;

    /// A body whose pieces come after pauses of so many milliseconds each; how many of them arrive, and whether all do.
    async fn arrive(pauses: &'static [u64], limit: u64) -> (usize, bool) {
        let pieces = stream::iter(pauses).then(async |pause| {
            sleep(Duration::from_millis(*pause)).await;
            Ok::<_, Infallible>(Bytes::from_static(b"x"))
        });
        let body = limited(Body::from_stream(pieces), Duration::from_millis(limit));
        let pieces: Vec<_> = body.into_data_stream().take(pauses.len()).collect().await;
        (pieces.iter().filter(|piece| piece.is_ok()).count(), pieces.iter().all(Result::is_ok))
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_arrives_and_one_that_stops_does_not() {
        for (pauses, expected) in [
            (&[0, 0, 0][..], (3, true)),
            (&[90, 90, 90], (3, true)),
            (&[90, 90, 110], (2, false)),
            (&[110], (0, false)),
            (&[], (0, true)),
        ] {
            assert_eq!(arrive(pauses, 100).await, expected, "{pauses:?}");
        }
    }
}
