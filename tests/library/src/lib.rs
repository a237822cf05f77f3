//! Cases of the library for Workers. They run where it runs, in a Worker: `GET /` names them, and `GET /<case>` runs one.

mod files;
mod hooks;
mod life;
mod programs;
mod streams;

use std::time::Duration;

use cabana::{Code, Error, Handle, Result, protocol::process::List, respond};
use futures_util::future::LocalBoxFuture;
use worker::{Context, Delay, Env, Request, Response, event};

pub use cabana::Sandbox;
pub use hooks::NotingSandbox;

/// A case: it fails with what is not as it should be.
type Case = for<'a> fn(&'a Env) -> LocalBoxFuture<'a, Result<()>>;

macro_rules! cases {
    ($($module:ident: [$($case:ident),* $(,)?]),* $(,)?) => {
        /// Every case, by name.
        const CASES: &[(&str, Case)] = &[$($((stringify!($case), |env| Box::pin($module::$case(env))),)*)*];
    };
}

cases! {
    streams: [
        events_come_before_the_result,
        a_running_command_takes_input,
        a_cancelled_command_says_so,
        a_dropped_stream_ends_its_command,
        a_dropped_call_ends_its_command,
        a_failed_start_is_the_streams_error,
        output_is_the_fold_of_the_events_that_are_left,
        a_command_reads_what_it_is_fed,
        a_command_reads_what_is_typed,
        a_cell_is_answered,
        an_interaction_ends_what_it_started,
    ],
    files: [
        content_of_any_size_goes_there_and_back,
        a_file_that_has_changed_is_not_continued,
        a_tree_moves_from_one_sandbox_to_another,
    ],
    programs: [
        a_program_is_waited_for_asked_and_killed,
        a_process_that_ends_first_is_a_conflict,
        a_session_keeps_its_state,
        a_context_keeps_its_variables,
        a_socket_is_handed_over,
        ports_are_exposed_and_hidden,
    ],
    life: [
        a_sandbox_is_made_on_first_use,
        settings_of_a_sandbox_that_is_there_stay,
        a_sandbox_is_not_made_by_what_needs_it,
        settings_that_cannot_be_are_refused,
        a_snapshot_is_forked,
        a_deleted_sandbox_is_made_anew,
    ],
    hooks: [
        hooks_run_when_a_sandbox_starts_and_stops,
        variables_of_a_class_are_below_those_of_its_sandboxes,
    ],
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, _: Context) -> worker::Result<Response> {
    respond(answer(request, env)).await
}

async fn answer(request: Request, env: Env) -> Result<Response> {
    let path = request.path();
    let name = path.trim_matches('/');
    if name.is_empty() {
        return Ok(Response::from_json(&CASES.iter().map(|(name, _)| name).collect::<Vec<_>>())?);
    }
    let missing = || Error::new(Code::NotFound, format!("there is no case {name}"));
    let (_, case) = CASES.iter().find(|(known, _)| *known == name).ok_or_else(missing)?;
    case(&env).await?;
    Ok(Response::ok("passed")?)
}

/// Fails with what is not as it should be; not `internal`, whose message is kept back.
fn check(holds: bool, what: impl std::fmt::Debug) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::new(Code::Unprocessable, format!("{what:?}"))) }
}

/// The error of a call that must fail.
async fn failure<T: std::fmt::Debug>(call: impl Future<Output = Result<T>>) -> Result<Error> {
    match call.await {
        Err(error) => Ok(error),
        Ok(answer) => Err(Error::new(Code::Unprocessable, format!("it succeeded: {answer:?}"))),
    }
}

/// A sandbox that no other case has.
fn sandbox(env: &Env, case: &str) -> Result<Handle> {
    sandbox_of_kind(env, "sbx", case)
}

fn sandbox_of_kind(env: &Env, kind: &str, case: &str) -> Result<Handle> {
    Sandbox::get(env, &format!("{kind}-{case}-{}", &cabana::random::name()[..8]))
}

/// Waits until nothing runs in a sandbox.
async fn until_idle(sandbox: &Handle) -> Result<()> {
    for _ in 0..300 {
        let all = sandbox.call(List::default()).await?;
        if all.processes.iter().all(|process| process.exit.is_some()) {
            return Ok(());
        }
        Delay::from(Duration::from_millis(100)).await;
    }
    Err(Error::new(Code::Timeout, "something still runs"))
}
