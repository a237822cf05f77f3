//! `port.connect`: raw bytes to a port or a Unix socket of the sandbox, and back.

mod target;

use bytes::{Bytes, BytesMut};
use cabana_protocol::{
    Code, Data, Error,
    names::invalid_field,
    port::{CloseReason, Connect, ConnectEvent, ConnectInput, ConnectionEnd, MAX_WINDOW_BYTES},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, mpsc, watch},
};

use crate::{
    Agent,
    dispatch::{Channel, ReceivedInput, Run},
};
use target::{Reader, Target, Writer};

/// Most bytes of one event. In JSON a byte may take six, and several events wait on the way to a client that reads slowly.
const EVENT_BYTES: usize = 32 << 10;

impl Run<Connect> for Agent {
    async fn run(self, request: Connect, channel: Channel<Connect>) -> Result<ConnectionEnd, Error> {
        if request.window_bytes.is_some_and(|window| !(1..=MAX_WINDOW_BYTES).contains(&window)) {
            return Err(invalid_field("window_bytes", &format!("a whole number from 1 to {MAX_WINDOW_BYTES}")));
        }
        // A client that can say nothing acknowledges nothing.
        let window = request.window_bytes.filter(|_| channel.takes_inputs).map(u64::from);
        let target = Target::parse(request)?;
        let Channel { events, inputs, cancel, .. } = channel;
        let work = async {
            let (reader, writer) = target.connect(&self).await?;
            let gone = |_| Error::internal("the client has disconnected");
            events.send(ConnectEvent::Connected {}).await.map_err(gone)?;
            relay(reader, writer, inputs, &events, window).await
        };
        let interrupted = || Err(Error::new(Code::Interrupted, "the connection was cancelled"));
        cancel.run_until_cancelled(work).await.unwrap_or_else(interrupted)
    }
}

/// The bytes of an input, and the room that they take until they are written.
type Piece = (Bytes, OwnedSemaphorePermit);

/// Carries bytes both ways until both directions have ended, each by itself: neither waits for the other.
async fn relay(
    reader: Reader,
    writer: Writer,
    inputs: mpsc::UnboundedReceiver<ReceivedInput<ConnectInput>>,
    events: &mpsc::Sender<ConnectEvent>,
    window: Option<u64>,
) -> Result<ConnectionEnd, Error> {
    let (acknowledge, acknowledged) = watch::channel(0);
    // Bounded by the room that each piece takes.
    let (pieces, queue) = mpsc::unbounded_channel();
    let (mut sent_bytes, mut received_bytes) = (0, 0);
    let directions = async {
        let sending = send(writer, queue, events, window.is_some(), &mut sent_bytes);
        let receiving = receive(reader, events, acknowledged, window, &mut received_bytes);
        tokio::try_join!(sending, receiving)
    };
    let ends = tokio::select! {
        ends = directions => ends,
        never = distribute(inputs, pieces, acknowledge) => match never {},
    };
    let reason = match ends {
        Ok((true, ())) => CloseReason::Closed,
        Ok((false, ())) | Err(Stop::Reset) => CloseReason::Reset,
        Err(Stop::Disconnected) => return Err(Error::internal("the client has disconnected")),
    };
    Ok(ConnectionEnd { reason, sent_bytes, received_bytes })
}

/// Why both directions end at once.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// The other side has broken the connection off.
    Reset,
    /// Nobody takes the events any more.
    Disconnected,
}

/// Hands what the client says to the direction that it is for.
async fn distribute(
    mut inputs: mpsc::UnboundedReceiver<ReceivedInput<ConnectInput>>,
    pieces: mpsc::UnboundedSender<Piece>,
    acknowledge: watch::Sender<u64>,
) -> std::convert::Infallible {
    let mut pieces = Some(pieces);
    while let Some(ReceivedInput { input, room }) = inputs.recv().await {
        match input {
            // Fails when the other side has broken off. The result says so.
            ConnectInput::Data { bytes } => drop(pieces.as_ref().map(|pieces| pieces.send((bytes.0, room)))),
            ConnectInput::Eof => pieces = None,
            ConnectInput::Ack { offset } => acknowledge.send_modify(|acknowledged| *acknowledged = offset.max(*acknowledged)),
        }
    }
    drop(pieces);
    std::future::pending().await
}

/// Writes what the client sends, and counts it; false if the other side takes no more. What it sends is still read then.
async fn send(
    mut writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::UnboundedReceiver<Piece>,
    events: &mpsc::Sender<ConnectEvent>,
    acknowledges: bool,
    written: &mut u64,
) -> Result<bool, Stop> {
    while let Some((bytes, room)) = queue.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return Ok(false);
        }
        drop(room);
        *written += bytes.len() as u64;
        if acknowledges {
            say(events, ConnectEvent::Ack { offset: *written }).await?;
        }
    }
    Ok(writer.shutdown().await.is_ok())
}

/// Reads what comes, within the window, and counts it.
async fn receive(
    mut reader: impl AsyncRead + Unpin,
    events: &mpsc::Sender<ConnectEvent>,
    mut acknowledged: watch::Receiver<u64>,
    window: Option<u64>,
    received: &mut u64,
) -> Result<(), Stop> {
    let mut buffer = BytesMut::new();
    loop {
        let mut room = EVENT_BYTES as u64;
        if let Some(window) = window {
            let is_open = |acknowledged: &u64| received.saturating_sub(*acknowledged) < window;
            let acknowledged = acknowledged.wait_for(is_open).await.map_err(|_| Stop::Disconnected)?;
            room = room.min(window - received.saturating_sub(*acknowledged));
        }
        buffer.reserve(EVENT_BYTES);
        match (&mut reader).take(room).read_buf(&mut buffer).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return Err(Stop::Reset),
        }
        for bytes in Data::runs(buffer.split().freeze()) {
            let length = bytes.0.len() as u64;
            say(events, ConnectEvent::Data { offset: *received, bytes }).await?;
            *received += length;
        }
    }
    say(events, ConnectEvent::Eof {}).await
}

async fn say(events: &mpsc::Sender<ConnectEvent>, event: ConnectEvent) -> Result<(), Stop> {
    events.send(event).await.map_err(|_| Stop::Disconnected)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;
    use tokio::{io::duplex, sync::Semaphore};

    use super::*;

    #[tokio::test]
    async fn no_more_is_read_than_the_window_and_what_was_acknowledged() {
        let (mut other, end) = duplex(1 << 10);
        let (events, mut heard) = mpsc::channel(64);
        let (acknowledge, acknowledged) = watch::channel(0);
        other.write_all(&[7; 100]).await.unwrap();
        let mut received = 0;
        let mut receiving = Box::pin(receive(end, &events, acknowledged, Some(10), &mut received));
        assert!((&mut receiving).now_or_never().is_none(), "it waits");
        let lengths = |heard: &mut mpsc::Receiver<ConnectEvent>| -> u64 {
            let taken = std::iter::from_fn(|| heard.try_recv().ok());
            taken.map(|event| if let ConnectEvent::Data { bytes, .. } = event { bytes.0.len() as u64 } else { 0 }).sum()
        };
        assert_eq!(lengths(&mut heard), 10);
        acknowledge.send_replace(4);
        assert!((&mut receiving).now_or_never().is_none());
        assert_eq!(lengths(&mut heard), 4);
        acknowledge.send_replace(1_000);
        drop(other);
        assert_eq!(receiving.await, Ok(()));
        assert_eq!((lengths(&mut heard), received), (86, 100));
    }

    #[tokio::test]
    async fn a_side_that_reads_nothing_delays_no_other_direction_and_no_acknowledgement_comes() {
        let (mut other, end) = duplex(8);
        let (reader, writer) = tokio::io::split(end);
        let (events, mut heard) = mpsc::channel(64);
        let (told, inputs) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(1 << 10));
        let tell = |input| {
            let room = Arc::clone(&room).try_acquire_many_owned(64).unwrap();
            told.send(ReceivedInput { input, room }).unwrap();
        };
        tell(ConnectInput::Data { bytes: Data::from(vec![1; 64]) });
        let mut relaying = Box::pin(relay_any(reader, writer, inputs, &events, Some(4)));
        other.write_all(b"abcd").await.unwrap();
        assert!((&mut relaying).now_or_never().is_none());
        assert!(matches!(heard.try_recv(), Ok(ConnectEvent::Data { bytes, .. }) if bytes.0 == "abcd"));
        assert!(
            heard.try_recv().is_err() && room.available_permits() == (1 << 10) - 64,
            "nothing is acknowledged, and the room is taken"
        );
        tell(ConnectInput::Eof);
        let mut all = vec![0; 64];
        let (ended, read) = tokio::join!(
            async {
                tell(ConnectInput::Ack { offset: 4 });
                relaying.await
            },
            async {
                other.read_exact(&mut all).await.unwrap();
                other.shutdown().await.unwrap();
                other.read_to_end(&mut all).await
            }
        );
        assert_eq!(read.unwrap(), 0, "the end of what is sent arrives");
        assert_eq!(ended.unwrap(), ConnectionEnd { reason: CloseReason::Closed, sent_bytes: 64, received_bytes: 4 });
    }

    async fn relay_any(
        reader: tokio::io::ReadHalf<tokio::io::DuplexStream>,
        writer: tokio::io::WriteHalf<tokio::io::DuplexStream>,
        inputs: mpsc::UnboundedReceiver<ReceivedInput<ConnectInput>>,
        events: &mpsc::Sender<ConnectEvent>,
        window: Option<u64>,
    ) -> Result<ConnectionEnd, Error> {
        relay(Box::new(reader), Box::new(writer), inputs, events, window).await
    }
}
