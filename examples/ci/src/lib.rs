//! Clones a repository, runs its build, and keeps what came out of it in R2.

use cabana::{
    Code, CreateSandbox, Egress, Error, Handle, Result,
    protocol::{
        exec::{Exec, Stderr},
        git::Clone,
        network::Network,
        session::Create,
    },
    random,
    request::{decode, read_body},
    respond,
};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use worker::{Context, Env, FixedLengthStream, Method, Request, Response, Url, event};

pub use cabana::Sandbox;

/// Where builds have their packages from.
const REGISTRIES: [&str; 5] = ["index.crates.io", "static.crates.io", "registry.npmjs.org", "pypi.org", "files.pythonhosted.org"];

/// What is built.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    repository: String,
    #[serde(default)]
    branch: Option<String>,
    /// The command that builds it.
    build: String,
    /// The directory that the build fills.
    output: String,
}

/// What came of it.
#[derive(Serialize)]
struct Report {
    run: String,
    exit: String,
    log: String,
    /// Where the output is, of a build that was successful.
    artifact: Option<String>,
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    // What leaves a sandbox comes here, to be judged by its rules.
    if let Some(egress) = Egress::from_context(&context) {
        return egress.answer(request, &env, &context, "SANDBOX").await;
    }
    respond(answer(request, env, context)).await
}

async fn answer(mut request: Request, env: Env, context: Context) -> Result<Response> {
    if request.method() == Method::Get {
        return artifact(request.path().trim_start_matches('/'), &env).await;
    }
    let job: Job = decode(&read_body(&mut request, 64 << 10).await?)?;
    let run = random::name();
    let sandbox = Sandbox::get(&env, &run)?.with(CreateSandbox {
        network: Some(network(&job)?),
        ephemeral: Some(true),
        max_lifetime_ms: Some(3_600_000),
        labels: [("run".to_owned(), run.clone())].into(),
        ..CreateSandbox::default()
    });
    let report = build(&sandbox, &job, run, &env).await;
    context.wait_until(async move { drop(sandbox.delete().await) });
    Ok(Response::from_json(&report?)?)
}

/// A build reaches its repository and the registries, and nothing else.
fn network(job: &Job) -> Result<Network> {
    let invalid = || Error::new(Code::InvalidRequest, "`repository` takes a URL that begins with http:// or https://");
    let url = Url::parse(&job.repository).map_err(|_| invalid())?;
    let host = url.host_str().ok_or_else(invalid)?;
    let repository = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let hosts = REGISTRIES.iter().copied().chain([repository.as_str()]);
    let allow = hosts.map(str::parse).collect::<Result<_, cabana::protocol::Error>>()?;
    Ok(Network { allow: Some(allow), ..Network::default() })
}

async fn build(sandbox: &Handle, job: &Job, run: String, env: &Env) -> Result<Report> {
    let path = Some("repository".into());
    let clone = Clone { path, branch: job.branch.clone(), depth: Some(1), ..Clone::new(&job.repository) };
    sandbox.call(clone).await?;
    // One shell for all steps, as a person would have it: what one step exports, the next one sees.
    let shell = sandbox.create_session(Create { cwd: Some("repository".to_owned()), ..Create::default() }).await?;
    let built = shell.exec(Exec { stderr: Some(Stderr::Stdout), ..job.build.as_str().into() }).await?;
    let exit = built.result.exit.map(|exit| exit.to_string()).unwrap_or_default();
    let mut report = Report { run, exit, log: built.stdout.to_string(), artifact: None };
    if built.result.success() {
        let packed = shell.exec(["tar", "-czf", "/workspace/output.tar.gz", "-C", &job.output, "."]).await?;
        if !packed.result.success() {
            return Err(Error::new(Code::Unprocessable, packed.stderr.to_string()));
        }
        let key = format!("{}/output.tar.gz", report.run);
        keep(sandbox, &key, env).await?;
        report.artifact = Some(format!("/{key}"));
    }
    Ok(report)
}

/// Stores the output. It streams from the sandbox into the bucket, which wants to know its length first.
async fn keep(sandbox: &Handle, key: &str, env: &Env) -> Result<()> {
    let output = sandbox.read("/workspace/output.tar.gz").await?;
    let unknown = || Error::new(Code::AgentUnavailable, "the output has no length");
    let length = output.length().ok_or_else(unknown)?;
    let pieces = output.into_stream()?.map_err(worker::Error::from);
    env.bucket("ARTIFACTS")?.put(key, FixedLengthStream::wrap(pieces, length)).execute().await?;
    Ok(())
}

/// An output, from the bucket.
async fn artifact(key: &str, env: &Env) -> Result<Response> {
    let missing = || Error::new(Code::NotFound, "there is no such artifact");
    let object = env.bucket("ARTIFACTS")?.get(key).execute().await?.ok_or_else(missing)?;
    let body = object.body().ok_or_else(missing)?;
    Ok(Response::from_body(body.response_body()?)?)
}
