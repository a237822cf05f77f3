//! A session: one command or one shell, with its input, output and exit.

use std::{collections::BTreeMap, pin::Pin};

use anyhow::{Result, bail};
use bytes::{Bytes, BytesMut};
use cabana_client::{
    Feed, Inputs, Running,
    protocol::{
        Code, Data, Signal,
        exec::{Cells, Command, Exec, ExecEvent, ExecInput, Exit, MAX_TIMEOUT_MS, Stdin, Tty},
    },
};
use russh::{
    Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig,
    server::{Handle, Msg},
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot},
};

use super::{AGENT, modes, sockets::Socket};
use crate::failure;

/// The subsystem that carries files.
pub(super) const SFTP: &str = "sftp";

/// A login shell of the user.
const LOGIN_SHELL: &str = "shell=${SHELL:-/bin/sh}; [ -x \"$shell\" ] || shell=/bin/sh; exec \"$shell\" -l";

/// Variables that a client may set: none that change which code runs.
const VARIABLES: [&str; 4] = ["LANG", "LANGUAGE", "COLORTERM", "TERM_PROGRAM"];

/// Pieces of stdin that wait to be sent.
const PIECES: usize = 64;

/// Bytes of stdin that are sent at once.
const STDIN_BYTES: usize = 1 << 20;

/// The extended data that is stderr, of RFC 4254.
const STDERR: u32 = 1;

/// The exit status where the command could not be run, or its end is not known: what ssh says of itself.
const FAILED: u32 = 255;

/// Whether a client may set this variable.
pub(super) fn is_variable_allowed(name: &str) -> bool {
    VARIABLES.contains(&name) || name.starts_with("LC_")
}

/// A session channel.
pub(super) struct SessionChannel {
    id: ChannelId,
    handle: Handle,
    socket: Socket,
    read: ChannelReadHalf,
    stdout: Pin<Box<dyn AsyncWrite + Send>>,
    stderr: Pin<Box<dyn AsyncWrite + Send>>,
    user: Option<String>,
    _write: ChannelWriteHalf<Msg>,
}

impl SessionChannel {
    pub(super) fn new(channel: Channel<Msg>, handle: Handle, socket: Socket, user: Option<String>) -> Self {
        let (id, (read, write)) = (channel.id(), channel.split());
        let (stdout, stderr) = (Box::pin(write.make_writer()), Box::pin(write.make_writer_ext(Some(STDERR))));
        Self { id, handle, socket, read, stdout, stderr, user, _write: write }
    }

    /// Runs what the client asks for, to its end or until the client closes the channel.
    pub(super) async fn run(mut self) {
        let Some(request) = self.request().await else { return };
        let Some((status, signal)) = self.attend(request).await else { return };
        // All output is on its way. Fails when the client has gone.
        let _ = match signal {
            Some(signal) => {
                let message = format!("ended by SIG{}", name(&signal));
                self.handle.exit_signal_request(self.id, signal, false, message, String::new()).await
            }
            None => self.handle.exit_status_request(self.id, status).await,
        };
        let _ = self.handle.eof(self.id).await;
        let _ = self.handle.close(self.id).await;
    }

    /// Gathers the settings up to the request that begins the command. `None` where the client closes the channel before.
    async fn request(&mut self) -> Option<Exec> {
        let (mut env, mut tty, mut setting) = (BTreeMap::new(), None, String::new());
        let command = loop {
            match self.read.wait().await? {
                ChannelMsg::RequestPty { term, col_width, row_height, terminal_modes, .. } => {
                    tty = Some(size(col_width, row_height));
                    setting = modes::setting(&terminal_modes);
                    // What it says becomes a file name below the terminals' descriptions.
                    if !term.is_empty() && term.chars().all(|char| char.is_ascii_alphanumeric() || "+-._".contains(char)) {
                        env.insert("TERM".to_owned(), Some(term));
                    }
                }
                ChannelMsg::SetEnv { variable_name, variable_value, .. } if is_variable_allowed(&variable_name) => {
                    env.insert(variable_name, Some(variable_value));
                }
                ChannelMsg::WindowChange { col_width, row_height, .. } if tty.is_some() => {
                    tty = Some(size(col_width, row_height))
                }
                ChannelMsg::AgentForward { .. } => {
                    self.note("agent forwarding is refused: keys stay on your machine; give the sandbox a key of its own").await;
                }
                ChannelMsg::Exec { command, .. } => match String::from_utf8(command) {
                    Ok(command) => break format!("{setting}{command}"),
                    Err(_) => {
                        self.note("the command is not UTF-8").await;
                        let _ = self.handle.exit_status_request(self.id, FAILED).await;
                        let _ = self.handle.close(self.id).await;
                        return None;
                    }
                },
                ChannelMsg::RequestShell { .. } => break format!("{setting}{LOGIN_SHELL}"),
                ChannelMsg::RequestSubsystem { name, .. } if name == SFTP => break format!("exec {AGENT} sftp-server"),
                ChannelMsg::Close => return None,
                _ => {}
            }
        };
        Some(Exec {
            env,
            user: self.user.clone(),
            stdin: tty.is_none().then_some(Stdin::Live { stream: true }),
            tty,
            timeout_ms: Some(MAX_TIMEOUT_MS),
            ..Exec::new(Command::Shell(command))
        })
    }

    /// Runs the command. Answers its status, or the signal that ended it; `None` where the client has closed the channel.
    async fn attend(&mut self, request: Exec) -> Option<(u32, Option<Sig>)> {
        let has_terminal = request.tty.is_some();
        let mut running = match self.socket.sandbox.stream(request).await {
            Ok(running) => running,
            Err(error) => return Some((self.fail(&error.into()).await, None)),
        };
        if has_terminal {
            running.allow_lost_inputs();
        }
        let inputs = running.inputs();
        let (pieces, queue) = mpsc::channel(PIECES);
        let (feed, fed) = oneshot::channel();
        let ended = tokio::select! {
            ended = relay_output(running, &mut self.stdout, &mut self.stderr, feed) => ended,
            () = read_messages(&mut self.read, &inputs, pieces, has_terminal) => return None,
            never = feed_stdin(queue, fed) => match never {},
        };
        match ended {
            Ok(Some(Exit::Signalled { signal })) => Some((FAILED, Some(to_ssh(signal)))),
            Ok(exit) => {
                let (code, told) = failure::exit_code(exit);
                if let Some(told) = told {
                    self.note(&told).await;
                }
                Some((code.into(), None))
            }
            Err(error) => Some((self.fail(&error).await, None)),
        }
    }

    /// Says what went wrong, and answers the status.
    async fn fail(&mut self, error: &anyhow::Error) -> u32 {
        self.note(&failure::sentence(error)).await;
        match error.downcast_ref().map(failure::code_of) {
            Some(failure::OWN_FAILURE) | None => FAILED,
            Some(code) => code.into(),
        }
    }

    async fn note(&mut self, text: &str) {
        // The client may have gone.
        let _ = self.stderr.write_all(format!("cabana: {text}\r\n").as_bytes()).await;
    }
}

/// Writes what the command prints, as the client takes it. Answers how it has ended.
async fn relay_output(
    mut running: Running<Exec>,
    stdout: &mut (impl AsyncWrite + Unpin),
    stderr: &mut (impl AsyncWrite + Unpin),
    feed: oneshot::Sender<Feed>,
) -> Result<Option<Exit>> {
    let mut feed = Some(feed);
    while let Some(event) = running.next().await? {
        match event {
            ExecEvent::Started { .. } => {
                if let (Some(sender), Some(way)) = (feed.take(), running.feed()) {
                    let _ = sender.send(way);
                }
            }
            ExecEvent::Stdout { bytes, .. } | ExecEvent::Screen { bytes, .. } => stdout.write_all(&bytes.0).await?,
            ExecEvent::Stderr { bytes, .. } => stderr.write_all(&bytes.0).await?,
            ExecEvent::Gap { from, to } => {
                bail!("the connection broke, and {} bytes of the output are no longer kept", to - from)
            }
        }
    }
    Ok(running.result().await?.exit)
}

/// Hands on what the client says, until it closes the channel.
async fn read_messages(read: &mut ChannelReadHalf, inputs: &Inputs<Exec>, pieces: mpsc::Sender<Bytes>, has_terminal: bool) {
    let mut pieces = Some(pieces);
    while let Some(message) = read.wait().await {
        match message {
            // Keys are sent at once, and one that is lost is seen to be lost.
            ChannelMsg::Data { data } if has_terminal => {
                let _ = inputs.send(ExecInput::Stdin { bytes: Data(data) }).await;
            }
            ChannelMsg::Data { data } => {
                if let Some(pieces) = &pieces {
                    let _ = pieces.send(data).await;
                }
            }
            ChannelMsg::Eof => pieces = None,
            ChannelMsg::WindowChange { col_width, row_height, .. } => {
                let Tty { cols, rows } = size(col_width, row_height);
                let _ = inputs.send(ExecInput::Resize { cols, rows }).await;
            }
            ChannelMsg::Signal { signal } => {
                if let Ok(signal) = name(&signal).parse() {
                    let _ = inputs.send(ExecInput::Signal { signal }).await;
                }
            }
            ChannelMsg::Close => return,
            _ => {}
        }
    }
}

/// Writes stdin as the command takes it, and ends it. What a command does not read any more is dropped, as with a closed pipe.
async fn feed_stdin(mut queue: mpsc::Receiver<Bytes>, fed: oneshot::Receiver<Feed>) -> std::convert::Infallible {
    if let Ok(feed) = fed.await {
        let mut is_open = true;
        while let Some(piece) = queue.recv().await {
            let piece = gather(piece, &mut queue);
            if is_open && let Err(error) = feed.write(piece).await {
                is_open = !matches!(error.code(), Some(Code::Conflict | Code::NotFound | Code::Gone)) && !error.is_ambiguous();
            }
        }
        if is_open {
            let _ = feed.finish().await;
        }
    }
    std::future::pending().await
}

/// This piece, with those that wait already: each write costs a message there and back.
fn gather(first: Bytes, queue: &mut mpsc::Receiver<Bytes>) -> Bytes {
    // The largest message of SSH must still fit behind it.
    let is_full = |length: usize| length + (64 << 10) > STDIN_BYTES;
    let Some(second) = (!is_full(first.len())).then(|| queue.try_recv().ok()).flatten() else { return first };
    let mut gathered = BytesMut::from(first);
    gathered.extend_from_slice(&second);
    while !is_full(gathered.len()) {
        let Ok(more) = queue.try_recv() else { break };
        gathered.extend_from_slice(&more);
    }
    gathered.freeze()
}

fn size(cols: u32, rows: u32) -> Tty {
    let cells = |count: u32, usual: u64| Cells::new(count.into()).or_else(|| Cells::new(usual));
    match (cells(cols, 80), cells(rows, 24)) {
        (Some(cols), Some(rows)) => Tty { cols, rows },
        _ => unreachable!("80 and 24 are sizes"),
    }
}

/// The name of a signal without `SIG`.
fn name(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}

fn to_ssh(signal: Signal) -> Sig {
    let name = signal.to_string();
    match name.strip_prefix("SIG").unwrap_or(&name) {
        "ABRT" => Sig::ABRT,
        "ALRM" => Sig::ALRM,
        "FPE" => Sig::FPE,
        "HUP" => Sig::HUP,
        "ILL" => Sig::ILL,
        "INT" => Sig::INT,
        "KILL" => Sig::KILL,
        "PIPE" => Sig::PIPE,
        "QUIT" => Sig::QUIT,
        "SEGV" => Sig::SEGV,
        "TERM" => Sig::TERM,
        "USR1" => Sig::USR1,
        // Names that the RFC does not have are `name@domain`.
        other => Sig::Custom(format!("{other}@cabana")),
    }
}

#[cfg(test)]
mod tests {
    use super::{gather, is_variable_allowed, name, to_ssh};
    use bytes::Bytes;
    use cabana_client::protocol::Signal;
    use tokio::sync::mpsc;

    #[test]
    fn no_variable_that_changes_which_code_runs_is_taken() {
        for (variable, allowed) in [
            ("LANG", true),
            ("LC_ALL", true),
            ("COLORTERM", true),
            ("LD_PRELOAD", false),
            ("BASH_ENV", false),
            ("PATH", false),
            ("NODE_OPTIONS", false),
            ("lang", false),
        ] {
            assert_eq!(is_variable_allowed(variable), allowed, "{variable}");
        }
    }

    #[test]
    fn signals_keep_their_names_both_ways() {
        for number in [1, 2, 6, 9, 11, 15] {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(name(&to_ssh(signal)).parse(), Ok(signal));
        }
        assert_eq!(name(&to_ssh(Signal::from_number(12).unwrap())), "USR2@cabana");
    }

    #[test]
    fn pieces_that_wait_are_sent_together_up_to_what_one_write_takes() {
        let (pieces, mut queue) = mpsc::channel(64);
        (0..40).for_each(|_| pieces.try_send(Bytes::from(vec![1; 32 << 10])).unwrap());
        let sent = gather(Bytes::from_static(b"a"), &mut queue);
        assert!(sent.len() <= 1 << 20 && sent.len() > 900 << 10, "{}", sent.len());
        assert_eq!(gather(Bytes::from_static(b"b"), &mut mpsc::channel(1).1), "b");
    }
}
