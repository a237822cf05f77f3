//! The inputs of an operation that come as the body of its HTTP request: bytes, as they come.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use cabana_protocol::{Code, Error};
use futures_util::{Stream, StreamExt};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::ReceivedInput;

/// Bytes of a body that may wait for the operation to take them. Beyond that the client waits.
const WAITING_BYTES: usize = 1 << 20;

/// How much of a body is taken in that the operation does not read: closing the connection on it would lose the answer.
const LINGER_BYTES: usize = 64 << 20;

/// How long that may take, and how long the client may pause meanwhile.
const LINGER_TIME: Duration = Duration::from_secs(5);
const LINGER_IDLE: Duration = Duration::from_millis(200);

/// The body of a request, piece by piece.
pub struct InputBody(Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>);

impl InputBody {
    /// These pieces.
    pub fn new(pieces: impl Stream<Item = Result<Bytes, Error>> + Send + 'static) -> Self {
        Self(Box::pin(pieces))
    }

    /// Gives the pieces to an operation, each once there is room for it, and then what it does not take any more to nobody. A body that
    /// breaks off cancels the operation: it must not take that for the end.
    pub(super) async fn feed<I>(
        mut self,
        inputs: mpsc::UnboundedSender<ReceivedInput<I>>,
        say: fn(Bytes) -> I,
        cancel: CancellationToken,
    ) {
        let room = Arc::new(Semaphore::new(WAITING_BYTES));
        loop {
            let piece = tokio::select! {
                piece = self.0.next() => piece,
                () = inputs.closed() => return self.linger().await,
            };
            let mut piece = match piece {
                None => return,
                Some(Ok(piece)) => piece,
                Some(Err(_)) => {
                    cancel.cancel();
                    // The end of the inputs would be taken for the end of the body.
                    return inputs.closed().await;
                }
            };
            while !piece.is_empty() {
                let part = piece.split_to(piece.len().min(WAITING_BYTES));
                let count = u32::try_from(part.len()).unwrap_or(u32::MAX);
                let permit = tokio::select! {
                    permit = Arc::clone(&room).acquire_many_owned(count) => permit.ok(),
                    () = inputs.closed() => None,
                };
                let sent = permit.map(|room| inputs.send(ReceivedInput { input: say(part), room }).is_ok());
                if sent != Some(true) {
                    return self.linger().await;
                }
            }
        }
    }

    /// Takes in what the client is still sending.
    async fn linger(&mut self) {
        let (mut taken, until) = (0, Instant::now() + LINGER_TIME);
        while let Ok(Some(Ok(piece))) = timeout(LINGER_IDLE, self.0.next()).await {
            taken += piece.len();
            if taken > LINGER_BYTES || Instant::now() > until {
                return;
            }
        }
    }
}

impl fmt::Debug for InputBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("InputBody")
    }
}

/// The error for a body of bytes that the operation of this name does not take.
pub(super) fn refused(name: &str) -> Error {
    let message = format!("{name} takes no body of bytes here: its request is JSON, or names its own input already");
    Error::new(Code::UnsupportedMediaType, message).because("not_json")
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};

    use super::*;

    fn body(pieces: Vec<Result<&'static [u8], Error>>) -> InputBody {
        InputBody::new(stream::iter(pieces.into_iter().map(|piece| piece.map(Bytes::from_static))))
    }

    #[tokio::test]
    async fn a_body_waits_for_room_and_ends_the_inputs_with_itself() {
        static LARGE: [u8; 3 * WAITING_BYTES / 2] = [7; 3 * WAITING_BYTES / 2];
        let (told, mut inputs) = mpsc::unbounded_channel();
        let mut fed = Box::pin(body(vec![Ok(&LARGE), Ok(b"x")]).feed(told, |bytes| bytes, CancellationToken::new()));
        assert_eq!((&mut fed).now_or_never(), None, "it waits");
        let first = inputs.try_recv().unwrap();
        assert_eq!(first.input.len(), WAITING_BYTES);
        assert!(inputs.try_recv().is_err(), "there is no room for more");
        drop(first);
        fed.await;
        let rest: Vec<_> = std::iter::from_fn(|| inputs.try_recv().ok().map(|received| received.input.len())).collect();
        assert_eq!(rest, [WAITING_BYTES / 2, 1]);
        assert!(inputs.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_cancels() {
        let (told, mut inputs) = mpsc::unbounded_channel();
        let cancel = CancellationToken::new();
        let mut fed = Box::pin(body(vec![Ok(b"a"), Err(Error::internal("cut"))]).feed(told, |bytes| bytes, cancel.clone()));
        assert_eq!((&mut fed).now_or_never(), None);
        assert!(cancel.is_cancelled() && inputs.try_recv().is_ok() && inputs.try_recv().is_err(), "no end of input is told");
        drop(inputs);
        fed.await;
    }
}
