//! A command that somebody waits for: its output appears here, and what is typed here reaches it.

use std::{
    io::{self, Read, Write, stdin, stdout},
    thread,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use cabana_client::{
    Feed, Inputs, Running,
    protocol::{
        Code, Data, Streaming,
        exec::{ExecEvent, ExecInput, ExecResult, Exit},
    },
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    escape::Escape,
    failure,
    output::Output,
    terminal::{self, Raw, Resizes, Signals},
};

/// Bytes of stdin that are read at once.
const PIECE: usize = 256 << 10;
/// Pieces of stdin that wait to be sent.
const PIECES: usize = 2;
/// What a shell says of a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

/// What the command reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Nothing.
    None,
    /// What is piped into this program, or typed a line at a time.
    Piped,
    /// Every key, on a terminal of its own.
    Raw,
    /// The same, and `~.` leaves it.
    RawWithEscape,
}

/// The ends of this program that a command in a sandbox uses.
pub(crate) struct Attended {
    keys: Keys,
    tty: bool,
    output: Output,
}

/// How the loop over a command's events ended.
enum End {
    /// The command has ended.
    Exited,
    /// Somebody has left it.
    Left(u8),
}

/// What goes wrong with input, or that somebody has left by a key.
enum InputEnd {
    Left,
    Failed(cabana_client::Error),
}

impl Attended {
    pub(crate) fn new(keys: Keys, tty: bool, output: Output) -> Self {
        Self { keys, tty, output }
    }

    /// Attends the command until it ends, and answers the exit code.
    ///
    /// Ctrl-C cancels the command, and a second one leaves at once; on a terminal of its own it is a key like others.
    pub(crate) async fn run<O>(self, mut running: Running<O>) -> Result<u8>
    where
        O: Streaming<Event = ExecEvent, Input = ExecInput, Response = ExecResult>,
    {
        let raw = matches!(self.keys, Keys::Raw | Keys::RawWithEscape).then(Raw::enter).transpose()?;
        let mut signals = Signals::listen()?;
        // Input waits while the command does not read. Output must not wait for that, so input has a task of its own.
        let (input_ends, mut input_end) = oneshot::channel();
        let mut input_ends = Some(input_ends);
        let mut feeding = None;
        if self.tty {
            let (inputs, resizes, keys) = (running.inputs(), Resizes::listen()?, self.keys);
            let ends = input_ends.take();
            feeding = Some(tokio::spawn(async move { report(ends, pass_keys(&inputs, resizes, keys).await) }));
        }
        let mut interrupts = 0;
        let mut lost = 0;
        let end = loop {
            tokio::select! {
                biased;
                code = signals.next() => match code {
                    INTERRUPTED if interrupts == 0 => {
                        interrupts += 1;
                        running.cancel();
                        self.output.note("cancelling; Ctrl-C again leaves at once");
                    }
                    code => break End::Left(code),
                },
                ended = &mut input_end, if input_ends.is_none() && feeding.is_some() => {
                    feeding = None;
                    match ended {
                        Ok(InputEnd::Left) => break End::Left(0),
                        Ok(InputEnd::Failed(error)) => return Err(error).context("pass stdin to the command"),
                        // All input has been passed.
                        Err(_) => {}
                    }
                }
                event = running.next() => {
                    let Some(event) = event? else { break End::Exited };
                    lost += write(&event)?;
                    if let (Keys::Piped, Some(feed), Some(ends)) = (self.keys, running.feed(), input_ends.take_if(|_| !self.tty)) {
                        feeding = Some(tokio::spawn(async move { report(Some(ends), pass_stdin(&feed).await) }));
                    }
                },
            }
        };
        feeding.inspect(tokio::task::JoinHandle::abort);
        drop(raw);
        match end {
            End::Exited => self.finish(running.result().await?.exit, interrupts > 0, lost),
            End::Left(code) => Ok(code),
        }
    }

    fn finish(&self, exit: Option<Exit>, interrupted: bool, lost: u64) -> Result<u8> {
        if lost > 0 {
            bail!("the connection broke, and {lost} bytes of the output are no longer kept");
        }
        let (code, note) = failure::exit_code(exit);
        match note {
            Some(_) if interrupted => Ok(INTERRUPTED),
            Some(note) => {
                self.output.note(&format!("cabana: {note}"));
                Ok(code)
            }
            None => Ok(code),
        }
    }
}

fn report(ends: Option<oneshot::Sender<InputEnd>>, end: Option<InputEnd>) {
    if let (Some(ends), Some(end)) = (ends, end) {
        // The command may have ended in the meantime.
        let _ = ends.send(end);
    }
}

/// Writes what the command has printed. Answers how many bytes of its output are missing.
fn write(event: &ExecEvent) -> Result<u64> {
    let written = match event {
        ExecEvent::Stdout { bytes, .. } | ExecEvent::Screen { bytes, .. } => write_all(stdout().lock(), &bytes.0),
        ExecEvent::Stderr { bytes, .. } => write_all(io::stderr().lock(), &bytes.0),
        ExecEvent::Gap { from, to } => return Ok(to - from),
        ExecEvent::Started { .. } => return Ok(0),
    };
    written.context("write the output of the command").map(|()| 0)
}

fn write_all(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

/// Passes keys and sizes on to the terminal of the command, until somebody leaves it.
async fn pass_keys<O>(inputs: &Inputs<O>, mut resizes: Resizes, keys: Keys) -> Option<InputEnd>
where
    O: Streaming<Input = ExecInput>,
{
    let mut typed = match keys {
        Keys::None => None,
        Keys::Piped | Keys::Raw | Keys::RawWithEscape => Some(read_stdin()),
    };
    let mut escape = Escape::default();
    loop {
        let input = tokio::select! {
            () = resizes.next() => {
                let size = terminal::size();
                ExecInput::Resize { cols: size.cols, rows: size.rows }
            }
            Some(bytes) = async { match &mut typed { Some(typed) => typed.recv().await, None => std::future::pending().await } } => {
                let bytes = bytes.unwrap_or_default();
                if bytes.is_empty() {
                    // A terminal has no end of input. This end has been closed, so nobody types any more.
                    typed = None;
                    ExecInput::Eof
                } else if keys == Keys::RawWithEscape {
                    let typed = escape.push(&bytes);
                    if typed.leaves {
                        return Some(InputEnd::Left);
                    }
                    ExecInput::Stdin { bytes: Data(typed.keys.into()) }
                } else {
                    ExecInput::Stdin { bytes: Data(bytes) }
                }
            }
        };
        // A key that is lost is seen to be lost.
        let _ = inputs.send(input).await;
    }
}

/// Passes stdin on, and its end. Each piece is acknowledged before the next one is sent.
async fn pass_stdin(feed: &Feed) -> Option<InputEnd> {
    let mut typed = read_stdin();
    while let Some(bytes) = typed.recv().await {
        let passed = match bytes {
            Ok(bytes) if bytes.is_empty() => feed.finish().await,
            Ok(bytes) => feed.write(bytes).await,
            Err(error) => Err(error.into()),
        };
        match passed {
            Ok(()) => {}
            // The command does not read any more, as with a closed pipe. Its exit says the rest.
            Err(error) if matches!(error.code(), Some(Code::Conflict | Code::NotFound | Code::Gone)) => return None,
            Err(error) => return Some(InputEnd::Failed(error)),
        }
    }
    None
}

/// What stdin holds, piece by piece, and an empty piece at its end. A thread reads it, which ends with the program.
fn read_stdin() -> mpsc::Receiver<io::Result<Bytes>> {
    let (pieces, receiver) = mpsc::channel(PIECES);
    thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        loop {
            let read = stdin().lock().read(&mut buffer).map(|length| Bytes::copy_from_slice(&buffer[..length]));
            let is_last = read.as_ref().map_or(true, Bytes::is_empty);
            if pieces.blocking_send(read).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}
