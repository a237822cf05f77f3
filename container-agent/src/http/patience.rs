//! How long a client may leave us waiting for the rest of its request.

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

/// The same request, whose body breaks off when nothing of it comes for a while.
pub(super) async fn limit(State(agent): State<Agent>, request: Request) -> Request {
    request.map(|body| limited(body, agent.limits.body_timeout))
}

fn limited(body: Body, limit: Duration) -> Body {
    let mut patience = Patience { limit, end: None, waits: false };
    through(body, move |body, context| match body.poll_frame(context) {
        Poll::Pending => patience.wait(context),
        ready => {
            patience.waits = false;
            ready
        }
    })
}

struct Patience {
    limit: Duration,
    /// When it ends; never while pieces come.
    end: Option<Pin<Box<Sleep>>>,
    waits: bool,
}

impl Patience {
    fn wait(&mut self, context: &mut Context<'_>) -> Next {
        let end = self.end.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        if !std::mem::replace(&mut self.waits, true) {
            end.as_mut().reset(Instant::now() + self.limit);
        }
        end.as_mut().poll(context).map(|()| {
            let message = format!("nothing came for {} ms", self.limit.as_millis());
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
