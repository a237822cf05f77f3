//! The host key of all sandboxes, which never leaves this machine.
//!
//! SSH ends in this program, so the key only has to satisfy the client. The way to the sandbox is the service's, over TLS.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result, anyhow};
use russh::keys::{
    PrivateKey,
    ssh_key::{LineEnding, private::Ed25519Keypair},
};

/// The key in this file, which is made where there is none.
pub(super) fn load_or_make(path: &Path) -> Result<PrivateKey> {
    let about = || format!("the host key {}", path.display());
    match fs::read_to_string(path) {
        Ok(text) => PrivateKey::from_openssh(&text).with_context(about),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path).with_context(about)?;
            // Of two that are made at once, one stays.
            PrivateKey::from_openssh(fs::read_to_string(path).with_context(about)?).with_context(about)
        }
        Err(error) => Err(error).with_context(about),
    }
}

fn make(path: &Path) -> Result<()> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| anyhow!("no random numbers: {error}"))?;
    let text = PrivateKey::from(Ed25519Keypair::from_seed(&seed)).to_openssh(LineEnding::LF)?;
    let directory = path.parent().context("its path has no directory")?;
    fs::create_dir_all(directory)?;
    let partial = directory.join(format!(".host_key.{}", std::process::id()));
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&partial)?.write_all(text.as_bytes())?;
    let linked = fs::hard_link(&partial, path);
    fs::remove_file(&partial)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::load_or_make;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ssh/key");
        let key = load_or_make(&path).unwrap();
        assert_eq!(load_or_make(&path).unwrap().public_key(), key.public_key());
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions()) & 0o777, 0o600);
        std::fs::write(&path, "no key").unwrap();
        assert!(load_or_make(&path).is_err(), "what is no key is left alone");
    }
}
