//! A streaming operation while it runs: events out, inputs in, the response last.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use cabana_protocol::{Code, Error, Fold, Streaming, line::LineOf};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Asked, Channel, Encoding, Pending, Run, Said, Told, decode, encode, encoder::Encoder, fill, read};
use crate::Agent;

/// Events that may wait for a slow client; the operation waits beyond that.
const EVENTS: usize = 4;

/// Bytes of inputs, as they came, that may wait for an operation that does not take them. An input counts as 64 bytes at least.
const INPUT_BYTES: usize = 1 << 20;

/// A running operation without its types.
pub struct Conversation {
    /// What it says, the end last. Dropping this ends the operation and whatever it started.
    pub said: Pin<Box<dyn Stream<Item = Said> + Send>>,
    /// Tells it something. Fails with `invalid_request`, and with `too_many_requests` when it has not taken what it was
    /// told before. Dropping this is the end of all inputs.
    pub tell: Tell,
    /// Asks for its end; the result still comes.
    pub cancel: CancellationToken,
}

/// Tells a running operation something.
pub type Tell = Arc<dyn Fn(Asked<'_>) -> Result<(), Error> + Send + Sync>;

/// Starts an operation, or goes on from a position, and leaves it to the caller to listen.
///
/// Fails with `invalid_request` for an operation that cannot go on: to start it again might do harm.
pub(super) fn start<O: Streaming>(
    agent: Agent,
    asked: Asked<'_>,
    position: Option<u64>,
    encoding: Encoding,
    about: &mut String,
) -> Result<Conversation, Error>
where
    Agent: Run<O>,
{
    let request: O = read(&agent, asked, about)?;
    let request = match position {
        None => request,
        Some(position) => {
            let unable = || Error::invalid_request(format!("{} cannot be resumed: it would start again", O::NAME));
            request.resume(position).ok_or_else(unable)?
        }
    };
    let (talk, inputs, cancel) = Talk::<O>::new(agent, request);
    let mut encoder = Encoder::new(encoding);
    let said = Box::pin(talk.lines().map(move |line| encoder.said::<O>(line)));
    let room = Arc::new(Semaphore::new(INPUT_BYTES));
    Ok(Conversation { said, tell: Arc::new(move |input| tell::<O>(&inputs, &room, input)), cancel })
}

/// Carries an operation out to its end and gathers what it says.
pub(super) fn fold<O: Streaming>(agent: Agent, body: Bytes, about: &mut String) -> Result<Pending<Result<Bytes, Error>>, Error>
where
    Agent: Run<O>,
{
    let request: O = read(&agent, Asked::from(&*body), about)?;
    drop(body);
    Ok(Box::pin(async move {
        let mut fold = O::Fold::new(&request);
        let (mut talk, inputs, _) = Talk::new(agent, request);
        drop(inputs);
        loop {
            match talk.next().await {
                LineOf::<O>::Event(event) => fold.push(event),
                LineOf::<O>::Result(response) => return encode(&fold.finish(response)),
                LineOf::<O>::Error(error) => return Err(error),
            }
        }
    }))
}

fn tell<O: Streaming>(inputs: &Inputs<O>, room: &Arc<Semaphore>, asked: Asked<'_>) -> Result<(), Error> {
    let bytes = asked.json.len() + asked.bytes.len();
    let bytes = u32::try_from(bytes.max(64)).unwrap_or(u32::MAX);
    let room = Arc::clone(room).try_acquire_many_owned(bytes).map_err(|_| {
        let message = format!("more than {INPUT_BYTES} bytes of inputs wait to be taken");
        Error::new(Code::TooManyRequests, message).with_details(serde_json::json!({ "limit_bytes": INPUT_BYTES }))
    })?;
    let mut input = decode(asked.json)?;
    fill(O::input_bytes(&mut input), asked.bytes)?;
    // An operation that has ended takes nothing more: its result is on the way.
    let _ = inputs.send(Told { input, room });
    Ok(())
}

/// The client's end of the inputs.
type Inputs<O> = mpsc::UnboundedSender<Told<<O as Streaming>::Input>>;

/// A conversation with its types: the handler's future and what it has said but nobody has heard.
struct Talk<O: Streaming> {
    handler: Pending<Result<O::Response, Error>>,
    events: mpsc::Receiver<O::Event>,
    /// The handler's answer, while events from before it are still to be heard.
    answer: Option<Result<O::Response, Error>>,
}

impl<O: Streaming> Talk<O> {
    fn new(agent: Agent, request: O) -> (Self, Inputs<O>, CancellationToken)
    where
        Agent: Run<O>,
    {
        let (events, heard) = mpsc::channel(EVENTS);
        let (told, inputs) = mpsc::unbounded_channel();
        let cancel = CancellationToken::new();
        let channel = Channel { events, inputs, cancel: cancel.clone() };
        let handler = Box::pin(agent.run(request, channel));
        (Self { handler, events: heard, answer: None }, told, cancel)
    }

    async fn next(&mut self) -> LineOf<O> {
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => return LineOf::<O>::Event(event),
                answer = &mut self.handler, if self.answer.is_none() => self.answer = Some(answer),
                else => break,
            }
        }
        match self.answer.take() {
            Some(Ok(response)) => LineOf::<O>::Result(response),
            Some(Err(error)) => LineOf::<O>::Error(error),
            None => LineOf::<O>::Error(Error::internal("the operation has ended already")),
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
