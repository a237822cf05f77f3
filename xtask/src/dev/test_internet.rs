//! What stands for the internet in a run for tests: servers over HTTPS that the Worker reaches by names.
//!
//! The names are addresses of this machine's loopback network, of this run alone, in a file that the runtime sees in place of `/etc/hosts`. The
//! runtime trusts an authority of the run's own beside those of the system. The cases find certificate and key in the run's directory.

use super::directory::write_private;
use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustix::process::geteuid;
use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How many names there are: `s1.cabana.test` and so on.
const NAMES: u8 = 64;
/// Shows a program another `/etc/hosts`.
const WITH_HOSTS: &str = r#"mount --bind "$1" /etc/hosts && shift && exec "$@""#;
/// The variable by which Node, and so the runtime, trusts further authorities.
const CERTIFICATES: &str = "NODE_EXTRA_CA_CERTS";

/// The files of one run.
pub(super) struct TestInternet {
    hosts: PathBuf,
    certificates: PathBuf,
}

impl TestInternet {
    /// Makes the files for the run on this port. `None` where this machine lets no program have an `/etc/hosts` of its own.
    pub(super) fn create(run: &Path, port: u16) -> Result<Option<Self>> {
        let directory = run.join("internet");
        fs::create_dir(&directory).with_context(|| format!("make {}", directory.display()))?;
        let (hosts, certificates) = (directory.join("hosts"), directory.join("certificates.pem"));
        fs::write(&hosts, hosts_file(&fs::read_to_string("/etc/hosts").unwrap_or_default(), port)).context("write the names")?;
        let internet = Self { hosts, certificates };
        if !internet.is_possible() {
            return Ok(None);
        }
        let (certificate, key) = authority()?;
        let present = std::env::var(CERTIFICATES).ok().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        fs::write(&internet.certificates, format!("{present}\n{certificate}")).context("write the certificates")?;
        write_private(&directory.join("authority.pem"), &format!("{certificate}{key}"))?;
        Ok(Some(internet))
    }

    fn is_possible(&self) -> bool {
        let mut probe = self.wrap(&Command::new("true"));
        probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    }

    /// The program, as it sees this internet.
    pub(super) fn wrap(&self, program: &Command) -> Command {
        let mut wrapped = Command::new("unshare");
        // Without root a user namespace allows the mount. Files keep their owner.
        wrapped.args((!geteuid().is_root()).then_some("--map-root-user"));
        wrapped.args(["--mount", "--", "sh", "-c", WITH_HOSTS, "hosts"]).arg(&self.hosts);
        wrapped.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        if let Some(directory) = program.get_current_dir() {
            wrapped.current_dir(directory);
        }
        wrapped.env(CERTIFICATES, &self.certificates);
        wrapped
    }
}

/// The present names, and one for each address of the run.
fn hosts_file(present: &str, port: u16) -> String {
    let [high, low] = port.to_be_bytes();
    let mut text = format!("{}\n", present.trim_end());
    for number in 1..=NAMES {
        // A string takes all that is written to it.
        let _ = writeln!(text, "{} s{number}.cabana.test", Ipv4Addr::new(127, high, low, number));
    }
    text
}

/// Certificate and key of a new authority, in PEM.
fn authority() -> Result<(String, String)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, "Cabana's tests");
    let key = KeyPair::generate().context("make a key")?;
    let certificate = params.self_signed(&key).context("make a certificate")?;
    Ok((certificate.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use super::{TestInternet, hosts_file};
    use std::path::PathBuf;
    use std::process::Command;

    #[test]
    fn names_are_addresses_of_the_runs_own() {
        let text = hosts_file("127.0.0.1 localhost\n\n", 8787);
        assert!(text.starts_with("127.0.0.1 localhost\n127.34.83.1 s1.cabana.test\n"), "{text}");
        assert_eq!(text.lines().count(), 65);
    }

    #[test]
    fn a_wrapped_program_keeps_its_arguments_and_variables() {
        let internet = TestInternet { hosts: PathBuf::from("h"), certificates: PathBuf::from("c") };
        let mut program = Command::new("node");
        program.arg("a b").env("X", "1").current_dir("/");
        let wrapped = internet.wrap(&program);
        let arguments: Vec<_> = wrapped.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
        assert_eq!(arguments[arguments.len() - 3..], ["h", "node", "a b"]);
        assert!(wrapped.get_envs().any(|(name, value)| name == "X" && value.is_some()));
        assert_eq!(wrapped.get_current_dir(), Some("/".as_ref()));
    }
}
