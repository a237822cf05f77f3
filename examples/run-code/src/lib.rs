//! Runs a snippet that nobody has looked at, in a sandbox of its own that is gone afterwards.

use cabana::{
    CreateSandbox, Result,
    protocol::{
        exec::{Exec, Stdin},
        network::Network,
    },
    random,
    request::read_body,
    respond,
};
use worker::{Context, Env, Request, Response, event};

pub use cabana::Sandbox;

/// The longest snippet, in bytes.
const MAX_BYTES: usize = 64 << 10;

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    respond(answer(request, env, context)).await
}

async fn answer(mut request: Request, env: Env, context: Context) -> Result<Response> {
    let snippet = read_body(&mut request, MAX_BYTES).await?;
    let sandbox = Sandbox::get(&env, &random::name())?.with(CreateSandbox {
        // Nothing is saved, nothing is reached, and a minute later it is gone even if this Worker is not there to delete it.
        ephemeral: Some(true),
        network: Some(Network { internet: Some(false), ..Network::default() }),
        max_lifetime_ms: Some(60_000),
        ..CreateSandbox::default()
    });
    let python = Exec {
        stdin: Some(Stdin::Bytes(snippet.into())),
        timeout_ms: Some(10_000),
        max_output_bytes: Some(64 << 10),
        ..Exec::new(["python3", "-"])
    };
    let output = sandbox.exec(python).await;
    // The answer need not wait for the container's end.
    context.wait_until(async move {
        if let Err(error) = sandbox.delete().await {
            worker::console_error!("{} is left: {error}", sandbox.id());
        }
    });
    Ok(Response::from_json(&output?)?)
}
