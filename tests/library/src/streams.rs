//! Streams: events, inputs, ends.

use std::time::Duration;

use cabana::{
    Body, Code, Result,
    protocol::{
        code,
        exec::{Exec, ExecEvent, ExecInput, Exit, Stdin},
        process::List,
    },
};
use futures_util::{StreamExt, TryStreamExt, future, pin_mut, stream};
use worker::{Delay, Env};

use crate::{check, failure, sandbox, until_idle};

pub(crate) async fn events_come_before_the_result(env: &Env) -> Result<()> {
    let mut running = sandbox(env, "events")?.stream(Exec::new("printf a; printf b >&2; exit 3")).await?;
    let events: Vec<_> = running.events().try_collect().await?;
    check(matches!(events[0], ExecEvent::Started { .. }) && running.process().is_some(), &events)?;
    check(events.iter().any(|event| matches!(event, ExecEvent::Stderr { bytes, .. } if bytes.0 == "b")), &events)?;
    check(running.position() == Some(2), running.position())?;
    let result = running.result().await?;
    check(result.exit == Some(Exit::Exited { code: 3 }), result)
}

pub(crate) async fn a_running_command_takes_input(env: &Env) -> Result<()> {
    let stdin = Some(Stdin::Live { stream: true });
    let process = sandbox(env, "input")?.spawn(Exec { stdin, ..Exec::new("cat; echo end") }).await?;
    let mut running = process.attach(0).await?;
    let early = failure(running.input(ExecInput::Eof)).await?;
    check(early.code == Code::Conflict, early)?;
    running.next().await?;
    running.input(ExecInput::Stdin { bytes: "typed\n".into() }).await?;
    running.input(ExecInput::Eof).await?;
    let output = running.output().await?;
    check(output.stdout.0 == "typed\nend\n", output)
}

pub(crate) async fn a_cancelled_command_says_so(env: &Env) -> Result<()> {
    let mut running = sandbox(env, "cancel")?.stream(Exec::new("sleep 1000")).await?;
    running.next().await?;
    running.cancel().await?;
    let result = running.result().await?;
    check(result.exit == Some(Exit::Cancelled), result)
}

pub(crate) async fn a_dropped_stream_ends_its_command(env: &Env) -> Result<()> {
    let sandbox = sandbox(env, "dropped")?;
    let mut running = sandbox.stream(Exec::new("sleep 1000")).await?;
    running.next().await?;
    drop(running);
    until_idle(&sandbox).await
}

pub(crate) async fn a_dropped_call_ends_its_command(env: &Env) -> Result<()> {
    let sandbox = sandbox(env, "given-up")?;
    sandbox.start().await?;
    {
        let call = sandbox.exec("sleep 1000");
        let begun = async {
            while sandbox.call(List::default()).await?.processes.is_empty() {
                Delay::from(Duration::from_millis(20)).await;
            }
            Ok::<_, cabana::Error>(())
        };
        pin_mut!(call, begun);
        match future::select(call, begun).await {
            future::Either::Left((answer, _)) => check(false, answer)?,
            future::Either::Right((begun, _)) => begun?,
        }
    }
    until_idle(&sandbox).await
}

pub(crate) async fn a_failed_start_is_the_streams_error(env: &Env) -> Result<()> {
    let missing = Exec { cwd: Some("nowhere".to_owned()), ..Exec::new("true") };
    let started = sandbox(env, "failed")?.stream(missing).await;
    let error = match started {
        Ok(running) => failure(running.result()).await?,
        Err(error) => error,
    };
    check(error.code == Code::NotFound, error)
}

pub(crate) async fn output_is_the_fold_of_the_events_that_are_left(env: &Env) -> Result<()> {
    let running = sandbox(env, "fold")?.stream(Exec::new("seq 3")).await?;
    let output = running.output().await?;
    check(output.stdout.to_string() == "1\n2\n3\n" && output.result.success(), output)
}

pub(crate) async fn a_command_reads_what_it_is_fed(env: &Env) -> Result<()> {
    let sandbox = sandbox(env, "fed")?;
    let pieces = stream::iter(0..64u8).map(|number| Ok(vec![number; 64 << 10]));
    let counted = sandbox.feed("wc -c; exit 3", Body::stream(pieces)).await?.output().await?;
    check(counted.stdout.to_string().trim() == "4194304", &counted)?;
    check(counted.result.exit == Some(Exit::Exited { code: 3 }), &counted)?;
    // A program by its name alone is no script, and content goes from one sandbox to the next.
    let copied = sandbox.feed(Exec { cwd: Some("/".to_owned()), ..Exec::new(["cat"]) }, "caf\u{e9}").await?.output().await?;
    check(copied.stdout.0 == "caf\u{e9}", &copied)?;
    let error = failure(sandbox.feed(Exec { stdin: Some(Stdin::Live { stream: true }), ..Exec::new("cat") }, "x")).await?;
    check(error.code == Code::UnsupportedMediaType, error)
}

pub(crate) async fn a_command_reads_what_is_typed(env: &Env) -> Result<()> {
    let stdin = Some(Stdin::Live { stream: true });
    let mut running = sandbox(env, "typed")?.interact(Exec { stdin, ..Exec::new("read line; echo got $line; cat") }).await?;
    running.input(&ExecInput::Stdin { bytes: "first\n".into() })?;
    loop {
        match running.next().await? {
            Some(ExecEvent::Stdout { bytes, .. }) if bytes.0 == "got first\n" => break,
            Some(ExecEvent::Started { .. }) => {}
            other => return check(false, other),
        }
    }
    running.input(&ExecInput::Stdin { bytes: "rest".into() })?;
    running.input(&ExecInput::Eof)?;
    let output = running.output().await?;
    check(output.stdout.0 == "rest" && output.result.success(), output)
}

pub(crate) async fn a_cell_is_answered(env: &Env) -> Result<()> {
    let sandbox = sandbox(env, "answered")?;
    let context = sandbox.create_context(code::Create::default()).await?;
    let cell = code::Run::new("name = input('who? '); f'hello {name}'");
    let mut cell = sandbox.interact(code::Run { context: Some(context.id().to_owned()), ..cell }).await?;
    loop {
        match cell.next().await? {
            Some(code::RunEvent::InputRequest { prompt, .. }) => {
                check(prompt == "who? ", prompt)?;
                break;
            }
            Some(_) => {}
            None => return check(false, "the cell has ended"),
        }
    }
    cell.input(&code::RunInput::Reply { text: "Ada".to_owned() })?;
    let output = cell.output().await?;
    check(output.text.as_deref() == Some("'hello Ada'"), output)
}

pub(crate) async fn an_interaction_ends_what_it_started(env: &Env) -> Result<()> {
    let sandbox = sandbox(env, "interaction")?;
    let mut running = sandbox.interact(Exec::new("sleep 1000")).await?;
    running.next().await?;
    running.cancel()?;
    check(running.result().await?.exit == Some(Exit::Cancelled), "the exit")?;
    let mut dropped = sandbox.interact(Exec::new("sleep 1000")).await?;
    dropped.next().await?;
    drop(dropped);
    until_idle(&sandbox).await?;
    let missing = Exec { cwd: Some("nowhere".to_owned()), ..Exec::new("true") };
    let error = failure(sandbox.interact(missing).await?.result()).await?;
    check(error.code == Code::NotFound, error)
}
