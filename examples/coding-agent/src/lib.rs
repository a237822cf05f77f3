//! Has a coding agent work on a repository, and answers with what it has changed.

use cabana::{
    Code, CreateSandbox, Egress, Error, Handle, Result,
    protocol::{
        exec::Exec,
        git::Clone,
        network::{Network, NetworkSecret},
    },
    random,
    request::{decode, read_body},
    respond, variable,
};
use serde::Deserialize;
use worker::{Context, Env, Request, Response, Url, event};

pub use cabana::Sandbox;

/// How long the agent may work, in milliseconds.
const TIMEOUT_MS: u64 = 30 * 60_000;

/// What is to be done.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    repository: String,
    task: String,
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    // What leaves the sandbox comes here: it is judged by the rules below, and gets the key.
    if let Some(egress) = Egress::from_context(&context) {
        return egress.answer(request, &env, &context, "SANDBOX").await;
    }
    respond(answer(request, env, context)).await
}

async fn answer(mut request: Request, env: Env, context: Context) -> Result<Response> {
    let job: Job = decode(&read_body(&mut request, 64 << 10).await?)?;
    let sandbox = Sandbox::get(&env, &random::name())?.with(CreateSandbox {
        network: Some(network(&job, &env)?),
        ephemeral: Some(true),
        max_lifetime_ms: Some(2 * TIMEOUT_MS),
        ..CreateSandbox::default()
    });
    let diff = work(&sandbox, &job, &env).await;
    context.wait_until(async move { drop(sandbox.delete().await) });
    Ok(Response::ok(diff?)?)
}

/// The agent reaches the repository, the model, and the registry that it is installed from. Nothing else.
fn network(job: &Job, env: &Env) -> Result<Network> {
    let invalid = || Error::new(Code::InvalidRequest, "`repository` takes a URL that begins with http:// or https://");
    let url = Url::parse(&job.repository).map_err(|_| invalid())?;
    let host = url.host_str().ok_or_else(invalid)?;
    let unset = || Error::new(Code::Unavailable, "set the variable MODEL_HOST");
    let model = variable(env, "MODEL_HOST").ok_or_else(unset)?;
    let repository = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    Ok(Network {
        allow: Some(vec![repository.parse()?, format!("POST {model}").parse()?, "GET registry.npmjs.org".parse()?]),
        secrets: vec![NetworkSecret {
            host: model,
            methods: None,
            paths: None,
            header: "x-api-key".to_owned(),
            scheme: None,
            secret: "worker:anthropic".parse()?,
        }],
        ..Network::default()
    })
}

async fn work(sandbox: &Handle, job: &Job, env: &Env) -> Result<String> {
    sandbox.call(Clone { path: Some("repository".into()), ..Clone::new(&job.repository) }).await?;
    let command = variable(env, "AGENT_COMMAND").unwrap_or_default();
    let agent = Exec {
        cwd: Some("repository".to_owned()),
        timeout_ms: Some(TIMEOUT_MS),
        // The agent wants a key to be there; the true one is added outside.
        env: [("TASK", job.task.as_str()), ("ANTHROPIC_API_KEY", "outside-the-sandbox")]
            .map(|(name, value)| (name.to_owned(), Some(value.to_owned())))
            .into(),
        ..command.into()
    };
    let worked = sandbox.exec(agent).await?;
    if !worked.result.success() {
        return Err(Error::new(Code::Unprocessable, format!("the agent has failed: {}{}", worked.stdout, worked.stderr)));
    }
    // New files, too.
    sandbox.exec("git -C repository add --all").await?;
    Ok(sandbox.exec("git -C repository diff --cached").await?.stdout.to_string())
}
