//! Running code: contexts whose kernels, programs of Jupyter, run one cell after the other.
//!
//! Nothing here executes code. A kernel is a process of the agent's like a command, and is spoken to by Jupyter's messaging protocol over
//! ZeroMQ's framing. Each context is owned by one task ([`owner`]); other tasks read what the kernel sends.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`contexts`] | all contexts: creating and finding |
//! | [`context`] | a context, as everybody but its owner sees it |
//! | [`owner`] | the task that owns one: cells, interrupts, restarts |
//! | [`progress`] | how far a cell is |
//! | [`starter`] | where kernels come from |
//! | [`pool`] | kernels that wait for the next context |
//! | [`kernel`] | a kernel: its process and its sockets |
//! | [`kernelspec`] | which kernels are installed |
//! | [`connection`] | where a kernel and the agent meet |
//! | [`zmtp`] | ZeroMQ's framing |
//! | [`message`] | signed messages |
//! | [`content`] | what is in them |
//! | [`publication`] | reads what a kernel publishes |
//! | [`large_text`] | reads a text while it comes |
//! | [`router`] | whose output is whose |
//! | [`output`] | output on its way to callers |
//! | [`history`] | what a context's cells have shown |
//! | [`prelude`] | a cell's settings as code |

mod connection;
mod content;
mod context;
mod contexts;
mod history;
mod kernel;
mod kernelspec;
mod large_text;
mod message;
mod output;
mod owner;
mod pool;
mod prelude;
mod progress;
mod publication;
mod router;
mod starter;
mod zmtp;

pub use contexts::Contexts;

use std::{sync::Arc, time::Duration};

use cabana_protocol::{
    Code, Error,
    code::{
        self, Complete, Completions, Create, Delete, Export, Inspect, Inspection, Interrupt, Interrupted, List, MAX_CODE_BYTES,
        Notebook, Restart, RunEvent, RunInput, RunResult,
    },
    exec::{DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS},
    file::Done,
    names::invalid_field,
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    Agent,
    dispatch::{Channel, Handle, ReceivedInput, Run},
    process::command,
    threads::{self, Length},
};
use context::{Command, RunningCell};
use kernelspec::KernelSpec;

/// How long a kernel may take to answer what is no cell.
const ASK_LIMIT: Duration = Duration::from_secs(60);

/// Most completions of one answer.
const MAX_MATCHES: usize = 1_000;

impl Handle<Create> for Agent {
    async fn handle(&self, request: Create) -> Result<code::Context, Error> {
        Ok(self.contexts.create(request).await?.describe())
    }
}

impl Handle<List> for Agent {
    async fn handle(&self, _: List) -> Result<code::Contexts, Error> {
        let contexts = self.contexts.list().iter().map(|context| context.describe()).collect();
        let processes = Arc::clone(&self.processes);
        let kernels = threads::run(Length::Short, move || {
            let user = command::user(&processes, None)?;
            let specs = KernelSpec::list(&processes.variables().base(user.as_ref(), false));
            Ok::<_, Error>(specs.into_iter().map(|spec| spec.name).collect())
        });
        Ok(code::Contexts { contexts, kernels: kernels.await?? })
    }
}

impl Handle<Interrupt> for Agent {
    async fn handle(&self, request: Interrupt) -> Result<Interrupted, Error> {
        let running = self.contexts.find(&request.context)?.ask(Command::Interrupt).await?;
        Ok(Interrupted { running })
    }
}

impl Handle<Restart> for Agent {
    async fn handle(&self, request: Restart) -> Result<code::Context, Error> {
        let context = self.contexts.find(&request.context)?;
        context.ask(Command::Restart).await?;
        Ok(context.describe())
    }
}

impl Handle<Delete> for Agent {
    async fn handle(&self, request: Delete) -> Result<Done, Error> {
        self.contexts.find(&request.context)?.end().await;
        Ok(Done {})
    }
}

impl Handle<Complete> for Agent {
    async fn handle(&self, request: Complete) -> Result<Completions, Error> {
        let Complete { context, code, cursor } = request;
        let cursor = place(&code, cursor)?;
        let content = json!({ "code": code, "cursor_pos": cursor });
        let reply = self.ask_kernel(&context, "complete_request", content).await?;
        let matches = reply["matches"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let number = |name: &str| reply[name].as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(cursor);
        Ok(Completions {
            matches: matches.take(MAX_MATCHES).map(str::to_owned).collect(),
            cursor_start: number("cursor_start"),
            cursor_end: number("cursor_end"),
        })
    }
}

impl Handle<Inspect> for Agent {
    async fn handle(&self, request: Inspect) -> Result<Inspection, Error> {
        let Inspect { context, code, cursor, detail } = request;
        let content = json!({ "code": code, "cursor_pos": place(&code, cursor)?, "detail_level": u8::from(detail) });
        let reply = self.ask_kernel(&context, "inspect_request", content).await?;
        let mut data = serde_json::from_value(reply["data"].clone()).unwrap_or_default();
        content::strip_text(&mut data);
        Ok(Inspection { found: reply["found"] == true, data })
    }
}

impl Handle<Export> for Agent {
    async fn handle(&self, request: Export) -> Result<Notebook, Error> {
        Ok(self.contexts.find(&request.context)?.notebook())
    }
}

impl Run<code::Run> for Agent {
    fn run(self, request: code::Run, channel: Channel<code::Run>) -> impl Future<Output = Result<RunResult, Error>> + Send {
        // Before the first poll, so that cells keep the order in which they came.
        let cell = self.enqueue(request, &channel);
        async move { relay(cell?, channel).await }
    }
}

impl Agent {
    fn enqueue(&self, request: code::Run, channel: &Channel<code::Run>) -> Result<RunningCell, Error> {
        check_code(&request.code)?;
        if request.timeout_ms.is_some_and(|timeout| !(1..=MAX_TIMEOUT_MS).contains(&timeout)) {
            return Err(invalid_field("timeout_ms", &format!("a whole number from 1 to {MAX_TIMEOUT_MS}")));
        }
        command::environment(std::collections::BTreeMap::new(), &request.env)?;
        if request.cwd.as_ref().is_some_and(|cwd| cwd.contains('\0')) {
            return Err(invalid_field("cwd", "no NUL byte"));
        }
        let chosen = self.contexts.choose(&request)?;
        let timeout = Duration::from_millis(request.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS));
        chosen.context.enqueue(request.code, timeout, chosen.settings, chosen.created, channel.takes_inputs, &channel.cancel)
    }

    /// Asks a context's kernel something that is no cell.
    ///
    /// Fails with `timeout` where it does not answer.
    async fn ask_kernel(&self, context: &str, kind: &'static str, content: Value) -> Result<Value, Error> {
        let context = self.contexts.find(context)?;
        let asked = timeout(ASK_LIMIT, context.ask(|answer| Command::Ask(kind, content, answer)));
        asked.await.unwrap_or_else(|_| {
            let message =
                format!("the kernel of context {:?} is busy and does not answer; try again when its cell has ended", context.id);
            Err(Error::new(Code::Timeout, message))
        })
    }
}

/// Passes on what a cell shows, and to it what its caller answers, until it has ended.
async fn relay(cell: RunningCell, channel: Channel<code::Run>) -> Result<RunResult, Error> {
    let Channel { events, mut inputs, .. } = channel;
    let RunningCell { mut outlet, replies, mut answer, .. } = cell;
    let showing = async {
        while let Some(pending) = outlet.recv().await {
            show(&events, pending.event).await?;
        }
        Ok(())
    };
    let replying = async {
        while let Some(ReceivedInput { input: RunInput::Reply { text }, .. }) = inputs.recv().await {
            // Fails where the cell has ended.
            let _ = replies.send(text).await;
        }
        drop(replies);
        std::future::pending::<()>().await;
    };
    let answered = async {
        tokio::select! {
            answer = &mut answer => answer,
            () = replying => unreachable!("it never ends"),
        }
    };
    let (answer, shown) = tokio::join!(answered, showing);
    shown.and(answer.unwrap_or_else(|_| Err(Error::new(Code::Gone, "the context has ended").because("ended"))))
}

async fn show(events: &mpsc::Sender<RunEvent>, event: RunEvent) -> Result<(), Error> {
    events.send(event).await.map_err(|_| Error::internal("the client has disconnected"))
}

fn check_code(code: &str) -> Result<(), Error> {
    if code.len() <= MAX_CODE_BYTES {
        return Ok(());
    }
    let message = format!("a cell has at most {MAX_CODE_BYTES} bytes, and this one has {}", code.len());
    Err(Error::new(Code::PayloadTooLarge, message).with_details(json!({ "limit_bytes": MAX_CODE_BYTES })))
}

/// A place in code, in characters.
///
/// Fails with `payload_too_large` and `invalid_request`.
fn place(code: &str, cursor: Option<u32>) -> Result<u32, Error> {
    check_code(code)?;
    let end = u32::try_from(code.chars().count()).map_err(|error| Error::internal(error.to_string()))?;
    match cursor {
        Some(cursor) if cursor > end => Err(invalid_field("cursor", &format!("a place in the code, at most {end}"))),
        cursor => Ok(cursor.unwrap_or(end)),
    }
}
