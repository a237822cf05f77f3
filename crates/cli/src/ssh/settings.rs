//! The files of OpenSSH that lead `ssh mybox.cabana` to this program.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use russh::keys::PrivateKey;

use super::{SUFFIX, USER, host_key};
use crate::profiles::Profiles;

/// What stands around the line in the user's settings, so that it is found again.
const MARKS: [&str; 2] = ["# >>> cabana: made by `cabana setup ssh`, removed by `cabana setup ssh --undo`", "# <<< cabana"];

/// Where the files are.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The settings of the user.
    user: PathBuf,
    /// The directory of this program's files.
    own: PathBuf,
}

impl Settings {
    /// The files of this user, whose settings are in this file, or else where OpenSSH reads them.
    pub(crate) fn find(user: Option<PathBuf>) -> Result<Self> {
        let profiles = Profiles::path()?;
        let own = profiles.parent().context("the path of the profiles has no directory")?.join("ssh");
        let user = match user {
            Some(user) => user,
            None => env::home_dir().context("HOME is not set")?.join(".ssh/config"),
        };
        Ok(Self { user, own })
    }

    /// The settings of the user.
    pub(crate) fn user(&self) -> &Path {
        &self.user
    }

    /// The host key, which is made where there is none.
    pub(crate) fn host_key(&self) -> Result<PrivateKey> {
        host_key::load_or_make(&self.own.join("host_key"))
    }

    /// Writes the files. `proxy`: this program and its options.
    pub(crate) fn write(&self, proxy: &[String]) -> Result<()> {
        let key = self.host_key()?.public_key().to_openssh().context("write the public key")?;
        let (known_hosts, config) = (self.own.join("known_hosts"), self.own.join("config"));
        let command: Vec<String> = proxy.iter().map(|word| quote(word)).collect::<Result<_>>()?;
        let text = format!(
            "Host *{SUFFIX}\n  ProxyCommand {} ssh-proxy %h\n  User {USER}\n  HostKeyAlgorithms ssh-ed25519\n  UserKnownHostsFile {}\n  \
             GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  CheckHostIP no\n  IdentitiesOnly yes\n  ForwardAgent no\n  \
             ServerAliveInterval 15\n",
            command.join(" "),
            quote(&known_hosts.to_string_lossy())?,
        );
        replace(&known_hosts, &format!("*{SUFFIX} {key}\n"))?;
        replace(&config, &text)?;
        let before = read(&self.user)?;
        let include = format!("Include {}", quote(&config.to_string_lossy())?);
        let after = format!("{}\n{include}\n{}\n{}", MARKS[0], MARKS[1], without(&before)?);
        if after == before { Ok(()) } else { replace(&self.user, &after) }
    }

    /// Takes the files away, and the line out of the user's settings.
    pub(crate) fn remove(&self) -> Result<()> {
        let before = read(&self.user)?;
        let after = without(&before)?;
        if after != before {
            replace(&self.user, &after)?;
        }
        match fs::remove_dir_all(&self.own) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", self.own.display()))
            }
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.with_context(|| format!("read {}", path.display())),
    }
}

/// The settings without the line of this program.
fn without(text: &str) -> Result<String> {
    match (text.find(MARKS[0]), text.find(MARKS[1])) {
        (None, None) => Ok(text.to_owned()),
        (Some(first), Some(last)) if first < last => {
            let rest = &text[last + MARKS[1].len()..];
            Ok(format!("{}{}", &text[..first], rest.strip_prefix('\n').unwrap_or(rest)))
        }
        _ => bail!("the marks of `cabana setup ssh` are not a pair: mend the file by hand"),
    }
}

/// A word as OpenSSH and the shell of its ProxyCommand both read it.
fn quote(word: &str) -> Result<String> {
    if word.contains(['"', '\\', '$', '`', '%', '\n']) {
        bail!("{word:?} cannot stand in the settings of OpenSSH");
    }
    Ok(format!("\"{word}\""))
}

/// Writes a file in one step; only its owner can write it.
fn replace(path: &Path, text: &str) -> Result<()> {
    let write = || -> io::Result<()> {
        // A link to the settings stays one.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let is_new = !directory.exists();
        fs::create_dir_all(directory)?;
        let partial = directory.join(format!(".cabana-{}", std::process::id()));
        fs::write(&partial, text)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // OpenSSH reads no settings that others may write.
            let mode = fs::metadata(&path).map_or(0o600, |present| present.permissions().mode());
            fs::set_permissions(&partial, fs::Permissions::from_mode(mode))?;
            if is_new {
                fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
            }
        }
        fs::rename(&partial, &path)
    };
    write().with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{Settings, quote};

    #[test]
    fn settings_are_the_same_after_a_second_time_and_as_before_after_undoing() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings { user: directory.path().join(".ssh/config"), own: directory.path().join("own") };
        let read = || std::fs::read_to_string(&settings.user).unwrap();
        let proxy = ["/usr/bin/cabana".to_owned(), "--profile".to_owned(), "a b".to_owned()];
        settings.write(&proxy).unwrap();
        let own = std::fs::read_to_string(settings.own.join("config")).unwrap();
        assert!(own.contains("ProxyCommand \"/usr/bin/cabana\" \"--profile\" \"a b\" ssh-proxy %h\n"), "{own}");
        for text in ["", "Host other\n  User me\n", "# no line break at the end"] {
            std::fs::write(&settings.user, text).unwrap();
            settings.write(&proxy).unwrap();
            let once = read();
            assert!(once.starts_with("# >>> cabana") && once.ends_with(text), "{once}");
            settings.write(&proxy).unwrap();
            assert_eq!(read(), once);
            settings.remove().unwrap();
            assert_eq!(read(), text);
            assert!(!settings.own.exists());
            settings.remove().unwrap();
        }
        std::fs::write(&settings.user, "# <<< cabana\n").unwrap();
        assert!(settings.write(&proxy).is_err(), "half of the marks is left alone");
        assert!(quote("a\"b").is_err() && quote("%h").is_err());
    }
}
