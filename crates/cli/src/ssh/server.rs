//! The server of one SSH connection.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use cabana_client::{Sandbox, protocol::port::Connect};
use russh::{
    Channel, ChannelId, ChannelOpenFailure, Pty, Sig,
    keys::PrivateKey,
    server::{Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, Session, run_stream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::timeout,
};

use super::{
    USER,
    forwards::{Forwards, Place},
    session::{self, SessionChannel},
    sockets::Sockets,
};
use crate::failure;

/// How long a client may take to say that it speaks SSH.
const GREETING: Duration = Duration::from_secs(30);

/// How often a silent client is asked for a sign of life.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Messages of one channel that wait for it. A client of SFTP has 256 requests on the way, each of several messages.
const CHANNEL_MESSAGES: usize = 1_024;

/// Channels of one connection that are open at once.
const CHANNELS: usize = 200;

/// Serves a client until it hangs up. It needs no proof of who it is: this program was started by its user.
pub(crate) async fn serve(
    sandbox: Sandbox,
    host_key: PrivateKey,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<()> {
    let config = Config {
        auth_rejection_time: Duration::ZERO,
        keys: vec![host_key],
        channel_buffer_size: CHANNEL_MESSAGES,
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        ..Config::default()
    };
    let forwards = Forwards::new(sandbox.clone());
    let facade = Facade { sockets: Sockets::new(sandbox), user: None, channels: JoinSet::new(), forwards };
    let session = timeout(GREETING, run_stream(Arc::new(config), stream, facade)).await;
    let session = session.map_err(|_| anyhow!("no SSH client has spoken"))?.context("greet the SSH client")?;
    match session.await {
        // Clients just go.
        Ok(()) | Err(russh::Error::Disconnect | russh::Error::HUP) => Ok(()),
        Err(russh::Error::IO(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(error).context("the SSH connection ended"),
    }
}

/// What the client's requests become. Dropping it ends everything that runs for the client.
struct Facade {
    sockets: Sockets,
    /// Who runs commands; nobody in particular by default.
    user: Option<String>,
    channels: JoinSet<()>,
    forwards: Forwards,
}

impl Facade {
    /// Whether one more channel may be open.
    fn has_room(&mut self) -> bool {
        while self.channels.try_join_next().is_some() {}
        self.channels.len() < CHANNELS
    }

    /// Connects to the place, and accepts the channel once that is done.
    fn connect(&mut self, channel: Channel<Msg>, reply: ChannelOpenHandle, request: Connect) {
        if !self.has_room() {
            return self.refuse(reply);
        }
        let sandbox = self.sockets.shared().clone();
        self.channels.spawn(async move {
            match sandbox.tunnel(request).await {
                Ok(tunnel) => {
                    reply.accept().await;
                    // A connection that breaks off closes its channel. SSH has no other word for that.
                    let _ = tunnel.relay(channel.into_stream()).await;
                }
                Err(error) => {
                    let reason = ChannelOpenFailure::Other { code: CONNECT_FAILED, reason: error.to_string() };
                    reply.reject(reason).await;
                }
            }
        });
    }

    /// Has the sandbox listen there, and answers at which port. Why it cannot is told on stderr: SSH has no room for it.
    async fn forward(&mut self, place: Place, client: Handle) -> Option<u16> {
        match self.forwards.open(place, self.user.clone(), client).await {
            Ok(port) => Some(port),
            Err(error) => {
                eprintln!("cabana: remote forwarding: {}", failure::sentence(&error));
                None
            }
        }
    }

    fn refuse(&mut self, reply: ChannelOpenHandle) {
        self.channels.spawn(reply.reject(ChannelOpenFailure::ResourceShortage));
    }
}

/// SSH_OPEN_CONNECT_FAILED of RFC 4254.
const CONNECT_FAILED: u32 = 2;

fn answer(session: &mut Session, channel: ChannelId, accepts: bool) -> Result<(), russh::Error> {
    if accepts { session.channel_success(channel) } else { session.channel_failure(channel) }
}

// Requests are answered here, in their order. What they ask for reaches the channel's own task as messages.
impl Handler for Facade {
    type Error = russh::Error;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, russh::Error> {
        self.user = (user != USER).then(|| user.to_owned());
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if !self.has_room() {
            self.refuse(reply);
            return Ok(());
        }
        let (socket, user, handle) = (self.sockets.take(), self.user.clone(), session.handle());
        self.channels.spawn(async move {
            reply.accept().await;
            SessionChannel::new(channel, handle, socket, user).run().await;
        });
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        match u16::try_from(port) {
            Ok(port) => self.connect(channel, reply, Connect { host: Some(host.to_owned()), ..Connect::port(port) }),
            Err(_) => self.refuse(reply),
        }
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.connect(channel, reply, Connect::path(path));
        Ok(())
    }

    // Answers with the port, so the connection waits here until the sandbox listens.
    async fn tcpip_forward(&mut self, address: &str, port: &mut u32, session: &mut Session) -> Result<bool, russh::Error> {
        let Ok(asked) = u16::try_from(*port) else { return Ok(false) };
        let bound = self.forward(Place::Port { address: address.to_owned(), port: asked }, session.handle()).await;
        *port = bound.map_or(*port, u32::from);
        Ok(bound.is_some())
    }

    async fn cancel_tcpip_forward(&mut self, address: &str, port: u32, _: &mut Session) -> Result<bool, russh::Error> {
        let port = u16::try_from(port).ok();
        Ok(port.is_some_and(|port| self.forwards.close(&Place::Port { address: address.to_owned(), port })))
    }

    async fn streamlocal_forward(&mut self, path: &str, session: &mut Session) -> Result<bool, russh::Error> {
        Ok(self.forward(Place::Path(path.to_owned()), session.handle()).await.is_some())
    }

    async fn cancel_streamlocal_forward(&mut self, path: &str, _: &mut Session) -> Result<bool, russh::Error> {
        Ok(self.forwards.close(&Place::Path(path.to_owned())))
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        answer(session, channel, true)
    }

    async fn env_request(&mut self, channel: ChannelId, name: &str, _: &str, session: &mut Session) -> Result<(), russh::Error> {
        answer(session, channel, session::is_variable_allowed(name))
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        answer(session, channel, true)
    }

    async fn exec_request(&mut self, channel: ChannelId, _: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        answer(session, channel, true)
    }

    async fn subsystem_request(&mut self, channel: ChannelId, name: &str, session: &mut Session) -> Result<(), russh::Error> {
        answer(session, channel, name == session::SFTP)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        answer(session, channel, false)
    }

    async fn window_change_request(
        &mut self,
        _: ChannelId,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn signal(&mut self, _: ChannelId, _: Sig, _: &mut Session) -> Result<(), russh::Error> {
        Ok(())
    }
}
