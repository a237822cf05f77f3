//! Remote forwards, `-R` of OpenSSH: ports and sockets of the sandbox that lead to the client.
//!
//! For each, `cabana-agent listen` runs in the sandbox. It names a socket for each connection, to which a tunnel leads.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use cabana_client::{
    Running, Sandbox,
    protocol::{
        exec::{Command, Exec, ExecEvent, MAX_TIMEOUT_MS, Stdin},
        port::Connect,
    },
};
use russh::{
    Channel,
    server::{Handle, Msg},
};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::timeout,
};

use super::AGENT;

/// How long it may take until something listens.
const PATIENCE: Duration = Duration::from_secs(30);

/// Forwards of one connection.
const FORWARDS: usize = 50;

/// The longest line that is waited for, several times the longest path of a socket.
const LINE_BYTES: usize = 4 << 10;

/// The variable that carries the place into the sandbox.
const PLACE: &str = "CABANA_LISTEN";

/// Where a client would have the sandbox listen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A port, of the sandbox's loopback addresses whatever the client says, as for an sshd without GatewayPorts.
    Port {
        /// What the client says, by which it knows the forward.
        address: String,
        port: u16,
    },
    /// A Unix socket.
    Path(String),
}

/// All of a connection. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Forwards {
    sandbox: Sandbox,
    open: BTreeMap<Place, AbortHandle>,
    tasks: JoinSet<()>,
}

impl Forwards {
    pub(super) fn new(sandbox: Sandbox) -> Self {
        Self { sandbox, open: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// Listens there, and answers at which port.
    pub(super) async fn open(&mut self, mut place: Place, user: Option<String>, client: Handle) -> Result<u16> {
        while self.tasks.try_join_next().is_some() {}
        self.open.retain(|_, task| !task.is_finished());
        if self.open.len() >= FORWARDS {
            bail!("a connection has at most {FORWARDS} remote forwards");
        }
        let listener = timeout(PATIENCE, Listener::start(&self.sandbox, &place, user)).await;
        let (listener, bound) = listener.context("the sandbox is not ready to listen")??;
        if let Place::Port { port, .. } = &mut place {
            *port = bound;
        }
        let task = self.tasks.spawn(listener.serve(self.sandbox.clone(), place.clone(), client));
        self.open.insert(place, task);
        Ok(bound)
    }

    /// Listens there no longer. False where nothing did.
    pub(super) fn close(&mut self, place: &Place) -> bool {
        self.open.remove(place).map(|task| task.abort()).is_some()
    }
}

/// The program that listens in the sandbox. Dropping it ends the program and its connections.
struct Listener {
    running: Running<Exec>,
    /// What has come of the next line.
    begun: Vec<u8>,
    /// What it has said on stderr, to that length.
    complaint: Vec<u8>,
}

impl Listener {
    async fn start(sandbox: &Sandbox, place: &Place, user: Option<String>) -> Result<(Self, u16)> {
        let place = match place {
            Place::Port { port, .. } => port.to_string(),
            Place::Path(path) => path.clone(),
        };
        let running = sandbox.stream(Exec {
            env: BTreeMap::from([(PLACE.to_owned(), Some(place))]),
            user,
            stdin: Some(Stdin::Live { stream: true }),
            timeout_ms: Some(MAX_TIMEOUT_MS),
            ..Exec::new(Command::Shell(format!("exec {AGENT} listen \"${PLACE}\"")))
        });
        let mut listener = Self { running: running.await?, begun: Vec::new(), complaint: Vec::new() };
        let line = listener.next_line().await?;
        let port = line.as_deref().and_then(|line| line.strip_prefix("listening ")?.parse().ok());
        Ok((listener, port.context("nothing listens in the sandbox")?))
    }

    /// The next line; `None` once the program has ended.
    ///
    /// Fails with what the program says on stderr.
    async fn next_line(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.begun.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            match self.running.next().await? {
                Some(ExecEvent::Stdout { bytes, .. }) => self.begun.extend_from_slice(&bytes.0),
                Some(ExecEvent::Stderr { bytes, .. }) if self.complaint.len() < LINE_BYTES => {
                    self.complaint.extend_from_slice(&bytes.0);
                }
                Some(_) => {}
                None if self.complaint.is_empty() => return Ok(None),
                None => bail!("{}", String::from_utf8_lossy(&self.complaint).trim_end()),
            }
            if self.begun.len() > LINE_BYTES {
                bail!("what listens in the sandbox is not the agent's program");
            }
        }
    }

    /// Leads connections to the client until the program ends.
    async fn serve(mut self, sandbox: Sandbox, place: Place, client: Handle) {
        let mut connections = JoinSet::new();
        while let Ok(Some(path)) = self.next_line().await {
            while connections.try_join_next().is_some() {}
            let (sandbox, place, client) = (sandbox.clone(), place.clone(), client.clone());
            connections.spawn(async move {
                // One that comes to nothing is closed in the sandbox.
                let Ok(tunnel) = sandbox.tunnel(Connect::path(path.as_str())).await else { return };
                if let Ok(channel) = open_channel(&client, place).await {
                    let _ = tunnel.relay(channel.into_stream()).await;
                }
            });
        }
    }
}

async fn open_channel(client: &Handle, place: Place) -> Result<Channel<Msg>, russh::Error> {
    match place {
        // Who connects in the sandbox is not known here, and no client asks.
        Place::Port { address, port } => client.channel_open_forwarded_tcpip(address, port.into(), "127.0.0.1", 0).await,
        Place::Path(path) => client.channel_open_forwarded_streamlocal(path).await,
    }
}
