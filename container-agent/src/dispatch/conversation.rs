//! A streaming operation while it runs: events out, inputs in, the response last.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use cabana_protocol::{Code, Error, Fold, Streaming, line::LineOf};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Channel, Encoding, InputBody, Pending, RawOutput, RawRequest, RawResponse, ReceivedInput, Run, decode, encode_held,
    encoder::Encoder, feed, fill, read,
};
use crate::{Agent, caller::Caller, memory::Held, waiting::if_any};

/// Events that may wait for a slow client; the operation waits beyond that.
const EVENTS: usize = 4;

/// Bytes of inputs, as they came, that may wait for an operation that does not take them. An input counts as 64 bytes at least.
const INPUT_BYTES: usize = 64 << 20;

/// How much of that every operation has, however little memory there is.
const OWN_INPUT_BYTES: usize = 1 << 20;

/// A running operation without its types.
pub struct Conversation {
    /// Its output, the end last. Dropping this ends the operation and whatever it started.
    pub output: Pin<Box<dyn Stream<Item = RawOutput> + Send>>,
    /// Sends it an input. Fails with `invalid_request`, and with `too_many_requests` while it has not taken earlier ones. Dropping this is
    /// the end of all inputs.
    pub input: InputSender,
    /// Asks for its end; the result still comes.
    pub cancel: CancellationToken,
    /// The event that says that the output between two positions was left out.
    pub gap: GapEncoder,
}

/// Sends a running operation an input.
pub type InputSender = Arc<dyn Fn(RawRequest<'_>) -> Result<(), Error> + Send + Sync>;

/// Encodes the event that says that the output between two positions was left out; `None` where the operation has no such event.
pub type GapEncoder = Box<dyn FnMut(u64, u64) -> Option<RawOutput> + Send>;

/// Starts an operation, or resumes one at a position, and leaves it to the caller to read its output.
///
/// Fails with `invalid_request` for an operation that cannot be resumed: to start it again might do harm.
pub(super) fn start<O: Streaming>(
    agent: Agent,
    request: RawRequest<'_>,
    position: Option<u64>,
    encoding: Encoding,
    about: &mut String,
) -> Result<Conversation, Error>
where
    Agent: Run<O>,
{
    let (caller, takes_inputs) = (request.caller.clone(), request.takes_inputs);
    let (request, feed) = read_fed::<O>(&agent, request, about)?;
    let request = match position {
        None => request,
        Some(position) => {
            let unable = || Error::invalid_request(format!("{} cannot be resumed: it would start again", O::NAME));
            request.resume(position).ok_or_else(unable)?
        }
    };
    let held = Mutex::new(agent.memory.account());
    let (conversation, inputs, cancel) = TypedConversation::<O>::new(agent, request, feed, takes_inputs, caller);
    let (mut encoder, mut gap) = (Encoder::new(encoding.clone()), Encoder::new(encoding));
    let output = Box::pin(conversation.lines().map(move |line| encoder.encode::<O>(line)));
    let room = Arc::new(Semaphore::new(INPUT_BYTES));
    Ok(Conversation {
        output,
        input: Arc::new(move |input| send_input::<O>(&inputs, &room, &held, input)),
        cancel,
        gap: Box::new(move |from, to| O::gap(from, to).map(|event| gap.encode::<O>(LineOf::<O>::Event(event)))),
    })
}

/// Carries an operation out to its end and folds its events. What the fold holds is accounted for; it stops growing where there is no
/// more memory.
pub(super) fn fold<O: Streaming>(
    agent: Agent,
    request: RawRequest<'_>,
    _: bool,
    about: &mut String,
) -> Result<Pending<Result<RawResponse, Error>>, Error>
where
    Agent: Run<O>,
{
    let caller = request.caller.clone();
    let (request, feed) = read_fed::<O>(&agent, request, about)?;
    Ok(Box::pin(async move {
        let mut fold = O::Fold::new(&request);
        let mut held = agent.memory.account();
        let (mut conversation, inputs, _) = TypedConversation::new(agent, request, feed, false, caller);
        drop(inputs);
        loop {
            match conversation.next().await {
                LineOf::<O>::Event(event) => {
                    fold.push(event);
                    if held.grow(fold.size()).is_err() {
                        fold.freeze();
                    }
                }
                LineOf::<O>::Result(response) => {
                    let (line, held) = encode_held(&fold.finish(response), held)?;
                    return Ok(RawResponse { line, bytes: None, held });
                }
                LineOf::<O>::Error(error) => return Err(error),
            }
        }
    }))
}

/// Inputs that come as a body, and what a piece of it is.
type Feed<O> = Option<(InputBody, fn(Bytes) -> <O as Streaming>::Input)>;

/// Decodes a request, and prepares it for its body.
///
/// Fails with `unsupported_media_type` where it takes no such body.
fn read_fed<O: Streaming>(agent: &Agent, mut asked: RawRequest<'_>, about: &mut String) -> Result<(O, Feed<O>), Error> {
    let body = asked.body.take();
    let request: O = read(agent, asked, about)?;
    let Some(body) = body else { return Ok((request, None)) };
    let (request, say) = request.fed().ok_or_else(|| feed::refused(O::NAME))?;
    Ok((request, Some((body, say))))
}

fn send_input<O: Streaming>(
    inputs: &Inputs<O>,
    room: &Arc<Semaphore>,
    held: &Mutex<Held>,
    request: RawRequest<'_>,
) -> Result<(), Error> {
    let bytes = (request.json.len() + request.bytes.len()).max(64);
    let room = account(room, held, bytes)?;
    let mut input = decode(request.json)?;
    fill(O::input_bytes(&mut input), request.bytes)?;
    // An operation that has ended takes nothing more: its result is on the way.
    let _ = inputs.send(ReceivedInput { input, room });
    Ok(())
}

/// Room for an input. What waits beyond the operation's own share is accounted for in the agent's memory.
fn account(room: &Arc<Semaphore>, held: &Mutex<Held>, bytes: usize) -> Result<tokio::sync::OwnedSemaphorePermit, Error> {
    let refused = || {
        let message = format!("more than {INPUT_BYTES} bytes of inputs wait for the operation");
        Error::new(Code::TooManyRequests, message).with_details(serde_json::json!({ "limit_bytes": INPUT_BYTES }))
    };
    let count = u32::try_from(bytes).map_err(|_| refused())?;
    let permit = Arc::clone(room).try_acquire_many_owned(count).map_err(|_| refused())?;
    let waiting = INPUT_BYTES - room.available_permits();
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    held.resize(waiting.saturating_sub(OWN_INPUT_BYTES))?;
    Ok(permit)
}

/// The client's end of the inputs.
type Inputs<O> = mpsc::UnboundedSender<ReceivedInput<<O as Streaming>::Input>>;

/// A conversation with its types: the handler's future, and the events that wait to be read.
struct TypedConversation<O: Streaming> {
    handler: Pending<Result<O::Response, Error>>,
    events: mpsc::Receiver<O::Event>,
    /// The handler's answer, while earlier events wait to be read.
    answer: Option<Result<O::Response, Error>>,
    /// Passes on the inputs that come as a body, until that has been taken in.
    feed: Option<Pending<()>>,
}

impl<O: Streaming> TypedConversation<O> {
    fn new(
        agent: Agent,
        mut request: O,
        feed: Feed<O>,
        takes_inputs: bool,
        caller: Caller,
    ) -> (Self, Inputs<O>, CancellationToken)
    where
        Agent: Run<O>,
    {
        let (events, heard) = mpsc::channel(EVENTS);
        let (told, inputs) = mpsc::unbounded_channel();
        let cancel = caller.cancel();
        // A handler that ends cancels its own token, which ends what it started. The client has not cancelled anything by that: output that
        // waits for room when the handler ends must still be sent.
        let channel = Channel { events, inputs, takes_inputs, cancel: cancel.child_token(), caller };
        let handler: Pending<_> = match request.relative_paths() {
            None => Box::pin(agent.run(request, channel)),
            Some(_) => Box::pin(async move {
                let request = agent.locate(request).await?;
                agent.run(request, channel).await
            }),
        };
        let feed = feed.map(|(body, say)| -> Pending<()> { Box::pin(body.feed(told.clone(), say, cancel.clone())) });
        (Self { handler, events: heard, answer: None, feed }, told, cancel)
    }

    async fn next(&mut self) -> LineOf<O> {
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => return LineOf::<O>::Event(event),
                answer = &mut self.handler, if self.answer.is_none() => self.answer = Some(answer),
                () = if_any(self.feed.as_mut()), if self.feed.is_some() => self.feed = None,
                else => break,
            }
        }
        match self.answer.take() {
            Some(Ok(response)) => LineOf::<O>::Result(response),
            Some(Err(error)) => LineOf::<O>::Error(error),
            None => LineOf::<O>::Error(Error::internal("the operation has already ended")),
        }
    }

    fn lines(self) -> impl Stream<Item = LineOf<O>> + Send {
        stream::unfold(Some(self), |talk| async {
            let mut talk = talk?;
            let line = talk.next().await;
            let rest = matches!(line, LineOf::<O>::Event(_)).then_some(talk);
            Some((line, rest))
        })
    }
}
