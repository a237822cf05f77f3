//! How a remote's credentials get to git: in a file that exists only as an open descriptor, which a helper prints when git asks for
//! the credentials of that one host. They are in no argument, no variable and no file that has a name.

use std::{
    fs::File,
    io::Write,
    os::fd::{AsRawFd, OwnedFd},
};

use cabana_protocol::{Error, git::Credentials, names::invalid_field};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Most bytes of a user name, and of a password.
const VALUE_BYTES: usize = 4_096;

/// Credentials on their way to git.
#[derive(Debug)]
pub(super) struct PassedCredentials {
    origin: String,
    descriptor: OwnedFd,
    secrets: Vec<String>,
}

impl PassedCredentials {
    /// What to tell the host of this origin (`https://host:port`).
    ///
    /// Fails with `invalid_request` where a value cannot be told.
    pub(super) fn new(credentials: &Credentials, origin: &str) -> Result<Self, Error> {
        let (username, password) = credentials.pair();
        if [username, password].iter().any(|value| value.len() > VALUE_BYTES || value.contains(['\0', '\n', '\r'])) {
            return Err(invalid_field("credentials", &format!("at most {VALUE_BYTES} bytes without line breaks")));
        }
        let failed = |error: std::io::Error| Error::internal(format!("credentials cannot be passed on: {error}"));
        // gitcredentials(7): a line for each.
        let answer = format!("username={username}\npassword={password}\n");
        let descriptor = keep(answer.as_bytes()).map_err(failed)?;
        Ok(Self { origin: origin.to_owned(), descriptor, secrets: vec![password.to_owned()] })
    }

    /// The setting that has git read them. A helper is asked for other things too (gitcredentials(7)), which it does not do.
    pub(super) fn setting(&self) -> (String, String) {
        let file = format!("/proc/self/fd/{}", self.descriptor.as_raw_fd());
        let helper = format!("!f() {{ test \"$1\" != get || cat {file}; }}; f");
        (format!("credential.{}.helper", self.origin), helper)
    }

    /// What must not be repeated.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.secrets.clone()
    }

    /// What git has to inherit, under its number.
    pub(super) fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }
}

/// A file without a name that holds this, for good. Each helper opens it anew and reads it from its beginning.
fn keep(content: &[u8]) -> std::io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("git", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(content)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_would_break_a_line_is_refused() {
        for (username, password) in [("a\nb", "c"), ("a", "b\r"), ("a", "b\0"), ("a", &*"x".repeat(4_097))] {
            let credentials = Credentials::Password { username: username.to_owned(), password: password.to_owned() };
            assert!(PassedCredentials::new(&credentials, "https://example.com").is_err(), "{username:?} {password:?}");
        }
    }

    #[test]
    fn a_token_is_a_password() {
        let passed = PassedCredentials::new(&Credentials::Token { token: "secret".to_owned() }, "https://example.com").unwrap();
        let (key, helper) = passed.setting();
        assert_eq!(key, "credential.https://example.com.helper");
        assert!(!helper.contains("secret"));
        let mut text = String::new();
        let path = format!("/proc/self/fd/{}", passed.descriptor.as_raw_fd());
        File::open(path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "username=x-access-token\npassword=secret\n");
    }
}
