//! The link to a Durable Object: the sockets of all its clients on one, see [`cabana_protocol::link`].
//!
//! The object says when a client has hung up. A link that ends was lost, and the clients may return.

use std::collections::{HashMap, hash_map::Entry};

use axum::extract::ws;
use cabana_protocol::{
    frame::binary::Raw,
    link::{self, Body, Message},
};
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Messages,
    connection::Connection,
    finish,
    frames::{Frames, Window, text},
};
use crate::{Agent, memory::Held};

/// What a client holds while nothing runs for it.
const CLIENT_BYTES: usize = 8 << 10;

/// A client behind the link.
struct Client {
    connection: Connection,
    window: Window,
    hung_up: CancellationToken,
    _held: Held,
}

/// The clients that have said something, by their numbers.
struct Clients {
    agent: Agent,
    frames: Frames,
    clients: HashMap<u64, Client>,
}

pub(super) async fn converse(agent: Agent, frames: Frames, mut messages: Messages, mut writer: JoinHandle<()>) {
    let closing = agent.closing.clone();
    let mut clients = Clients { agent, frames, clients: HashMap::new() };
    let written = loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(Ok(ws::Message::Text(text))) => match Message::parse(&text) {
                    Some(message) => clients.receive(message).await,
                    None => break false,
                },
                Some(Ok(ws::Message::Binary(message))) => match link::split(&message) {
                    Some((client, frame)) => clients.pass(client, Raw::Binary(frame), true).await,
                    None => break false,
                },
                Some(Ok(ws::Message::Ping(_) | ws::Message::Pong(_))) => {}
                Some(Ok(ws::Message::Close(_)) | Err(_)) | None => break false,
            },
            _ = &mut writer => break true,
            () = closing.cancelled() => break false,
        }
    };
    drop(clients);
    if !written {
        finish(writer).await;
    }
}

impl Clients {
    async fn receive(&mut self, Message { client, body }: Message<'_>) {
        match body {
            Body::Frame { text, binary } => self.pass(client, Raw::Text(text), binary).await,
            Body::Taken(frames) => {
                if let Some(known) = self.clients.get(&client) {
                    known.window.taken(frames);
                }
            }
            Body::Gone => self.hang_up(client),
            // Only agents send it.
            Body::About(_) => {}
        }
    }

    async fn pass(&mut self, client: u64, frame: Raw<'_>, binary: bool) {
        let known = match self.clients.entry(client) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let window = Window::new();
                let frames = self.frames.to_client(client, window.clone());
                let held = match self.agent.memory.hold(CLIENT_BYTES) {
                    Ok(held) => held,
                    Err(error) => {
                        frames.error(None, error).await;
                        return self.give_up(client).await;
                    }
                };
                let hung_up = CancellationToken::new();
                let connection = Connection::new(self.agent.clone(), frames, binary, Some(hung_up.clone()));
                place.insert(Client { connection, window, hung_up, _held: held })
            }
        };
        while known.connection.tasks.try_join_next().is_some() {}
        known.connection.receive(frame);
        if known.connection.is_overloaded() {
            self.give_up(client).await;
        }
    }

    /// A client has hung up: what runs for it ends.
    fn hang_up(&mut self, client: u64) {
        if let Some(client) = self.clients.remove(&client) {
            client.hung_up.cancel();
        }
    }

    /// Ends what runs for a client that goes on and on and takes no answers, or for which there is no memory, and tells the object. There
    /// is no way to listen to the others and not to it.
    async fn give_up(&mut self, client: u64) {
        self.hang_up(client);
        let gone = Message { client, body: Body::Gone };
        self.frames.put(text(gone.to_string())).await;
    }
}
