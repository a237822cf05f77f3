//! The WebSocket to a sandbox, over which many operations run.

mod frame;
mod table;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cabana_protocol::{Code, SandboxId, frame as wire};
use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use http::Method;
use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc},
    task::AbortHandle,
    time::timeout,
};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::{
    Client, Error, Result,
    client::{CONNECT, Shared},
    request::Request,
};

pub(crate) use frame::{Incoming, Outgoing, Payload};
use table::Table;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// After this much silence the service is asked for a sign of life, and after as much again the connection is given up.
const SILENCE: Duration = Duration::from_secs(20);

/// Frames that wait to be sent.
const OUTGOING: usize = 16;

/// The way to a sandbox: the connection that there is, or a new one.
pub(crate) struct Link {
    client: Client,
    /// The route of the sandbox.
    sandbox: String,
    path: String,
    current: Mutex<Option<Arc<Connection>>>,
}

impl Link {
    pub(crate) fn new(client: Client, id: &SandboxId) -> Self {
        let sandbox = format!("/v1/sandboxes/{id}");
        Self { client, path: format!("{sandbox}/connect?binary=1"), sandbox, current: Mutex::new(None) }
    }

    /// The open connection, or a new one.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>> {
        if let Some(open) = self.open() {
            return Ok(open);
        }
        let made = match Connection::open(&self.client.shared, &self.path).await {
            Ok(made) => Arc::new(made),
            // A refused WebSocket often comes without its body. The same refusal over HTTP says why.
            Err(error @ Error::Service { .. }) => {
                let shown: Result<serde_json::Value> = self.client.json(Request::new(Method::GET, self.sandbox.clone())).await;
                return Err(shown.err().filter(|told| told.code() == error.code()).unwrap_or(error));
            }
            Err(error) => return Err(error),
        };
        // Of two that were made at once, the second one is dropped.
        if let Some(open) = self.open() {
            return Ok(open);
        }
        *self.current() = Some(made.clone());
        Ok(made)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    fn open(&self) -> Option<Arc<Connection>> {
        self.current().as_ref().filter(|connection| connection.is_open()).cloned()
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<Connection>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open WebSocket. Dropping it closes the socket, which ends what runs on it.
pub(crate) struct Connection {
    table: Arc<Table>,
    outgoing: mpsc::Sender<Message>,
    wake: Arc<Notify>,
    tasks: [AbortHandle; 2],
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Connection {
    async fn open(shared: &Shared, path: &str) -> Result<Self> {
        let socket = timeout(CONNECT * 2, connect(shared, path)).await;
        let socket = socket.map_err(|_| unreachable(shared, "no answer came".into()))??;
        let (sink, mut stream) = socket.split();
        let (outgoing, queue) = mpsc::channel(OUTGOING);
        let (table, wake) = (Arc::new(Table::default()), Arc::new(Notify::new()));
        let writer = tokio::spawn(write(sink, queue, table.clone(), wake.clone()));
        let (reading, pings) = (table.clone(), outgoing.clone());
        let reader = tokio::spawn(async move {
            let mut pinged = false;
            let end = loop {
                match timeout(SILENCE, stream.next()).await {
                    Ok(Some(Ok(message))) => match frame::read(message) {
                        frame::Read::Frame(id, incoming) => reading.deliver(id, incoming).await,
                        frame::Read::Nothing => {}
                        frame::Read::Closed(end) => break end,
                    },
                    Ok(Some(Err(error))) => break Error::lost(error.to_string()),
                    Ok(None) => break Error::lost("the service closed it"),
                    Err(_) if pinged => break Error::lost("the service has been silent for too long"),
                    Err(_) => {
                        // A queue that is full means that the connection does not take what is sent: that is no sign of life either.
                        let _ = pings.try_send(Message::text(wire::PING_FRAME));
                        pinged = true;
                        continue;
                    }
                }
                pinged = false;
            };
            reading.close(end);
        });
        Ok(Self { table, outgoing, wake, tasks: [writer.abort_handle(), reader.abort_handle()] })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.table.is_open()
    }

    /// Starts an operation. Its frames come through the receiver, which ends when the connection does.
    pub(crate) async fn start(&self, request: Outgoing) -> Result<(u64, mpsc::Receiver<Incoming>)> {
        let (id, incoming) = self.table.admit()?;
        match self.send(request.into_message(&id.to_string())?).await {
            Ok(()) => Ok((id, incoming)),
            Err(error) => {
                self.table.remove(id);
                Err(error)
            }
        }
    }

    /// Says something to an operation that runs.
    pub(crate) async fn say(&self, id: u64, input: Outgoing) -> Result<()> {
        self.send(input.into_message(&id.to_string())?).await
    }

    /// Cancels an operation whose frames nobody reads any more. Needs no task and never waits.
    pub(crate) fn cancel(&self, id: u64) {
        self.table.cancel(id);
        self.wake.notify_one();
    }

    async fn send(&self, message: Message) -> Result<()> {
        self.outgoing.send(message).await.map_err(|_| self.end())
    }

    /// Why the connection has ended.
    pub(crate) fn end(&self) -> Error {
        self.table.end()
    }
}

async fn connect(shared: &Shared, path: &str) -> Result<Socket> {
    let url = format!("{}{path}", shared.url.replacen("http", "ws", 1));
    let mut request = url.into_client_request().map_err(|error| Error::Invalid(error.to_string()))?;
    let mut set = |name: &'static str, value: &str| {
        let value =
            HeaderValue::from_str(value).map_err(|_| Error::Invalid(format!("{name} has characters that no header has")))?;
        request.headers_mut().insert(name, value);
        Ok::<_, Error>(())
    };
    set("authorization", &format!("Bearer {}", shared.key))?;
    shared.settings.tenant.as_ref().map_or(Ok(()), |tenant| set("x-cabana-tenant", tenant))?;
    set("user-agent", &shared.user_agent)?;
    match connect_async_tls_with_config(request, None, true, Some(Connector::Rustls(shared.tls.clone()))).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => Err(refusal(&response)),
        Err(error) => Err(unreachable(shared, error.into())),
    }
}

fn unreachable(shared: &Shared, cause: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Unreachable { url: shared.url.clone(), cause }
}

/// The error of a WebSocket that was refused.
fn refusal(response: &tungstenite::http::Response<Option<Vec<u8>>>) -> Error {
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = response.body().as_deref().unwrap_or_default();
    match serde_json::from_slice::<cabana_protocol::error::ErrorBody>(body) {
        Ok(body) => Error::Service { error: body.error, status, request_id: Some(body.request_id) },
        Err(_) => {
            let message = format!("the service refused the WebSocket with the status {status}");
            let error = cabana_protocol::Error::new(Code::of_status(status), message);
            Error::Service { error, status, request_id: header("x-request-id") }
        }
    }
}

/// Sends what is queued, cancellations first, until the connection ends.
async fn write(mut sink: SplitSink<Socket, Message>, mut queue: mpsc::Receiver<Message>, table: Arc<Table>, wake: Arc<Notify>) {
    loop {
        while let Some(id) = table.next_cancellation() {
            let frame = serde_json::json!({ "type": wire::CANCEL, "id": id.to_string() });
            if sink.send(Message::text(frame.to_string())).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = wake.notified() => {}
            message = queue.recv() => match message {
                Some(message) => if sink.send(message).await.is_err() { return },
                None => return,
            },
        }
    }
}
