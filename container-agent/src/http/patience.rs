//! How long a client may leave us waiting for the rest of its request.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::Agent;

/// The same request, whose body breaks off when nothing of it comes for a while.
pub(super) async fn limit(State(agent): State<Agent>, request: Request) -> Request {
    request.map(|body| Body::new(Awaited::new(body, agent.limits.body_timeout)))
}

/// A body that is waited for. Says of its size what it said before.
struct Awaited {
    body: Body,
    limit: Duration,
    /// The end of our patience; there is none while pieces come.
    end: Option<Pin<Box<Sleep>>>,
    waits: bool,
}

impl Awaited {
    fn new(body: Body, limit: Duration) -> Self {
        Self { body, limit, end: None, waits: false }
    }

    /// Whether our patience is at its end.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let limit = self.limit;
        let end = self.end.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !std::mem::replace(&mut self.waits, true) {
            end.as_mut().reset(Instant::now() + limit);
        }
        end.as_mut().poll(context).is_ready()
    }
}

impl HttpBody for Awaited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.waits = false;
            return Poll::Ready(frame);
        }
        if self.is_over(context) {
            let message = format!("nothing came for {} ms", self.limit.as_millis());
            return Poll::Ready(Some(Err(axum::Error::new(std::io::Error::other(message)))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt, stream};

    use super::*;

    /// A body whose pieces come after pauses of so many milliseconds each; how many of them arrive, and whether all do.
    async fn arrive(pauses: &'static [u64], limit: u64) -> (usize, bool) {
        let pieces = stream::iter(pauses).then(async |pause| {
            sleep(Duration::from_millis(*pause)).await;
            Ok::<_, Infallible>(Bytes::from_static(b"x"))
        });
        let body = Awaited::new(Body::from_stream(pieces), Duration::from_millis(limit));
        let pieces: Vec<_> = Body::new(body).into_data_stream().take(pauses.len()).collect().await;
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

    #[test]
    fn its_size_is_known_as_before() {
        let body = Awaited::new(Body::from("four"), Duration::from_secs(1));
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(4), false));
        assert!(Awaited::new(Body::empty(), Duration::from_secs(1)).is_end_stream());
    }
}
