//! A streaming operation that runs.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cabana_protocol::{
    Code, Data, Fold, Operation, ProcessId, Streaming,
    process::{Attach, Input},
};
use futures_util::{Stream, stream};
use serde::Serialize;
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use crate::{
    Error, Result,
    connection::{Connection, Incoming, Link, Outgoing, Payload},
    retry,
};

/// How long a lost connection is made again: as long as the service keeps a command for its caller.
const RECONNECT: Duration = Duration::from_secs(30);

/// A streaming operation that runs: its events, its inputs, its result.
///
/// Each byte of output comes once. When the connection breaks, a command continues with `process.attach` from the next byte. Where the
/// service has ended it meanwhile, or input may be lost, the error is ambiguous ([`Error::is_ambiguous`]).
///
/// Dropping it cancels the operation: a command ends with everything that it started; a detached one runs on.
pub struct Running<O: Streaming> {
    link: Arc<Link>,
    /// The request, for an operation that is resumed by its own kind.
    request: Value,
    incoming: mpsc::Receiver<Incoming>,
    route: watch::Sender<Route>,
    response: Option<O::Response>,
    /// The process that it runs, once that is known.
    process: Option<ProcessId>,
    position: Option<u64>,
    /// Whether events have come that are not told again.
    has_begun: bool,
    inputs_may_be_lost: bool,
    resumed: bool,
    cancelled: bool,
    ended: bool,
}

/// Where inputs go at the moment.
#[derive(Clone)]
struct Route {
    connection: Arc<Connection>,
    id: u64,
    /// How many connections there were.
    generation: u64,
    /// Whether input has been sent that cannot be sent again.
    fed: bool,
}

/// Says things to an operation that runs. Clones say them to the same one.
pub struct Inputs<O: Streaming> {
    route: watch::Sender<Route>,
    operation: std::marker::PhantomData<fn(O)>,
}

impl<O: Streaming> Clone for Inputs<O> {
    fn clone(&self) -> Self {
        Self { route: self.route.clone(), operation: std::marker::PhantomData }
    }
}

impl<O: Streaming> std::fmt::Debug for Inputs<O> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inputs").field("operation", &O::NAME).finish_non_exhaustive()
    }
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

impl<O: Streaming> Inputs<O> {
    /// Says something to the operation. While the connection is made again, it waits for that.
    ///
    /// Fails once the operation has ended, and where the connection breaks: the input may be lost then.
    pub async fn send(&self, input: O::Input) -> Result<()> {
        let input = Outgoing::input::<O>(input)?;
        let mut changes = self.route.subscribe();
        let route = changes.borrow_and_update().clone();
        if !route.connection.is_open() {
            let generation = route.generation;
            let newer = changes.wait_for(|route| route.generation > generation).await;
            let route = newer.map_err(|_| Error::lost("the operation has ended"))?.clone();
            return route.connection.say(route.id, input).await;
        }
        self.route.send_if_modified(|route| !std::mem::replace(&mut route.fed, true));
        route.connection.say(route.id, input).await
    }
}

impl<O: Streaming> Running<O> {
    pub(crate) async fn start(link: Arc<Link>, request: O) -> Result<Self> {
        let kept = to_value(&request)?;
        let (connection, id, incoming) = begin(&link, request).await?;
        let (route, _) = watch::channel(Route { connection, id, generation: 0, fed: false });
        Ok(Self {
            link,
            request: kept,
            incoming,
            route,
            response: None,
            process: None,
            position: None,
            has_begun: false,
            inputs_may_be_lost: false,
            resumed: false,
            cancelled: false,
            ended: false,
        })
    }

    /// The id of its process, once an event has named it.
    pub fn process(&self) -> Option<&ProcessId> {
        self.process.as_ref()
    }

    /// The offset of the next byte: where `process.attach` would continue.
    pub fn position(&self) -> Option<u64> {
        self.position
    }

    /// A way to its stdin that says what has arrived; none before an event has named its process.
    pub fn feed(&self) -> Option<Feed> {
        Some(Feed { link: self.link.clone(), process: self.process.clone()? })
    }

    /// A handle that says things to it.
    pub fn inputs(&self) -> Inputs<O> {
        Inputs { route: self.route.clone(), operation: std::marker::PhantomData }
    }

    /// Says something to it.
    pub async fn input(&self, input: O::Input) -> Result<()> {
        self.inputs().send(input).await
    }

    /// Continues after a lost connection even where input was on its way, which may be lost. Good for keys of a terminal, whose user sees
    /// what has arrived. Otherwise a lost connection is an error once input has been sent.
    pub fn allow_lost_inputs(&mut self) {
        self.inputs_may_be_lost = true;
    }

    /// Asks the service to end it. Its result or its error says when it has ended.
    pub fn cancel(&mut self) {
        self.cancelled = true;
        let route = self.route.borrow();
        route.connection.cancel(route.id);
    }

    /// The next event; `None` once it has ended, and [`Running::result`] answers at once.
    pub async fn next(&mut self) -> Result<Option<O::Event>> {
        loop {
            if self.ended {
                return Ok(None);
            }
            match self.incoming.recv().await {
                Some(Incoming::Event(payload)) => {
                    if let Some(event) = self.take_event(payload)? {
                        return Ok(Some(event));
                    }
                }
                Some(Incoming::Result(payload)) => {
                    self.ended = true;
                    self.refuse_hang_up(&payload)?;
                    self.response = Some(payload.response::<O>()?);
                    return Ok(None);
                }
                Some(Incoming::Error(error)) => {
                    let moved = error.code == Code::Interrupted && reason(&error) == Some("reconnect");
                    let error = Error::of_frame(error);
                    if moved && !self.cancelled {
                        self.resume(error).await?;
                    } else {
                        self.ended = true;
                        return Err(error);
                    }
                }
                None => {
                    let end = self.route.borrow().connection.end();
                    if !matches!(end, Error::ConnectionLost { .. }) || self.cancelled {
                        self.ended = true;
                        return Err(end);
                    }
                    self.resume(end).await?;
                }
            }
        }
    }

    /// The events as a stream, which ends before the result.
    pub fn events(&mut self) -> impl Stream<Item = Result<O::Event>> + Send + '_ {
        stream::try_unfold(self, async |running| Ok(running.next().await?.map(|event| (event, running))))
    }

    /// Passes over the events that are left, and answers the response.
    pub async fn result(mut self) -> Result<O::Response> {
        while self.next().await?.is_some() {}
        self.response.take().ok_or_else(|| Error::lost("the operation has ended"))
    }

    /// Gathers the events that are left, and answers them with the response as one value of bounded size.
    pub async fn output(mut self) -> Result<<O::Fold as Fold<O>>::Output> {
        let request: O = parse(&self.request)?;
        let mut fold = O::Fold::new(&request);
        while let Some(event) = self.next().await? {
            fold.push(event);
        }
        let response = self.response.take().ok_or_else(|| Error::lost("the operation has ended"))?;
        Ok(fold.finish(response))
    }

    fn take_event(&mut self, payload: Payload) -> Result<Option<O::Event>> {
        let event = payload.event::<O>()?;
        if let Some(process) = O::process(&event) {
            // The caller has been told before the connection broke.
            let known = self.process.replace(process.clone()).is_some();
            return Ok((!known).then_some(event));
        }
        self.has_begun = true;
        self.position = O::position(&event).or(self.position);
        Ok(Some(event))
    }

    /// Continues over a new connection, or answers why that cannot be.
    async fn resume(&mut self, lost: Error) -> Result<()> {
        let deadline = Instant::now() + RECONNECT;
        self.ended = true;
        let Some(continuation) = self.continuation()? else { return Err(lost) };
        let mut attempt = 0;
        let (connection, id, incoming) = loop {
            let begun = match &continuation {
                Continuation::Attach(request) => begin(&self.link, request.clone()).await,
                Continuation::Same(request) => begin::<O>(&self.link, parse(request)?).await,
            };
            let error = match begun {
                Ok(begun) => break begun,
                Err(error) => error,
            };
            let comes_back = error.is_retryable() || matches!(error, Error::ConnectionLost { .. });
            if !comes_back || Instant::now() > deadline {
                return Err(error);
            }
            sleep(self.link.client().shared.settings.retries.backoff(attempt, retry::jitter())).await;
            attempt += 1;
        };
        self.incoming = incoming;
        self.route.send_modify(|route| {
            *route = Route { connection, id, generation: route.generation + 1, fed: false };
        });
        (self.ended, self.resumed) = (false, true);
        Ok(())
    }

    /// The request that continues the operation. `None` where it would be carried out twice, or with less input than was sent.
    fn continuation(&self) -> Result<Option<Continuation>> {
        if self.route.borrow().fed && !self.inputs_may_be_lost {
            return Ok(None);
        }
        if let (Some(process), false) = (&self.process, O::NAME == Attach::NAME) {
            let from = Some(self.position.unwrap_or(0));
            return Ok(Some(Continuation::Attach(Attach { process: process.to_string(), from, screen: false })));
        }
        let request: O = parse(&self.request)?;
        let again = match self.position {
            Some(position) => request.resume(position),
            None => (O::IDEMPOTENT && !self.has_begun).then_some(request),
        };
        Ok(again.map(|again| to_value(&again)).transpose()?.map(Continuation::Same))
    }

    /// The service cannot tell a client whose network failed from one that hung up, and ends the command of either.
    fn refuse_hang_up(&self, payload: &Payload) -> Result<()> {
        let was_cancelled = || {
            let result: Value = serde_json::from_str(payload.json()).unwrap_or_default();
            result.pointer("/exit/type").is_some_and(|kind| kind == "cancelled")
        };
        if self.resumed && !self.cancelled && O::NAME != Attach::NAME && was_cancelled() {
            let message = "the connection broke, and the service ended the command";
            return Err(Error::of_frame(cabana_protocol::Error::new(Code::Interrupted, message)));
        }
        Ok(())
    }
}

impl<O: Streaming> Drop for Running<O> {
    fn drop(&mut self) {
        if !self.ended {
            let route = self.route.borrow();
            route.connection.cancel(route.id);
        }
    }
}

/// The stdin of a command that runs, a piece at a time.
///
/// A piece waits until the command may have it, so that a command that does not read holds up its caller. [`Inputs`] does not wait.
#[derive(Clone)]
pub struct Feed {
    link: Arc<Link>,
    process: ProcessId,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Feed").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Feed {
    /// Writes a piece of at most 1 MiB. After a lost connection it is not known whether the piece has arrived.
    pub async fn write(&self, bytes: Bytes) -> Result<()> {
        self.send(Some(Data(bytes)), false).await
    }

    /// Says that nothing more comes.
    pub async fn finish(&self) -> Result<()> {
        self.send(None, true).await
    }

    async fn send(&self, data: Option<Data>, eof: bool) -> Result<()> {
        let request = Input { process: self.process.to_string(), data, eof };
        let (connection, _, mut incoming) = begin(&self.link, request).await?;
        match incoming.recv().await {
            Some(Incoming::Error(error)) => Err(Error::of_frame(error)),
            Some(Incoming::Result(_) | Incoming::Event(_)) => Ok(()),
            None => Err(connection.end()),
        }
    }
}

/// How an operation continues.
enum Continuation {
    /// Its process is listened to.
    Attach(Attach),
    /// By a request of its own kind.
    Same(Value),
}

type Begun = (Arc<Connection>, u64, mpsc::Receiver<Incoming>);

async fn begin<O: Operation>(link: &Link, request: O) -> Result<Begun> {
    let connection = link.connection().await?;
    let (id, incoming) = connection.start(Outgoing::request(request)?).await?;
    Ok((connection, id, incoming))
}

fn to_value(request: &impl Serialize) -> Result<Value> {
    serde_json::to_value(request).map_err(|error| Error::Invalid(error.to_string()))
}

fn parse<O: Operation>(request: &Value) -> Result<O> {
    serde_json::from_value(request.clone()).map_err(Error::malformed)
}

fn reason(error: &cabana_protocol::Error) -> Option<&str> {
    error.details.as_ref()?.get("reason")?.as_str()
}
