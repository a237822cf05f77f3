//! The CLI face: what wrangler runs of the docker command line.
//!
//! It talks to the engine whose socket `--host` or `DOCKER_HOST` (`unix://…`) names. With neither, there is
//! no engine and none is needed: `info` and `version` say so, `build` checks the Dockerfile and keeps nothing,
//! `image rm` has nothing to remove. That is what `wrangler deploy --dry-run` needs, and all it gets.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::image::dockerfile;

mod template;

/// Said whenever somebody might believe that an image was made.
const NOTICE: &str = "cabana-engine: nothing is built or downloaded: \
sandboxes run this machine's own root file system, under this image's name.";

/// What wrangler runs of the docker command line.
#[derive(Args, Debug)]
pub struct DockerCommand {
    /// The engine's socket, `unix:///path`.
    #[arg(short = 'H', long, env = "DOCKER_HOST", global = true)]
    host: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Describe the engine.
    Info(Format),
    /// Print the versions of client and engine.
    Version(Format),
    /// Register an image under a tag.
    Build(Build),
    /// Register an image of this name.
    Pull {
        image: String,
        #[arg(long)]
        platform: Option<String>,
        #[arg(short, long)]
        quiet: bool,
    },
    /// Give an image a second name.
    Tag { source: String, target: String },
    /// List images.
    Images(List),
    /// List, inspect or remove images.
    #[command(subcommand)]
    Image(ImageVerb),
    /// List containers.
    Ps(List),
    /// Remove containers.
    Rm {
        containers: Vec<String>,
        #[arg(short, long)]
        force: bool,
        #[arg(short, long)]
        volumes: bool,
    },
    /// Stop containers.
    Stop { containers: Vec<String> },
    /// List contexts: there is one.
    #[command(subcommand)]
    Context(ContextVerb),
}

#[derive(Debug, Subcommand)]
enum ImageVerb {
    /// Show an image.
    Inspect {
        image: String,
        #[command(flatten)]
        format: Format,
    },
    /// List images.
    Ls(List),
    /// Remove an image's name.
    Rm {
        images: Vec<String>,
        #[arg(short, long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ContextVerb {
    /// List contexts.
    Ls(Format),
}

#[derive(Args, Debug)]
struct Format {
    /// `{{json .Field}}`, `{{ .Field }}`, `{{ len .Field }}` and text.
    #[arg(short, long)]
    format: Option<String>,
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    format: Format,
    /// Images: `reference=<pattern>`, where `*` may end the pattern. Containers: `label=…` or `name=…`.
    #[arg(long)]
    filter: Option<String>,
    #[arg(short, long)]
    all: bool,
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Args, Debug)]
struct Build {
    #[arg(short, long)]
    tag: String,
    /// Dockerfile; `-` reads it from standard input.
    #[arg(short, long)]
    file: Option<PathBuf>,
    #[arg(long)]
    build_arg: Vec<String>,
    #[arg(long)]
    load: bool,
    #[arg(long)]
    platform: Option<String>,
    #[arg(long)]
    provenance: Option<String>,
    #[arg(long)]
    network: Option<String>,
    /// The context; only looked at for a Dockerfile that `--file` does not name.
    context: PathBuf,
}

/// Carries a command out.
pub async fn run(command: DockerCommand) -> Result<ExitCode> {
    let host = command.host.filter(|host| !host.is_empty());
    let engine = host.as_deref().map(client).transpose()?;
    match command.verb {
        Verb::Info(format) => print(&info(engine.as_ref()).await?, &format)?,
        Verb::Version(format) => print(&version(engine.as_ref()).await?, &format)?,
        Verb::Build(arguments) => build(engine.as_ref(), arguments).await?,
        Verb::Pull { image, .. } => {
            eprintln!("{NOTICE}");
            let path = format!("/images/create?{}", query(&[("fromImage", &image)]));
            send(&needed(engine)?, Method::POST, &path, "").await?;
        }
        Verb::Tag { source, target } => {
            let path = format!("/images/{}/tag?{}", encode(&source), query(&[("repo", &target)]));
            send(&needed(engine)?, Method::POST, &path, "").await?;
        }
        Verb::Image(ImageVerb::Inspect { image, format }) => {
            let path = format!("/images/{}/json", encode(&image));
            let image = send(&needed(engine)?, Method::GET, &path, "").await?.json();
            match &format.format {
                Some(_) => print(&image, &format)?,
                None => print(&json!([image]), &format)?,
            }
        }
        Verb::Images(list) | Verb::Image(ImageVerb::Ls(list)) => {
            list_images(engine.as_ref(), &list).await?;
        }
        Verb::Image(ImageVerb::Rm { images, .. }) => remove_images(engine.as_ref(), &images).await?,
        Verb::Ps(list) => list_containers(&needed(engine)?, &list).await?,
        Verb::Rm { containers, force, .. } => {
            let engine = needed(engine)?;
            for container in containers {
                let path = format!("/containers/{}?force={force}", encode(&container));
                send(&engine, Method::DELETE, &path, "").await?;
                println!("{container}");
            }
        }
        Verb::Stop { containers } => {
            let engine = needed(engine)?;
            for container in containers {
                let path = format!("/containers/{}/stop", encode(&container));
                send(&engine, Method::POST, &path, "").await?;
                println!("{container}");
            }
        }
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

fn needed(engine: Option<Client>) -> Result<Client> {
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
            "Warnings": ["no engine is named by DOCKER_HOST; images are checked, not kept"],
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

async fn build(engine: Option<&Client>, build: Build) -> Result<()> {
    let text = read_dockerfile(&build)?;
    let arguments = build_arguments(&build.build_arg);
    let ports = dockerfile::exposed_ports(&text, &arguments)?;
    eprintln!("{NOTICE}");
    match engine {
        Some(engine) => {
            let arguments = serde_json::to_string(&arguments)?;
            let path = format!("/build?{}", query(&[("t", &build.tag), ("buildargs", &arguments)]));
            send(engine, Method::POST, &path, text).await?;
            eprintln!("cabana-engine: registered {} with ports {ports:?}", build.tag);
        }
        None => eprintln!("cabana-engine: no engine is named by DOCKER_HOST; the Dockerfile was checked, not kept"),
    }
    Ok(())
}

fn read_dockerfile(build: &Build) -> Result<String> {
    match &build.file {
        Some(path) if path.as_os_str() == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("the Dockerfile on standard input")?;
            Ok(text)
        }
        path => {
            let path = path.clone().unwrap_or_else(|| build.context.join("Dockerfile"));
            std::fs::read_to_string(&path).with_context(|| path.display().to_string())
        }
    }
}

/// `NAME=value`; a bare `NAME` takes its value from the environment, as docker does.
fn build_arguments(given: &[String]) -> BTreeMap<String, String> {
    given
        .iter()
        .filter_map(|argument| match argument.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => Some((argument.clone(), std::env::var(argument).ok()?)),
        })
        .collect()
}

async fn remove_images(engine: Option<&Client>, images: &[String]) -> Result<()> {
    let Some(engine) = engine else {
        eprintln!("cabana-engine: no engine is named by DOCKER_HOST; no image was kept that could be removed");
        return Ok(());
    };
    for image in images {
        let path = format!("/images/{}", encode(image));
        send(engine, Method::DELETE, &path, "").await?;
        println!("Untagged: {image}");
    }
    Ok(())
}

async fn list_images(engine: Option<&Client>, list: &List) -> Result<()> {
    let Some(engine) = engine else {
        return Ok(());
    };
    let images = send(engine, Method::GET, "/images/json", "").await?.json();
    let pattern = match list.filter.as_deref() {
        None => None,
        Some(filter) => {
            Some(filter.strip_prefix("reference=").with_context(|| format!("only reference=… filters images, not {filter:?}"))?)
        }
    };
    for image in images.as_array().into_iter().flatten() {
        let reference = image["RepoTags"][0].as_str().unwrap_or_default();
        let (repository, tag) = reference.rsplit_once(':').unwrap_or((reference, ""));
        if pattern.is_some_and(|pattern| !matches(pattern, repository)) {
            continue;
        }
        let row = json!({ "Repository": repository, "Tag": tag, "ID": image["Id"], "Size": image["Size"] });
        println!("{}", row_text(&row, &["Repository", "Tag", "ID"], list)?);
    }
    Ok(())
}

async fn list_containers(engine: &Client, list: &List) -> Result<()> {
    let filters = container_filters(list.filter.as_deref())?;
    let all = list.all.to_string();
    let path = format!("/containers/json?{}", query(&[("all", &all), ("filters", &filters)]));
    let containers = send(engine, Method::GET, &path, "").await?.json();
    for container in containers.as_array().into_iter().flatten() {
        let name = container["Names"][0].as_str().unwrap_or_default();
        let row = json!({
            "ID": container["Id"], "Names": name.trim_start_matches('/'),
            "Image": container["Image"], "Status": container["Status"],
        });
        println!("{}", row_text(&row, &["ID", "Image", "Status", "Names"], list)?);
    }
    Ok(())
}

/// `label=name=value` or `name=part`, as the engine reads it.
fn container_filters(filter: Option<&str>) -> Result<String> {
    let Some(filter) = filter else {
        return Ok(String::new());
    };
    let (kind, value) = filter.split_once('=').with_context(|| format!("the filter {filter:?} has no value"))?;
    Ok(json!({ kind: [value] }).to_string())
}

/// One line of a list: as its format says, only the id, or the columns.
fn row_text(row: &Value, columns: &[&str], list: &List) -> Result<String> {
    if list.quiet {
        return Ok(row["ID"].as_str().unwrap_or_default().to_owned());
    }
    if let Some(format) = &list.format.format {
        return template::render(format, row);
    }
    let cells = columns.iter().map(|column| row[column].as_str().unwrap_or_default());
    Ok(cells.collect::<Vec<_>>().join("\t"))
}

/// Docker's `reference` filter, as far as wrangler uses it: a literal, or a prefix before `*`.
fn matches(pattern: &str, repository: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => repository.starts_with(prefix),
        None => repository == pattern,
    }
}

fn print(value: &Value, format: &Format) -> Result<()> {
    match format.format.as_deref() {
        None => println!("{value:#}"),
        Some("json") => println!("{value}"),
        Some(format) => println!("{}", template::render(format, value)?),
    }
    Ok(())
}

fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
