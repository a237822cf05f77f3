//! What stands for a model's host: `s1.cabana.test` in the internet of tests.

use super::site::Site;
use crate::shell;
use anyhow::{Context, Result, ensure};
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The name, of the first of the run's addresses.
const NAME: &str = "s1.cabana.test";

/// The key that it wants to see.
const SECRET: &str = "the-key-of-the-model";

/// Ends when it is dropped.
pub(super) struct Model(Child);

impl Model {
    /// Starts it for the run of this site.
    pub(super) fn start(site: &Site) -> Result<Self> {
        let [high, low] = site.port()?.to_be_bytes();
        let (certificate, key) = certify(site.directory())?;
        let script = site.directory().join("model.py");
        fs::write(&script, include_str!("model.py")).context("write the model")?;
        let mut server = Command::new("python3");
        server.arg(script).arg(Ipv4Addr::new(127, high, low, 1).to_string()).args([certificate, key]).arg(SECRET);
        let mut child = shell::spawn(server.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("the model has no output")?).read_line(&mut line)?;
        let model = Self(child);
        ensure!(line == "listening\n", "the model does not listen on port 443 of a loopback address");
        Ok(model)
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A certificate by the run's own authority, and its key.
fn certify(run: &Path) -> Result<(PathBuf, PathBuf)> {
    let authority = fs::read_to_string(run.join("internet/authority.pem")).context("read the run's authority")?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Cabana's tests");
    // The certificate comes first.
    let key = authority.find("-----BEGIN PRIVATE KEY-----").and_then(|start| authority.get(start..));
    let key = KeyPair::from_pem(key.context("the authority has no key")?).context("read the authority's key")?;
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().context("make a key")?;
    let certificate = CertificateParams::new([NAME.to_owned()])?.signed_by(&key, &issuer).context("make a certificate")?;
    let (certificate_file, key_file) = (run.join("model.pem"), run.join("model.key"));
    fs::write(&certificate_file, certificate.pem()).context("write the certificate")?;
    fs::write(&key_file, key.serialize_pem()).context("write the key")?;
    Ok((certificate_file, key_file))
}
