//! Runs one command in a sandbox, and answers what it prints.

use cabana::{Result, respond};
use worker::{Context, Env, Request, Response, event};

/// The Durable Object class that wrangler.jsonc names.
pub use cabana::Sandbox;

#[event(fetch)]
async fn fetch(_: Request, env: Env, _: Context) -> worker::Result<Response> {
    respond(answer(env)).await
}

async fn answer(env: Env) -> Result<Response> {
    let output = Sandbox::get(&env, "my-id")?.exec("python3 -c 'print(2 + 2)'").await?;
    Ok(Response::ok(output.stdout.to_string())?)
}
