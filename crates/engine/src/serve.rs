//! `cabana-engine serve`: starting the engine and shutting it down.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::engine::{Engine, Settings};
use crate::faults::StartFaults;
use crate::layer::LayerStore;
use crate::limits::Cgroups;
use crate::network::Network;
use crate::sandbox::host::HostView;
use crate::sandbox::host_network::HostNetwork;
use crate::sidecar::store::SidecarStore;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// The arguments of `serve`.
#[derive(Debug)]
pub struct ServeConfig {
    /// Where to answer the Docker Engine API.
    pub socket: PathBuf,
    /// Whether the standard input is the socket and listens already.
    pub listening: bool,
    /// The program that becomes PID 1 of each sandbox.
    pub agent: PathBuf,
    /// The state directory; one engine at a time.
    pub state: PathBuf,
    /// Further paths of the host to hide from sandboxes.
    pub hidden: Vec<PathBuf>,
    /// A directory of the host with kernels of Jupyter, which sandboxes may read.
    pub kernels: Option<PathBuf>,
    /// A file to write when the engine serves.
    pub ready_file: Option<PathBuf>,
    /// Whether clients may inject faults.
    pub faults: bool,
}

/// Serves until `shutdown`, then ends every sandbox and removes the socket and the ready file.
pub async fn run(config: ServeConfig, shutdown: impl Future<Output = ()>) -> Result<()> {
    let state = StateDirectory::lock(&config.state)?;
    let listener = if config.listening { inherit() } else { listen(&config.socket) }?;
    let engine = Engine::new(settings(&config, &state)?, Cgroups::prepare());
    engine.restore().await;
    let mut warnings = engine.warnings();
    if let Err(error) = async { Network::create("probe").await?.capture().await }.await {
        warnings.push(format!("sandboxes have no internet, because the kernel does not redirect their connections: {error}"));
    }
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if let Some(path) = &config.ready_file {
        let ready = serde_json::json!({ "socket": config.socket, "pid": std::process::id(), "warnings": warnings });
        fs::write(path, ready.to_string()).with_context(|| format!("writing {}", path.display()))?;
    }
    tracing::info!(socket = %config.socket.display(), "serving");
    let stop = CancellationToken::new();
    let serving = tokio::spawn(api::serve(listener, engine.clone(), stop.clone()));
    shutdown.await;
    tracing::info!("stopping");
    engine.shutdown().await;
    stop.cancel();
    serving.await.context("the API's task")?;
    // They may have been removed already.
    let _ = fs::remove_file(&config.socket);
    let _ = config.ready_file.map(fs::remove_file);
    Ok(())
}

fn settings(config: &ServeConfig, state: &StateDirectory) -> Result<Settings> {
    let agent = config.agent.canonicalize().with_context(|| format!("the agent {}", config.agent.display()))?;
    let mut hidden = config.hidden.clone();
    hidden.push(state.directory.clone());
    hidden.push(config.socket.clone());
    // Docker's own socket, in case /run is visible under another name.
    hidden.push(PathBuf::from("/var/run/docker.sock"));
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let path = std::env::var("PATH").unwrap_or_default();
    let mut host = HostView::inspect(home.as_deref(), &path, &hidden);
    if let Some(kernels) = &config.kernels {
        host.share_kernels(&kernels.canonicalize().with_context(|| format!("the kernels {}", kernels.display()))?);
    }
    Ok(Settings {
        agent,
        scratch: state.scratch.clone(),
        network: HostNetwork::inspect(|name| std::env::var(name).ok(), |path| host.shows(path)),
        host,
        images: state.images(),
        layers: Arc::new(LayerStore::new(state.layers())),
        sidecars: SidecarStore::new(state.sidecars()),
        faults: config.faults.then(StartFaults::default),
    })
}

/// The engine's directory, locked. The kernel releases the lock when the engine ends, even by SIGKILL.
pub(crate) struct StateDirectory {
    directory: PathBuf,
    scratch: PathBuf,
    _lock: File,
}

impl StateDirectory {
    /// The file in which images are stored.
    pub(crate) fn images(&self) -> PathBuf {
        self.directory.join("images.json")
    }

    /// The directory of layers.
    pub(crate) fn layers(&self) -> PathBuf {
        self.directory.join("layers")
    }

    /// The directory of the records of sidecars.
    pub(crate) fn sidecars(&self) -> PathBuf {
        self.directory.join("sidecars")
    }

    pub(crate) fn lock(directory: &Path) -> Result<Self> {
        let about = || format!("the state directory {}", directory.display());
        let scratch = directory.join("scratch");
        fs::create_dir_all(&scratch).with_context(about)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).with_context(about)?;
        let lock = File::create(directory.join("lock")).with_context(about)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("another engine uses the state directory {}", directory.display());
        }
        Ok(Self {
            directory: directory.canonicalize().with_context(about)?,
            scratch: scratch.canonicalize().with_context(about)?,
            _lock: lock,
        })
    }
}

/// Takes the standard input as the socket.
fn inherit() -> Result<UnixListener> {
    let about = "the standard input, which must be the socket";
    let listener = net::UnixListener::from(io::stdin().as_fd().try_clone_to_owned().context(about)?);
    if !rustix::net::sockopt::socket_acceptconn(&listener).context(about)? {
        bail!("{about}, does not listen");
    }
    listener.set_nonblocking(true).context(about)?;
    UnixListener::from_std(listener).context(about)
}

/// Binds the socket. Replaces that of a dead engine, but not that of a living one.
fn listen(socket: &Path) -> Result<UnixListener> {
    let about = || format!("listening on {}", socket.display());
    let listener = match bind(socket) {
        Err(Errno::ADDRINUSE) => {
            if net::UnixStream::connect(socket).is_ok() {
                bail!("another engine answers on {}", socket.display());
            }
            fs::remove_file(socket).with_context(about)?;
            bind(socket).with_context(about)?
        }
        other => other.with_context(about)?,
    };
    UnixListener::from_std(listener.into()).with_context(about)
}

/// A listening socket that only its owner may connect to, since a client can start processes as the engine's user.
///
/// The file takes its mode from the socket, so there is no moment at which others could connect, and no umask to set and restore.
fn bind(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}
