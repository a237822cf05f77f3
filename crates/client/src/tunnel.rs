//! A connection into a sandbox, over its WebSocket.

use std::sync::Arc;

use bytes::Bytes;
use cabana_protocol::{
    Data,
    port::{Connect, ConnectEvent, ConnectInput, ConnectionEnd},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
};

use crate::{Error, Inputs, Result, Running, Sandbox};

/// Bytes that each side sends beyond what the other has taken.
const WINDOW: u32 = 1 << 20;

/// The most bytes that are sent at once.
const PIECE: usize = 64 << 10;

/// A connection to a port or a Unix socket of a sandbox. Dropping both of its halves closes it.
///
/// Its flow is controlled: a half that is not read holds up its other side, and nothing else on the same WebSocket.
#[derive(Debug)]
pub struct Tunnel {
    sender: TunnelSender,
    receiver: TunnelReceiver,
}

/// The half that sends.
#[derive(Debug)]
pub struct TunnelSender {
    inputs: Inputs<Connect>,
    /// Bytes that the other side has taken.
    taken: watch::Receiver<u64>,
    sent: u64,
    _task: Arc<Task>,
}

/// The half that receives.
#[derive(Debug)]
pub struct TunnelReceiver {
    inputs: Inputs<Connect>,
    /// What comes; nothing stands for the end of it.
    pieces: mpsc::UnboundedReceiver<Option<Bytes>>,
    has_ended: bool,
    /// Bytes that have been taken, and how many of them were acknowledged.
    taken: u64,
    acknowledged: u64,
    end: Option<oneshot::Receiver<Result<ConnectionEnd>>>,
    _task: Arc<Task>,
}

/// The task that reads the connection's events.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        // Drops the operation, which cancels it.
        self.0.abort();
    }
}

impl Tunnel {
    /// Opens a connection. Answers once the other side has accepted it.
    pub(crate) async fn open(sandbox: &Sandbox, request: Connect) -> Result<Self> {
        let mut running = sandbox.stream(Connect { window_bytes: Some(WINDOW), ..request }).await?;
        match running.next().await? {
            Some(ConnectEvent::Connected {}) => {}
            _ => return Err(Error::lost("the connection ended before it began")),
        }
        let inputs = running.inputs();
        let (took, taken) = watch::channel(0);
        // Bounded by the window.
        let (piece, pieces) = mpsc::unbounded_channel();
        let (ends, end) = oneshot::channel();
        let task = tokio::spawn(async move { drop(ends.send(distribute(running, piece, took).await)) });
        let task = Arc::new(Task(task.abort_handle()));
        let sender = TunnelSender { inputs: inputs.clone(), taken, sent: 0, _task: task.clone() };
        let receiver =
            TunnelReceiver { inputs, pieces, has_ended: false, taken: 0, acknowledged: 0, end: Some(end), _task: task };
        Ok(Self { sender, receiver })
    }

    /// Its halves, which are independent of each other.
    pub fn split(self) -> (TunnelSender, TunnelReceiver) {
        (self.sender, self.receiver)
    }

    /// Carries bytes between this connection and a stream of this machine, until both directions have ended.
    pub async fn relay(self, stream: impl AsyncRead + AsyncWrite) -> Result<ConnectionEnd> {
        let (mut sender, mut receiver) = self.split();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let outward = async {
            let mut buffer = vec![0; PIECE];
            loop {
                // A stream that breaks off sends nothing more; what it was sent may still be read.
                match reader.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => sender.send(Bytes::copy_from_slice(&buffer[..read])).await?,
                }
            }
            sender.finish().await
        };
        let inward = async {
            while let Some(piece) = receiver.next().await? {
                // A stream that nobody reads any more takes the whole connection with it.
                writer.write_all(&piece).await?;
            }
            // It may be gone already.
            let _ = writer.shutdown().await;
            receiver.end().await
        };
        tokio::pin!(inward);
        tokio::select! {
            end = &mut inward => end,
            sent = outward => {
                // The connection may have ended while something was sent. Its end says how.
                let end = inward.await?;
                sent.map(|()| end)
            }
        }
    }
}

impl TunnelSender {
    /// Sends bytes. Waits while the other side does not take what was sent before.
    ///
    /// Fails once the connection has ended; [`TunnelReceiver::end`] says how.
    pub async fn send(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let sent = self.sent;
            let taken = self.taken.wait_for(|taken| sent.saturating_sub(*taken) < u64::from(WINDOW)).await;
            let taken = *taken.map_err(|_| Error::lost("the connection has ended"))?;
            let room = u64::from(WINDOW) - sent.saturating_sub(taken);
            let piece = bytes.split_to(bytes.len().min(PIECE).min(usize::try_from(room).unwrap_or(PIECE)));
            self.sent += piece.len() as u64;
            self.inputs.send(ConnectInput::Data { bytes: Data(piece) }).await?;
        }
        Ok(())
    }

    /// Says that nothing more is sent. The other direction goes on.
    pub async fn finish(&mut self) -> Result<()> {
        self.inputs.send(ConnectInput::Eof).await
    }
}

impl TunnelReceiver {
    /// The next bytes; `None` once the other side sends nothing more. A connection that breaks off is an error, not an end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        // What the caller has asked beyond is what it has taken.
        if self.taken - self.acknowledged >= u64::from(WINDOW) / 4 {
            self.acknowledged = self.taken;
            // Fails where the connection has ended. What has come is still read.
            let _ = self.inputs.send(ConnectInput::Ack { offset: self.taken }).await;
        }
        if self.has_ended {
            return Ok(None);
        }
        let Some(piece) = self.pieces.recv().await else {
            // Without the end that was announced it is cut off.
            let end = self.take_end().await?;
            return Err(Error::lost(format!("the other side broke the connection off after {} bytes", end.received_bytes)));
        };
        self.has_ended = piece.is_none();
        self.taken += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(piece)
    }

    /// How the connection has ended, once both sides have. What has not been read is dropped.
    pub async fn end(mut self) -> Result<ConnectionEnd> {
        self.take_end().await
    }

    async fn take_end(&mut self) -> Result<ConnectionEnd> {
        let lost = || Error::lost("the connection has ended");
        self.end.take().ok_or_else(lost)?.await.unwrap_or_else(|_| Err(lost()))
    }
}

/// Reads what the connection says, so that no half that is slow delays the other.
async fn distribute(
    mut running: Running<Connect>,
    pieces: mpsc::UnboundedSender<Option<Bytes>>,
    took: watch::Sender<u64>,
) -> Result<ConnectionEnd> {
    while let Some(event) = running.next().await? {
        match event {
            // Fails where nobody reads any more.
            ConnectEvent::Data { bytes, .. } => drop(pieces.send(Some(bytes.0))),
            ConnectEvent::Eof {} => drop(pieces.send(None)),
            ConnectEvent::Ack { offset } => drop(took.send_replace(offset)),
            ConnectEvent::Connected {} => {}
        }
    }
    running.result().await
}
