//! The commands of the docker command line that wrangler runs.
//!
//! They use the engine whose socket `--host` or `DOCKER_HOST` (`unix://…`) names. `wrangler deploy --dry-run` needs no
//! engine: without one, `info` and `version` say so, `build` only checks the Dockerfile, and `image rm` does nothing.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Client, Reply};

mod arguments;
mod build;
mod containers;
mod images;
mod print;

pub use arguments::DockerCommand;
use arguments::{ContextVerb, ImageVerb, Verb};

/// Printed by commands that make an image elsewhere.
const NOTICE: &str = "cabana-engine: nothing is built or downloaded: \
sandboxes run this machine's own root file system, under this image's name.";

/// Runs a command.
pub async fn run(command: DockerCommand) -> Result<ExitCode> {
    let host = command.host.filter(|host| !host.is_empty());
    let engine = host.as_deref().map(client).transpose()?;
    let optional = engine.as_ref();
    match command.verb {
        Verb::Info(format) => print::print(&info(optional).await?, &format)?,
        Verb::Version(format) => print::print(&version(optional).await?, &format)?,
        Verb::Build(arguments) => build::build(optional, arguments).await?,
        Verb::Pull { image, .. } => images::pull(require_engine(optional)?, &image).await?,
        Verb::Tag { source, target } => images::tag(require_engine(optional)?, &source, &target).await?,
        Verb::Image(ImageVerb::Inspect { image, format }) => {
            images::inspect(require_engine(optional)?, &image, &format).await?;
        }
        Verb::Images(list) | Verb::Image(ImageVerb::Ls(list)) => images::list(optional, &list).await?,
        Verb::Image(ImageVerb::Rm { images, .. }) => images::remove(optional, &images).await?,
        Verb::Ps(list) => containers::list(require_engine(optional)?, &list).await?,
        Verb::Rm { containers, force, .. } => containers::remove(require_engine(optional)?, &containers, force).await?,
        Verb::Stop { containers } => containers::stop(require_engine(optional)?, &containers).await?,
        Verb::Context(ContextVerb::Ls(_)) => {
            let endpoint = host.unwrap_or_default();
            println!("{}", json!({ "Name": "cabana", "Current": true, "DockerEndpoint": endpoint }));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn client(host: &str) -> Result<Client> {
    let path = host.strip_prefix("unix://").with_context(|| format!("the engine answers on Unix sockets only, not on {host}"))?;
    Ok(Client::new(path))
}

fn require_engine(engine: Option<&Client>) -> Result<&Client> {
    engine.context("no engine is named: set DOCKER_HOST=unix://<socket of cabana-engine serve>")
}

async fn send(engine: &Client, method: Method, path: &str, body: impl Into<bytes::Bytes>) -> Result<Reply> {
    let reply = engine.send(method, path, body).await?;
    if reply.status.is_success() || reply.status.as_u16() == 304 {
        return Ok(reply);
    }
    bail!("{}", reply.message())
}

async fn info(engine: Option<&Client>) -> Result<Value> {
    match engine {
        Some(engine) => Ok(send(engine, Method::GET, "/info", "").await?.json()),
        None => Ok(json!({
            "Name": "cabana-engine",
            "ServerVersion": null,
            "SecurityOptions": [],
            "DriverStatus": [],
            "Warnings": ["no engine is named by DOCKER_HOST; images are checked, not registered"],
        })),
    }
}

async fn version(engine: Option<&Client>) -> Result<Value> {
    let server = match engine {
        Some(engine) => send(engine, Method::GET, "/version", "").await?.json(),
        None => Value::Null,
    };
    let client = json!({ "Version": env!("CARGO_PKG_VERSION") });
    Ok(json!({ "Client": client, "Server": server }))
}

fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
