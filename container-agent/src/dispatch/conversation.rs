//! A streaming operation while it runs: events out, inputs in, the response last.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use cabana_protocol::{Error, Fold, Streaming, line::LineOf};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Channel, Encoding, Pending, Run, Said, decode, encode, encoder::Encoder};
use crate::Agent;

/// Events that may wait for a slow client; the operation waits beyond that.
const EVENTS: usize = 4;

/// Inputs that may wait for an operation that does not take them; the client waits beyond that.
const INPUTS: usize = 16;

/// A running operation without its types.
pub struct Conversation {
    /// What it says, the end last. Dropping this ends the operation and whatever it started.
    pub said: Pin<Box<dyn Stream<Item = Said> + Send>>,
    /// Tells it something, in JSON; waits while it does not listen. Fails with `invalid_request`. Dropping this is the end of
    /// all inputs.
    pub tell: Tell,
    /// Asks for its end; the result still comes.
    pub cancel: CancellationToken,
}

/// Tells a running operation something.
pub type Tell = Arc<dyn Fn(&[u8]) -> Pending<Result<(), Error>> + Send + Sync>;

/// Starts an operation and leaves it to the caller to listen.
pub(super) fn start<O: Streaming>(agent: Agent, body: &[u8], encoding: Encoding) -> Result<Conversation, Error>
where
    Agent: Run<O>,
{
    let (talk, inputs, cancel) = Talk::<O>::new(agent, decode(body)?);
    let mut encoder = Encoder::new(encoding);
    let said = Box::pin(talk.lines().map(move |line| encoder.said::<O>(line)));
    Ok(Conversation { said, tell: Arc::new(move |input| tell::<O>(&inputs, input)), cancel })
}

/// Carries an operation out to its end and gathers what it says.
pub(super) fn fold<O: Streaming>(agent: Agent, body: Bytes) -> Pending<Result<Bytes, Error>>
where
    Agent: Run<O>,
{
    Box::pin(async move {
        let request: O = decode(&body)?;
        drop(body);
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
    })
}

fn tell<O: Streaming>(inputs: &mpsc::Sender<O::Input>, input: &[u8]) -> Pending<Result<(), Error>> {
    let (inputs, input) = (inputs.clone(), decode(input));
    Box::pin(async move {
        // An operation that has ended takes nothing more: its result is on the way.
        let _ = inputs.send(input?).await;
        Ok(())
    })
}

/// A conversation with its types: the handler's future and what it has said but nobody has heard.
struct Talk<O: Streaming> {
    handler: Pending<Result<O::Response, Error>>,
    events: mpsc::Receiver<O::Event>,
    /// The handler's answer, while events from before it are still to be heard.
    answer: Option<Result<O::Response, Error>>,
}

impl<O: Streaming> Talk<O> {
    fn new(agent: Agent, request: O) -> (Self, mpsc::Sender<O::Input>, CancellationToken)
    where
        Agent: Run<O>,
    {
        let (events, heard) = mpsc::channel(EVENTS);
        let (told, inputs) = mpsc::channel(INPUTS);
        let cancel = CancellationToken::new();
        let channel = Channel { events, inputs, cancel: cancel.clone() };
        let handler = Box::pin(async move { agent.run(request, channel).await });
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
