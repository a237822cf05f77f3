//! The link to a Durable Object: the sockets of all its clients on one, see [`cabana_protocol::link`].

use std::collections::HashMap;

use axum::extract::ws;
use cabana_protocol::{
    frame::binary::Raw,
    link::{self, Body, Message},
};
use futures_util::StreamExt;
use tokio::task::JoinHandle;

use super::{
    Messages,
    connection::Connection,
    finish,
    frames::{Frames, text},
    window::Window,
};
use crate::Agent;

/// A client behind the link.
struct Client {
    connection: Connection,
    window: Window,
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
            Body::Gone => drop(self.clients.remove(&client)),
            // Said by agents alone.
            Body::About(_) => {}
        }
    }

    async fn pass(&mut self, client: u64, frame: Raw<'_>, binary: bool) {
        let known = self.clients.entry(client).or_insert_with(|| {
            let window = Window::new();
            let connection = Connection::new(self.agent.clone(), self.frames.to_client(client, window.clone()), binary);
            Client { connection, window }
        });
        while known.connection.tasks.try_join_next().is_some() {}
        known.connection.receive(frame);
        if known.connection.is_overloaded() {
            self.give_up(client).await;
        }
    }

    /// Ends what runs for a client that goes on and on and takes no answers, and tells the object. There is no way to listen to the
    /// others and not to it.
    async fn give_up(&mut self, client: u64) {
        self.clients.remove(&client);
        let gone = Message { client, body: Body::Gone };
        self.frames.put(text(gone.to_string())).await;
    }
}
