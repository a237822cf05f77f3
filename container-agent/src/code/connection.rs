//! Where a kernel and the agent meet: a private directory with the description of the connection, and the kernel's sockets.

use std::{
    fs, io,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use cabana_protocol::{Code, Error};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, chownat, openat},
    process::Uid,
};
use serde_json::json;
use tempfile::TempDir;

use super::zmtp::Endpoint;

/// Where the directory may be made: the first of these that is there and can be written to.
const PLACES: [&str; 3] = ["/run", "/dev/shm", "/tmp"];

/// The ports that kernels may get: Linux hands out those from 32,768 on.
const FIRST_PORT: u16 = 12_000;
const PORTS: u16 = 20_000;

/// How many are tried.
const PORT_TRIES: usize = 200;

/// The channels of a kernel, in the order of their numbers.
const CHANNELS: [&str; 5] = ["shell", "iopub", "stdin", "control", "hb"];

/// A channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// Requests.
    Shell,
    /// What cells show.
    IoPub,
    /// What cells ask.
    Stdin,
    /// Requests that do not wait for cells.
    Control,
}

/// A connection that a kernel is told to serve. Its directory goes with it.
#[derive(Debug)]
pub(super) struct Connection {
    directory: TempDir,
    /// The ports of the channels, where they are not Unix sockets.
    ports: Option<[u16; 5]>,
}

impl Connection {
    /// A connection for a kernel that runs as this user, if not as the agent's own. Blocks.
    ///
    /// Fails with `storage_full`, `internal`.
    pub(super) fn new(owner: Option<Uid>, by_ipc: bool, key: &str) -> Result<Self, Error> {
        let make = || {
            let private = fs::Permissions::from_mode(0o700);
            let place = |place| tempfile::Builder::new().prefix("cabana-").permissions(private.clone()).tempdir_in(place);
            let (first, rest) = PLACES.split_first().expect("there is a place");
            let directory = rest.iter().fold(place(first), |made, next| made.or_else(|_| place(next)))?;
            let ports = (!by_ipc).then(free_ports).transpose()?;
            let connection = Self { directory, ports };
            connection.describe(owner, key)?;
            Ok(connection)
        };
        make().map_err(|error: io::Error| {
            let code = if error.kind() == io::ErrorKind::StorageFull { Code::StorageFull } else { Code::Internal };
            Error::new(code, format!("the kernel's connection cannot be prepared: {error}"))
        })
    }

    /// The file that describes it.
    pub(super) fn file(&self) -> PathBuf {
        self.directory.path().join("connection.json")
    }

    /// The socket of a channel.
    pub(super) fn endpoint(&self, channel: Channel) -> Endpoint {
        let number = channel as usize;
        match self.ports {
            Some(ports) => Endpoint::Tcp(ports[number]),
            None => Endpoint::Ipc(format!("{}-{}", self.prefix(), number + 1).into()),
        }
    }

    fn prefix(&self) -> String {
        self.directory.path().join("k").to_string_lossy().into_owned()
    }

    fn describe(&self, owner: Option<Uid>, key: &str) -> io::Result<()> {
        let mut description = json!({
            "transport": if self.ports.is_some() { "tcp" } else { "ipc" },
            "ip": if self.ports.is_some() { "127.0.0.1".to_owned() } else { self.prefix() },
            "key": key,
            "signature_scheme": "hmac-sha256",
        });
        for (number, channel) in CHANNELS.iter().enumerate() {
            let port = self.ports.map_or_else(|| u16::try_from(number + 1).unwrap_or_default(), |ports| ports[number]);
            description[format!("{channel}_port")] = port.into();
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(CWD, self.file(), flags, Mode::RUSR | Mode::WUSR)?;
        serde_json::to_writer(fs::File::from(file), &description)?;
        // The kernel makes its sockets there. Given away last: from then on its user may change what is in it.
        for path in [self.file().as_path(), self.directory.path()] {
            if owner.is_some() {
                give(path, owner)?;
            }
        }
        Ok(())
    }
}

fn give(path: &Path, owner: Option<Uid>) -> io::Result<()> {
    Ok(chownat(CWD, path, owner, None, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Ports that nobody has now, below those that the system hands out to clients by itself.
fn free_ports() -> io::Result<[u16; 5]> {
    let mut listeners = Vec::new();
    for _ in 0..PORT_TRIES {
        let mut random = [0; 2];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let port = FIRST_PORT + u16::from_ne_bytes(random) % PORTS;
        listeners.extend(TcpListener::bind(("127.0.0.1", port)).map(|listener| (port, listener)));
        if listeners.len() == CHANNELS.len() {
            return Ok(std::array::from_fn(|index| listeners[index].0));
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_connection_is_described_to_its_kernel_alone() {
        for by_ipc in [true, false] {
            let connection = Connection::new(None, by_ipc, "key").unwrap();
            let description: Value = serde_json::from_slice(&fs::read(connection.file()).unwrap()).unwrap();
            match connection.endpoint(Channel::Control) {
                Endpoint::Ipc(path) => {
                    let expected = format!("{}-{}", description["ip"].as_str().unwrap(), description["control_port"]);
                    assert_eq!(path.to_str().unwrap(), expected);
                }
                Endpoint::Tcp(port) => assert_eq!(description["control_port"], port),
            }
            assert_eq!((description["transport"] == "ipc", description["key"].as_str()), (by_ipc, Some("key")));
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&connection.file()), mode(connection.directory.path())), (0o600, 0o700));
        }
    }
}
