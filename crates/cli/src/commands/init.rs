//! `cabana init`: a Worker with sandboxes in an empty folder.

mod files;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, builder::PossibleValuesParser};
use serde::Serialize;

use self::files::{EXAMPLES, Source};
use crate::context::Context;

/// What may be in a folder that counts as empty.
const IGNORED: &str = ".git";

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The example to begin with
    #[arg(default_value = "hello", value_parser = PossibleValuesParser::new(EXAMPLES.iter().map(|example| example.name)))]
    example: String,
    /// The folder, which is made, or is empty
    #[arg(long, short = 'C', default_value = ".", value_name = "FOLDER")]
    directory: PathBuf,
    /// Take the library and the agent from this git repository, in place of crates.io
    #[arg(long, value_name = "URL", conflicts_with = "path")]
    git: Option<String>,
    /// Take the library and the images from this checkout of Cabana
    #[arg(long, value_name = "CHECKOUT")]
    path: Option<PathBuf>,
}

/// What was written.
#[derive(Serialize)]
struct Written {
    example: String,
    directory: PathBuf,
    files: Vec<String>,
}

impl Init {
    pub(crate) fn run(&self, context: &Context) -> Result<u8> {
        let source = match (&self.git, &self.path) {
            (Some(url), _) => Source::Git(url.clone()),
            (None, Some(checkout)) => Source::checkout(checkout)?,
            (None, None) => Source::Version(env!("CARGO_PKG_VERSION")),
        };
        let example = EXAMPLES.iter().find(|example| example.name == self.example).context("there is no such example")?;
        let files = example.files(&source)?;
        self.require_empty()?;
        for (name, content) in &files {
            let path = self.directory.join(name);
            let folder = path.parent().context("a file has no folder")?;
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
            fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        }
        let files = files.into_iter().map(|(name, _)| name.to_owned()).collect();
        let written = Written { example: self.example.clone(), directory: self.directory.clone(), files };
        context.output().show(&written, |written| {
            format!(
                "{} says what {} shows.\n\n  npx wrangler dev       runs it on this machine\n  npx wrangler deploy    deploys it",
                written.directory.join("README.md").display(),
                written.example
            )
        })?;
        Ok(0)
    }

    /// Fails where anything could be overwritten.
    fn require_empty(&self) -> Result<()> {
        let folder = self.directory.display();
        if !self.directory.exists() {
            return Ok(());
        }
        let entries = fs::read_dir(&self.directory).with_context(|| format!("{folder} is no folder that can be read"))?;
        let names = entries.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>();
        let names = names.with_context(|| format!("read {folder}"))?;
        if let Some(name) = names.iter().find(|name| *name != IGNORED) {
            bail!("{folder} is not empty: {} is there; name an empty folder by --directory", name.display());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Init;
    use crate::{arguments::Arguments, commands::init::files::EXAMPLES};
    use clap::{Parser, error::ErrorKind};
    use std::{fs, path::PathBuf};

    fn init(directory: PathBuf) -> Init {
        Init { example: "hello".to_owned(), directory, git: None, path: None }
    }

    #[test]
    fn a_folder_with_anything_in_it_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        init(directory.path().join("new")).require_empty().unwrap();
        let init = init(directory.path().to_owned());
        init.require_empty().unwrap();
        fs::create_dir(directory.path().join(".git")).unwrap();
        init.require_empty().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let error = init.require_empty().unwrap_err().to_string();
        assert!(error.contains("is not empty: file is there"), "{error}");
        let error = super::tests::init(directory.path().join("file")).require_empty().unwrap_err().to_string();
        assert!(error.contains("is no folder"), "{error}");
    }

    #[test]
    fn an_unknown_example_is_told_the_known_ones() {
        let error = Arguments::try_parse_from(["cabana", "init", "helo"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidValue);
        assert!(EXAMPLES.iter().all(|example| error.to_string().contains(example.name)), "{error}");
    }
}
