//! The docker command line as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The commands of the docker command line that wrangler runs.
#[derive(Args, Debug)]
pub struct DockerCommand {
    /// The engine's socket, `unix:///path`.
    #[arg(short = 'H', long, env = "DOCKER_HOST", global = true)]
    pub(super) host: Option<String>,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
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
pub(super) enum ImageVerb {
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
pub(super) enum ContextVerb {
    /// List contexts.
    Ls(Format),
}

#[derive(Args, Debug)]
pub(super) struct Format {
    /// `{{json .Field}}`, `{{ .Field }}`, `{{ len .Field }}` and text.
    #[arg(short, long)]
    pub(super) format: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    pub(super) format: Format,
    /// Images: `reference=<pattern>`, where `*` may end the pattern. Containers: `label=…` or `name=…`.
    #[arg(long)]
    pub(super) filter: Option<String>,
    #[arg(short, long)]
    pub(super) all: bool,
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[derive(Args, Debug)]
pub(super) struct Build {
    #[arg(short, long)]
    pub(super) tag: String,
    /// Dockerfile; `-` reads it from standard input.
    #[arg(short, long)]
    pub(super) file: Option<PathBuf>,
    #[arg(long)]
    pub(super) build_arg: Vec<String>,
    #[arg(long)]
    pub(super) load: bool,
    #[arg(long)]
    pub(super) platform: Option<String>,
    #[arg(long)]
    pub(super) provenance: Option<String>,
    #[arg(long)]
    pub(super) network: Option<String>,
    /// The context; it is only read for a Dockerfile that `--file` does not name.
    pub(super) context: PathBuf,
}
