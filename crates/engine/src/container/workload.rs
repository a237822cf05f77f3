//! What a running container runs.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;

use super::Identity;
use super::spec::NetworkMode;
use crate::engine::{Engine, EngineError};
use crate::limits::{Freezer, SandboxCgroups};
use crate::network::Network;
use crate::sandbox::launch::Sandbox;
use crate::sandbox::plan::Plan;
use crate::sandbox::{AGENT_PATH, HOME};
use crate::sidecar::Sidecar;

/// Longest line of a sandbox's output that is logged in one piece, in bytes.
const LOG_LINE: u64 = 8 * 1024;

/// Limit of logged output of one sandbox, in bytes; the rest is read and dropped.
const LOG_LIMIT: usize = 16 * 1024 * 1024;

/// What a running sandbox has changed of its files.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The upper directory of its overlay. It stays readable after the sandbox has ended.
    pub upper: Arc<OwnedFd>,
    /// What stops its processes while its files are read.
    pub freezer: Option<Freezer>,
}

/// A sandbox or a sidecar. Dropping it ends it.
pub enum Workload {
    /// Processes of their own.
    Sandbox {
        /// The processes. Declared first, so that they end before their cgroup is removed.
        sandbox: Sandbox,
        /// Their limits.
        cgroups: SandboxCgroups,
        /// Their network.
        network: Arc<Network>,
    },
    /// Implemented by the engine.
    Sidecar(Sidecar),
}

impl Workload {
    /// Starts what the container's spec describes.
    pub async fn start(engine: &Engine, identity: &Identity) -> Result<Self, EngineError> {
        if identity.spec.is_sidecar() {
            let settings = engine.settings();
            let sidecar = Sidecar::start(&identity.name, &identity.spec.image, settings);
            return sidecar.await.map(Self::Sidecar).map_err(EngineError::Sidecar);
        }
        let network = match &identity.spec.network {
            NetworkMode::Container(other) => engine.container(other)?.network().await?,
            NetworkMode::Own => {
                let network = Network::create(identity.short_id()).await;
                Arc::new(network.map_err(EngineError::Network)?)
            }
        };
        let cgroups = engine.cgroups().create(identity.short_id(), &identity.spec.limits).map_err(EngineError::Cgroup)?;
        let plan = plan(engine, identity, &cgroups);
        let mut sandbox = Sandbox::launch(identity.short_id(), plan, network.clone()).await?;
        if let Some(output) = sandbox.output.take() {
            engine.spawn(log(identity.name.clone(), output));
        }
        Ok(Self::Sandbox { sandbox, cgroups, network })
    }

    /// Its first process on the host; 0 for a sidecar.
    pub fn pid(&self) -> i32 {
        match self {
            Self::Sandbox { sandbox, .. } => sandbox.pid,
            Self::Sidecar(_) => 0,
        }
    }

    /// The port of 127.0.0.1 that a sidecar listens on.
    pub fn host_port(&self) -> Option<u16> {
        match self {
            Self::Sandbox { .. } => None,
            Self::Sidecar(sidecar) => Some(sidecar.port()),
        }
    }

    /// The network it runs in.
    pub fn network(&self) -> Arc<Network> {
        match self {
            Self::Sandbox { network, .. } => network.clone(),
            Self::Sidecar(sidecar) => sidecar.network(),
        }
    }

    /// What it has changed of its files; `None` for what has no files of its own, or none that can be told from the host's.
    pub fn changes(&self) -> Option<Changes> {
        match self {
            Self::Sandbox { sandbox, cgroups, .. } => Some(Changes { upper: sandbox.upper.clone()?, freezer: cgroups.freezer() }),
            Self::Sidecar(_) => None,
        }
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) {
        match self {
            Self::Sandbox { sandbox, .. } => sandbox.signal(signal),
            Self::Sidecar(sidecar) => sidecar.signal(signal),
        }
    }

    /// Waits for its end; returns the exit code. Cancel-safe; must not be called again once it has returned.
    pub async fn wait(&mut self) -> i32 {
        match self {
            Self::Sandbox { sandbox, .. } => sandbox.wait().await,
            Self::Sidecar(sidecar) => sidecar.wait().await,
        }
    }
}

fn plan(engine: &Engine, identity: &Identity, cgroups: &SandboxCgroups) -> Plan {
    let spec = &identity.spec;
    let settings = engine.settings();
    let argv = if spec.argv.is_empty() { vec![AGENT_PATH.to_owned()] } else { spec.argv.clone() };
    let hostname = spec.hostname.clone().unwrap_or_else(|| hostname(identity));
    let mut given = with_image(identity.image.env.clone(), &spec.env);
    if let Some(path) = &settings.host.jupyter_path
        && given.iter().all(|(name, _)| name != "JUPYTER_PATH")
    {
        given.push(("JUPYTER_PATH".to_owned(), path.display().to_string()));
    }
    Plan {
        env: environment(&settings.host.path, &hostname, &settings.network.variables, &given),
        hostname,
        argv,
        agent: settings.agent.clone(),
        scratch: settings.scratch.clone(),
        uploads: identity.uploads(),
        disk_bytes: spec.limits.disk_bytes(),
        cgroups: cgroups.memberships.clone(),
        host: settings.host.clone(),
        layers: identity.image.layers.iter().map(|layer| settings.layers.path(&layer.id)).collect(),
    }
}

/// The container's name if the kernel and resolvers take it, else its short id.
fn hostname(identity: &Identity) -> String {
    let fits = identity.name.len() <= 63 && !identity.name.contains(['_', '.']);
    let name = if fits { &identity.name } else { identity.short_id() };
    name.to_owned()
}

/// The image's variables with those that the client gave on top. The image's user counts only where this machine has it: the sandbox has
/// this machine's users, not those that the image's build would have made.
fn with_image(image: BTreeMap<String, String>, given: &[(String, String)]) -> Vec<(String, String)> {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_there = |user: &str| users.lines().any(|line| line.split(':').next() == Some(user));
    let image = image.into_iter().filter(|(name, value)| name != "CABANA_USER" || is_there(value));
    let image = image.filter(|(name, _)| !given.iter().any(|(given, _)| given == name));
    image.chain(given.iter().cloned()).collect()
}

/// The whole environment: basics, the host's way to the internet, then what the client gave. No other variable of the engine's is
/// inherited.
fn environment(path: &str, hostname: &str, network: &[(String, String)], given: &[(String, String)]) -> Vec<(String, String)> {
    let own = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let basics = [
        ("PATH", path.to_owned()),
        ("HOME", HOME.to_owned()),
        ("HOSTNAME", hostname.to_owned()),
        ("LANG", own("LANG", "C.UTF-8")),
        ("TERM", own("TERM", "xterm")),
    ];
    basics
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .chain(network.iter().cloned())
        .filter(|(name, _)| !given.iter().any(|(given, _)| given == name))
        .chain(given.iter().cloned())
        .collect()
}

/// Writes a sandbox's output to the engine's log, line by line.
async fn log(container: String, output: OwnedFd) {
    let mut reader = match pipe::Receiver::from_owned_fd(output) {
        Ok(receiver) => BufReader::new(receiver),
        Err(error) => return tracing::warn!(container, %error, "the sandbox's output is not logged"),
    };
    let mut line = Vec::new();
    let mut logged = 0;
    while logged < LOG_LIMIT {
        line.clear();
        match (&mut reader).take(LOG_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(length) => logged += length,
        }
        tracing::info!(container, "{}", printable(line.trim_ascii_end()));
    }
    tracing::warn!(container, "this container has reached its limit of logged output");
    // Keep reading: a full pipe would block the sandbox. The pipe ends with the sandbox.
    let _ = tokio::io::copy_buf(&mut reader, &mut tokio::io::sink()).await;
}

/// A line as text that a terminal shows and does not obey: control characters, marks of writing direction, and bytes that are no UTF-8
/// become escapes. Quotes and backslashes stay, so that a line of JSON is still one.
fn printable(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\'' | '\\' => text.push(character),
                _ => text.extend(character.escape_debug()),
            }
        }
        text.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_given_by_the_client_replace_those_of_the_image() {
        let image = [("A", "image"), ("B", "image"), ("CABANA_USER", "no-such-user")];
        let image = BTreeMap::from(image.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let given = [("B".to_owned(), "given".to_owned())];
        let expected = [("A", "image"), ("B", "given")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(with_image(image, &given), expected);
    }

    #[test]
    fn escapes_of_a_hostile_program_do_not_reach_the_terminal() {
        for (line, expected) in [
            (b"\x1b]0;title\x07\x1b[2J\r\x9b31m".as_slice(), r"\u{1b}]0;title\u{7}\u{1b}[2J\r\x9b31m"),
            ("\u{9b}31m \u{202e}gnp.exe".as_bytes(), r"\u{9b}31m \u{202e}gnp.exe"),
            (br#"{"a":"b\n'","c":1}"#, r#"{"a":"b\n'","c":1}"#),
            ("é ✓ \tx".as_bytes(), r"é ✓ \tx"),
        ] {
            assert_eq!(printable(line), expected);
        }
    }

    #[test]
    fn the_environment_holds_basics_and_given_variables_only() {
        let given = [("A".to_owned(), "1".to_owned()), ("TERM".to_owned(), "dumb".to_owned())];
        let network = [("HTTP_PROXY", "a"), ("A", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = environment("/bin", "box", &network, &given);
        let names: Vec<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["PATH", "HOME", "HOSTNAME", "LANG", "HTTP_PROXY", "A", "TERM"]);
        assert_eq!(environment[6].1, "dumb");
    }
}
