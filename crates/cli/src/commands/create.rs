//! `cabana create`.

use anyhow::Result;
use cabana_client::protocol::sandbox::{CreateSandbox, Instance, Origin, Root, Size, SnapshotId};
use clap::Args;

use crate::{
    command_line::{Assignment, Label, span},
    context::Context,
};

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The part of the id after the kind; drawn at random by default
    name: Option<String>,
    #[command(flatten)]
    settings: SandboxSettings,
}

/// How a new sandbox is set up.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SandboxSettings {
    /// The kind of sandbox, see `cabana kinds` [default: sbx]
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// A variable of all its commands; the value of NAME alone comes from this environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<Assignment>,
    /// What the sandbox is found by
    #[arg(short, long = "label", value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<Label>,
    /// The project that it is set up from
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// The size: lite, standard-1 to standard-4
    #[arg(long, value_parser = size)]
    pub(crate) instance: Option<Size>,
    /// Sleep after this time without activity, such as 10m
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) sleep_after: Option<u64>,
    /// Stay up until it is stopped
    #[arg(long)]
    pub(crate) keep_alive: bool,
    /// Destroy it this long after its creation, such as 8h
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) max_lifetime: Option<u64>,
    /// Do not keep its files when its container ends
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Begin with the files of this snapshot
    #[arg(long, value_name = "SNAPSHOT")]
    pub(crate) from: Option<SnapshotId>,
    /// A directory that file operations reach; may be given several times
    #[arg(long, value_name = "PATH")]
    pub(crate) root: Vec<String>,
}

fn size(text: &str) -> Result<Size, String> {
    let names = || Size::ALL.map(Size::as_str).join(", ");
    Size::ALL.into_iter().find(|size| size.as_str() == text).ok_or_else(|| format!("sizes are {}", names()))
}

impl SandboxSettings {
    pub(crate) fn request(&self, name: Option<String>) -> Result<CreateSandbox> {
        let roots: Vec<Root> =
            self.root.iter().map(|path| serde_json::from_value(path.as_str().into())).collect::<Result<_, _>>()?;
        Ok(CreateSandbox {
            name,
            kind: self.kind.clone(),
            env: self.env.iter().map(Assignment::pair).collect::<Result<_>>()?,
            project: self.project.as_deref().map(str::parse).transpose()?,
            instance: self.instance.map(Instance::Named),
            labels: self.labels.iter().map(Label::pair).collect(),
            sleep_after_ms: self.sleep_after,
            keep_alive: self.keep_alive.then_some(true),
            max_lifetime_ms: self.max_lifetime,
            ephemeral: self.ephemeral.then_some(true),
            from: self.from.clone().map(|snapshot| Origin { snapshot }),
            roots: (!roots.is_empty()).then_some(roots),
            ..CreateSandbox::default()
        })
    }
}

impl Create {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let sandbox = context.client()?.create(&self.settings.request(self.name)?).await?;
        context.output().show(&sandbox, |sandbox| sandbox.id.to_string())?;
        Ok(0)
    }
}
