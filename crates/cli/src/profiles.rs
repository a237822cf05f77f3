//! The profiles of `~/.config/cabana/config.toml`: which services there are, and the keys to them.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// The file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profiles {
    /// The profile that is used where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<String>,
    #[serde(default)]
    pub(crate) profiles: BTreeMap<String, Profile>,
}

/// A service and a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) url: String,
    pub(crate) api_key: String,
}

impl Profiles {
    /// Where the file is: `$XDG_CONFIG_HOME/cabana/config.toml` or `~/.config/cabana/config.toml`.
    pub(crate) fn path() -> Result<PathBuf> {
        let base = match env::var_os("XDG_CONFIG_HOME").filter(|value| !value.is_empty()) {
            Some(directory) => PathBuf::from(directory),
            None => env::home_dir().context("neither XDG_CONFIG_HOME nor HOME is set")?.join(".config"),
        };
        Ok(base.join("cabana/config.toml"))
    }

    /// What the file says; nothing where there is none.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            // The message of the parser shows the line, which may hold a key.
            Ok(text) => toml::from_str(&text).map_err(|error| {
                let line = error.span().map_or(0, |span| text[..span.start].lines().count());
                anyhow::anyhow!("{}, line {line}: {}", path.display(), error.message())
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Writes the file in one step; only its owner can read it.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self).context("write the profiles as TOML")?;
        let directory = path.parent().context("the path of the profiles has no directory")?;
        let partial = directory.join(format!(".config.toml.{}", std::process::id()));
        let write = || -> io::Result<()> {
            fs::create_dir_all(directory)?;
            let mut options = fs::File::options();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(&partial)?.write_all(text.as_bytes())?;
            fs::rename(&partial, path)
        };
        write().with_context(|| format!("write {}", path.display()))
    }

    /// The profile of this name.
    pub(crate) fn get(&self, name: &str) -> Result<&Profile> {
        match self.profiles.get(name) {
            Some(profile) => Ok(profile),
            None if self.profiles.is_empty() => bail!("there is no profile {name:?}: `cabana login --profile {name}` makes one"),
            None => {
                let known: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
                bail!("there is no profile {name:?}; there are {}", known.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Profile, Profiles};
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn profiles_are_kept_for_their_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/config.toml");
        assert_eq!(Profiles::load(&path).unwrap(), Profiles::default());
        let profile = Profile { url: "https://x".to_owned(), api_key: "k".to_owned() };
        let profiles = Profiles { default: Some("work".to_owned()), profiles: [("work".to_owned(), profile.clone())].into() };
        profiles.save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = Profiles::load(&path).unwrap();
        assert_eq!((&read, read.get("work").unwrap()), (&profiles, &profile));
        assert!(read.get("home").unwrap_err().to_string().contains("there are work"));
    }

    #[test]
    fn a_file_that_cannot_be_read_says_where_and_shows_no_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        fs::write(&path, "[profiles.a]\nurl = \"u\"\napi_key = cab_secret\n").unwrap();
        let message = format!("{:#}", Profiles::load(&path).unwrap_err());
        assert!(message.contains("config.toml, line 3") && !message.contains("cab_secret"), "{message}");
    }
}
