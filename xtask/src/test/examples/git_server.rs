//! A git server with one repository: `s2.cabana.test` in the internet of tests.

use super::site::Site;
use crate::{paths, shell};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

/// The server that the integration cases run in sandboxes.
const SERVER: &str = "tests/tests/git/server.py";

/// The only port of HTTP whose names the platform reads.
const PORT: u16 = 80;

/// Makes the repository `project.git`, with one file.
const SEED: &str = "set -e; mkdir served; git init -q -b main seed; cd seed; echo 'Hello World!' > README; git add README; \
    git -c user.name=Ada -c user.email=ada@example.com commit -qm first; cd ..; git clone -q --bare seed served/project.git";

/// Ends when it is dropped.
pub(super) struct GitServer(Child);

impl GitServer {
    /// Starts one for the run of this site.
    pub(super) fn start(site: &Site) -> Result<Self> {
        let [high, low] = site.port()?.to_be_bytes();
        let (root, directory) = (paths::repository()?, site.directory());
        shell::capture(Command::new("sh").args(["-c", SEED]).current_dir(directory)).context("make a repository")?;
        let mut server = Command::new("python3");
        server.arg("-u").arg(root.join(SERVER)).arg(directory.join("served"));
        server.args([Ipv4Addr::new(127, high, low, 2).to_string(), PORT.to_string()]);
        let mut child = shell::spawn(server.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("the server has no output")?).read_line(&mut line)?;
        let server = Self(child);
        ensure!(
            line == format!("port {PORT}\n"),
            "the git server does not listen on port {PORT} of a loopback address: {line:?}"
        );
        Ok(server)
    }

    /// Where its repository is.
    pub(super) fn url(&self) -> String {
        "http://s2.cabana.test/project.git".to_owned()
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
