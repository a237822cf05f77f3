//! `cabana cp`.

mod download;
mod location;
mod progress;
mod pull;
mod push;
mod retry;
mod upload;

use std::{ffi::OsString, os::unix::ffi::OsStrExt, path::Path};

use anyhow::{Result, bail};
use cabana_client::{
    Sandbox,
    protocol::{
        Code,
        file::{FilePath, Kind, Stat},
    },
};
use clap::Args;

use crate::context::Context;
use location::Location;
use progress::Progress;

/// Copies files and directories into a sandbox or out of it.
///
/// A place in a sandbox is ID:PATH, where relative paths begin in its first root. `-` is stdin or stdout; a directory goes there as a tar
/// archive. Symlinks are copied as such, and modes and times are kept. A local path with a colon begins with `./`.
///
/// A copy of a file appears whole, in place of what had its name. A broken connection is made again, and the copy goes on where it was.
#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// What is copied
    #[arg(value_name = "FROM")]
    from: OsString,
    /// Where it goes: into a directory that exists, or under this name
    #[arg(value_name = "TO")]
    to: OsString,
}

impl Copy {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let progress = Progress::new(context.json());
        match (Location::parse(&self.from)?, Location::parse(&self.to)?) {
            (Location::Local(from), Location::Remote(id, to)) => push::push(&context.sandbox(&id)?, &from, &to, &progress).await,
            (Location::Standard, Location::Remote(id, to)) => upload::stdin(&context.sandbox(&id)?, &to, &progress).await,
            (Location::Remote(id, from), Location::Local(to)) => pull::pull(&context.sandbox(&id)?, &from, &to, &progress).await,
            (Location::Remote(id, from), Location::Standard) => pull::stdout_of(&context.sandbox(&id)?, &from).await,
            (Location::Remote(..), Location::Remote(..)) => {
                bail!("one of the two is a local path or -: copy through this machine")
            }
            _ => bail!("one of the two is ID:PATH"),
        }?;
        progress.finish();
        Ok(0)
    }
}

/// What a path of a sandbox names, following a symlink at its end; `None` where nothing has the name.
async fn kind_of(sandbox: &Sandbox, path: &FilePath) -> Result<Option<Kind>> {
    let stat = async |path: FilePath| match sandbox.call(Stat { path, session: None }).await {
        Ok(metadata) => Ok(Some(metadata.kind)),
        Err(error) if matches!(error.code(), Some(Code::NotFound | Code::Conflict)) => Ok(None),
        Err(error) => Err(error),
    };
    let kind = stat(path.clone()).await?;
    if kind != Some(Kind::Symlink) {
        return Ok(kind);
    }
    // A slash at its end says that a path names a directory.
    let directory = stat([path.as_bytes(), b"/"].concat().into()).await?;
    Ok(directory.or(Some(Kind::File)))
}

/// The path below a directory.
fn join(directory: &FilePath, name: &[u8]) -> FilePath {
    let base = directory.as_bytes();
    let separator: &[u8] = if base.is_empty() || base.ends_with(b"/") { b"" } else { b"/" };
    [base, separator, name].concat().into()
}

/// The last part of a path; none of `..` and `/`.
fn name_of(path: &Path) -> Option<&[u8]> {
    path.file_name().map(|name| name.as_bytes())
}
