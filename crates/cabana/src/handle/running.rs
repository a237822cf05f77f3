//! Operations that run: what each answers, the stream of one, and giving one up.

use std::time::Duration;

use cabana_protocol::{
    Code, Error as CodedError, Fold, Operation, ProcessId, Streaming,
    exec::ExecInput,
    line::Line,
    process::{Attach, End, Input, Resize, SendSignal},
};
use futures_util::{Stream, stream};
use serde::de::DeserializeOwned;
use worker::{Delay, Request, web_sys};

use super::{Handle, Lines, NDJSON};
use crate::{Error, Result};

/// How long a broken connection is made again: as long as the sandbox keeps a command for its caller.
const RECONNECT: Duration = Duration::from_secs(30);

/// The pause before the second attempt. Each further one is twice as long, up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// An operation of the one list, and all that it answers: its response, and of a streaming one what its events carried as well.
///
/// Implemented for every operation of the agent, so that nothing is lost by choosing the wrong verb.
pub trait Call: Operation {
    /// The answer.
    type Output: DeserializeOwned + Send + 'static;
}

macro_rules! calls {
    (calls: [$($call:ty),* $(,)?], streams: [$($stream:ty),* $(,)?] $(,)?) => {
        $(impl Call for $call {
            type Output = <$call as Operation>::Response;
        })*
        $(impl Call for $stream {
            type Output = <<$stream as Streaming>::Fold as Fold<$stream>>::Output;
        })*
    };
}

cabana_protocol::operations!(calls);

/// A streaming operation that runs: its events, its inputs, its result.
///
/// The events are read from the answer as they are asked for: a reader that is slow slows the command down, and nothing is held in between. Each
/// byte of output comes once. When the connection breaks, for instance because a deployment has replaced the sandbox's object, a command continues
/// with `process.attach` from the next byte.
///
/// Dropping it cancels the operation: a command ends with everything that it started; a detached one runs on.
///
/// ```
/// # use cabana::{Result, Sandbox, protocol::exec::{Exec, ExecEvent}};
/// # async fn example(env: &worker::Env) -> Result<()> {
/// let mut build = Sandbox::get(env, "my-id")?.stream(Exec::new("make")).await?;
/// while let Some(event) = build.next().await? {
///     if let ExecEvent::Stdout { bytes, .. } = event {
///         worker::console_log!("{bytes}");
///     }
/// }
/// assert!(build.result().await?.success());
/// # Ok(())
/// # }
/// ```
pub struct Running<O: Streaming> {
    sandbox: Handle,
    operation: O,
    lines: Lines,
    cancel: Cancel,
    response: Option<O::Response>,
    /// The process that it runs, once that is known.
    process: Option<ProcessId>,
    /// The offset of the next byte.
    position: Option<u64>,
    ended: bool,
}

impl<O: Streaming> std::fmt::Debug for Running<O> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (process, position) = (&self.process, &self.position);
        formatter
            .debug_struct("Running")
            .field("operation", &O::NAME)
            .field("process", process)
            .field("position", position)
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// Starts a streaming operation. Dropping the answer cancels the operation.
    ///
    /// Fails as the operation says.
    pub async fn stream<O: Streaming>(&self, operation: O) -> Result<Running<O>> {
        let request = self.operation(&operation)?;
        self.begin(operation, request).await
    }

    /// Starts the operation of this request.
    pub(super) async fn begin<O: Streaming>(&self, operation: O, request: Request) -> Result<Running<O>> {
        let (lines, cancel) = self.open(request).await?;
        let sandbox = self.clone();
        Ok(Running { sandbox, operation, lines, cancel, response: None, process: None, position: None, ended: false })
    }

    async fn open(&self, request: Request) -> Result<(Lines, Cancel), CodedError> {
        request.headers().set("accept", NDJSON).map_err(|error| CodedError::internal(error.to_string()))?;
        let (request, cancel) = Cancel::on_drop(request)?;
        Ok((Lines::of(self.reach(request).await?).await?, cancel))
    }
}

impl<O: Streaming> Running<O> {
    /// The id of its process, once an event has named it.
    pub fn process(&self) -> Option<&ProcessId> {
        self.process.as_ref()
    }

    /// The offset of the next byte: where `process.attach` would continue.
    pub fn position(&self) -> Option<u64> {
        self.position
    }

    /// The next event; `None` once it has ended, and [`Running::result`] answers at once.
    pub async fn next(&mut self) -> Result<Option<O::Event>> {
        loop {
            if self.ended {
                return Ok(None);
            }
            match self.lines.next::<O>().await {
                Ok(None) => {}
                Ok(Some(Line::Event(event))) => {
                    if let Some(event) = self.take(event) {
                        return Ok(Some(event));
                    }
                }
                Ok(Some(Line::Result(response))) => {
                    self.ended = true;
                    self.response = Some(response);
                }
                Ok(Some(Line::Error(error))) | Err(error) => self.resume(error).await?,
            }
        }
    }

    /// The events as a stream, which ends before the result.
    pub fn events(&mut self) -> impl Stream<Item = Result<O::Event>> + '_ {
        stream::try_unfold(self, async |running| Ok(running.next().await?.map(|event| (event, running))))
    }

    /// Passes over the events that are left, and answers the response.
    pub async fn result(mut self) -> Result<O::Response> {
        while self.next().await?.is_some() {}
        self.end()
    }

    /// Gathers the events that are left, and answers them with the response as one value of bounded size.
    pub async fn output(mut self) -> Result<<O::Fold as Fold<O>>::Output> {
        let mut fold = O::Fold::new(&self.operation);
        while let Some(event) = self.next().await? {
            fold.push(event);
        }
        Ok(fold.finish(self.end()?))
    }

    /// Ends it. A command ends with all that it has started, and its result says so; of any other operation nothing more is heard.
    pub async fn cancel(&mut self) -> Result<()> {
        match &self.process {
            Some(process) if !self.ended => {
                self.sandbox.call(End { process: Some(process.to_string()), ..End::default() }).await?;
            }
            _ => {
                self.cancel.cancel();
                self.ended = true;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<O::Response> {
        self.response.take().ok_or_else(|| Error::new(Code::Interrupted, "the operation was cancelled"))
    }

    /// The event, unless the caller knows it already.
    fn take(&mut self, event: O::Event) -> Option<O::Event> {
        if let Some(process) = O::process(&event) {
            // It is named again after a broken connection.
            let known = self.process.replace(process.clone()).is_some();
            return (!known).then_some(event);
        }
        self.position = O::position(&event).or(self.position);
        Some(event)
    }

    /// Continues a command whose connection has broken, or fails as it did.
    async fn resume(&mut self, lost: CodedError) -> Result<()> {
        let process = self.process.as_ref().filter(|_| lost.code == Code::Interrupted).map(ToString::to_string);
        let Some(process) = process else {
            self.ended = true;
            return Err(lost.into());
        };
        let attach = Attach { process, from: Some(self.position.unwrap_or(0)), screen: false };
        let (mut waited, mut pause) = (Duration::ZERO, PAUSE);
        loop {
            match self.sandbox.open(self.sandbox.operation(&attach)?).await {
                Ok((lines, cancel)) => {
                    (self.lines, self.cancel) = (lines, cancel);
                    return Ok(());
                }
                Err(error) if waited > RECONNECT || !(error.retryable || error.code == Code::Interrupted) => {
                    self.ended = true;
                    return Err(error.into());
                }
                Err(_) => {}
            }
            Delay::from(pause).await;
            waited += pause;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl<O: Streaming<Input = ExecInput>> Running<O> {
    /// Says something to the command: types, closes its stdin, resizes its terminal, sends a signal. Answers when the command may have it, so one
    /// that does not read holds up the answer.
    ///
    /// For terminals, and for processes that were [spawned](Handle::spawn) with a stdin that is a stream: of any other command the stdin is at its
    /// end from the beginning.
    ///
    /// Fails with `conflict` before an event has named the process, and where it takes no such input.
    pub async fn input(&self, input: ExecInput) -> Result<()> {
        let unnamed = || Error::new(Code::Conflict, "the command has not started: read its first event");
        let process = self.process.as_ref().ok_or_else(unnamed)?.to_string();
        match input {
            ExecInput::Stdin { bytes } => self.sandbox.call(Input { process, data: Some(bytes), eof: false }).await?,
            ExecInput::Eof => match self.sandbox.call(Input { process, data: None, eof: true }).await {
                // Many a command ends at the end of its input, and may do so before that is answered.
                Err(error) if error.reason() == Some("ended") => return Ok(()),
                answer => answer?,
            },
            ExecInput::Resize { cols, rows } => self.sandbox.call(Resize { process, cols, rows }).await?,
            ExecInput::Signal { signal } => self.sandbox.call(SendSignal { process, signal }).await?,
        };
        Ok(())
    }
}

/// Cancels a request when it is dropped: the runtime does not notice that nobody waits for its answer any more.
#[derive(Debug)]
pub(super) struct Cancel(Option<web_sys::AbortController>);

impl Cancel {
    /// The request, and what cancels it.
    pub(super) fn on_drop(request: Request) -> Result<(Request, Self), CodedError> {
        let attach = || {
            let controller = web_sys::AbortController::new()?;
            let init = web_sys::RequestInit::new();
            init.set_signal(Some(&controller.signal()));
            Ok((web_sys::Request::new_with_request_and_init(request.inner(), &init)?.into(), Self(Some(controller))))
        };
        attach().map_err(|error: worker::wasm_bindgen::JsValue| CodedError::internal(worker::Error::from(error).to_string()))
    }

    /// The answer is there: there is nothing to cancel.
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }

    /// Cancels it now.
    pub(super) fn cancel(&mut self) {
        if let Some(controller) = self.0.take() {
            controller.abort();
        }
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.cancel();
    }
}
