//! `cabana-agent listen PLACE`: listens in the sandbox for a program outside of it, as the user who runs it.
//!
//! The place is a port of the loopback addresses, 0 for one that is free, or the absolute path of a Unix socket. The first line on stdout is
//! `listening PORT`, with 0 for a path. Then each connection has a line: the path of a Unix socket that carries its bytes, which the program
//! outside reaches by `port.connect`. Only this user can connect to it. It listens until stdin ends or a signal ends it.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, Ipv6Addr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, UnixListener},
    runtime,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};

/// The name by which the program is asked for it.
pub const COMMAND: &str = "listen";

/// Connections that are open at once; further ones wait to be accepted.
const CONNECTIONS: usize = 200;

/// How long a connection waits for the program outside.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause after a connection that could not be accepted, for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens at the place until stdin ends.
pub fn run(place: Option<OsString>) -> ExitCode {
    let listened = place
        .as_deref()
        .and_then(Place::read)
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "say where: a port, or the absolute path of a Unix socket"));
    let listened = listened.and_then(|place| {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(serve(&place))
    });
    match listened {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("listen: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Port(u16),
    Path(PathBuf),
}

impl Place {
    fn read(text: &OsStr) -> Option<Self> {
        let path = Path::new(text);
        if path.is_absolute() {
            return Some(Self::Path(path.to_owned()));
        }
        text.to_str()?.parse().ok().map(Self::Port)
    }
}

async fn serve(place: &Place) -> io::Result<()> {
    // Only its owner can enter it.
    let directory = tempfile::Builder::new().prefix("cabana-listen-").tempdir()?;
    let listener = Listener::bind(place).await?;
    say(format_args!("listening {}", listener.port()))?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    tokio::select! {
        served = relay_all(&listener, directory.path()) => served,
        () = input_end() => Ok(()),
        _ = terminated.recv() => Ok(()),
        _ = hung_up.recv() => Ok(()),
    }
}

/// Says a line to the program outside.
fn say(line: std::fmt::Arguments<'_>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Comes to an end when stdin does.
async fn input_end() {
    let (ends, end) = oneshot::channel::<()>();
    // It may wait for as long as the process lives, whose end is its own.
    thread::spawn(move || {
        let _ends = ends;
        let mut piece = [0; 512];
        let mut stdin = io::stdin().lock();
        while !matches!(stdin.read(&mut piece), Ok(0) | Err(_)) {}
    });
    let _ = end.await;
}

async fn relay_all(listener: &Listener, directory: &Path) -> io::Result<()> {
    let mut connections = JoinSet::new();
    for number in 1_u64.. {
        while connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        let Ok(stream) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let path = directory.join(number.to_string());
        // Without a way for its bytes the connection is closed.
        let Ok(way) = UnixListener::bind(&path) else { continue };
        say(format_args!("{}", path.display()))?;
        connections.spawn(async move {
            let arrived = timeout(PATIENCE, way.accept()).await;
            let _ = fs::remove_file(&path);
            if let (Ok(Ok((mut outside, _))), mut inside) = (arrived, stream) {
                // Either side may break off, which closes the other.
                let _ = copy_bidirectional(&mut inside, &mut outside).await;
            }
        });
    }
    Ok(())
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

#[derive(Debug)]
enum Listener {
    /// On the loopback addresses, of which the second may not exist.
    Port { port: u16, first: TcpListener, second: Option<TcpListener> },
    /// Its file goes with it.
    Path { listener: UnixListener, path: PathBuf },
}

impl Listener {
    async fn bind(place: &Place) -> io::Result<Self> {
        match place {
            Place::Port(port) => {
                let first = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).await?;
                let port = first.local_addr()?.port();
                let second = match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
                    Ok(second) => Some(second),
                    // Somebody else would get half of the connections.
                    Err(error) if error.kind() == ErrorKind::AddrInUse => return Err(error),
                    Err(_) => None,
                };
                Ok(Self::Port { port, first, second })
            }
            Place::Path(path) => {
                let bound = Self::Path { listener: UnixListener::bind(path)?, path: path.clone() };
                fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
                Ok(bound)
            }
        }
    }

    fn port(&self) -> u16 {
        match self {
            Self::Port { port, .. } => *port,
            Self::Path { .. } => 0,
        }
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Port { first, second: None, .. } => first.accept().await.map(|(stream, _)| Box::new(stream) as _),
            Self::Port { first, second: Some(second), .. } => {
                let accepted = tokio::select! { one = first.accept() => one, other = second.accept() => other };
                accepted.map(|(stream, _)| Box::new(stream) as _)
            }
            Self::Path { listener, .. } => listener.accept().await.map(|(stream, _)| Box::new(stream) as _),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Path { path, .. } = self {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpStream, UnixStream},
    };

    #[test]
    fn a_place_is_a_port_or_an_absolute_path() {
        for (text, place) in [
            ("0", Some(Place::Port(0))),
            ("65535", Some(Place::Port(65_535))),
            ("/run/a b.sock", Some(Place::Path("/run/a b.sock".into()))),
            ("65536", None),
            ("-1", None),
            ("a.sock", None),
            ("", None),
        ] {
            assert_eq!(Place::read(OsStr::new(text)), place, "{text}");
        }
    }

    #[tokio::test]
    async fn connections_to_a_port_and_to_a_path_are_carried_and_the_file_of_the_path_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("place.sock");
        for place in [Place::Port(0), Place::Path(path.clone())] {
            let listener = Listener::bind(&place).await.unwrap();
            let port = listener.port();
            let ways = tempfile::tempdir().unwrap();
            let way = ways.path().join("1");
            let carried = async {
                let mut inside: Box<dyn Stream> = match place {
                    Place::Port(_) => Box::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap()),
                    Place::Path(_) => Box::new(UnixStream::connect(&path).await.unwrap()),
                };
                inside.write_all(b"from inside").await.unwrap();
                let mut outside = loop {
                    if let Ok(outside) = UnixStream::connect(&way).await {
                        break outside;
                    }
                    tokio::task::yield_now().await;
                };
                outside.write_all(b"from outside").await.unwrap();
                outside.shutdown().await.unwrap();
                let (mut heard, mut told) = (String::new(), String::new());
                inside.read_to_string(&mut told).await.unwrap();
                inside.shutdown().await.unwrap();
                outside.read_to_string(&mut heard).await.unwrap();
                assert_eq!((heard.as_str(), told.as_str()), ("from inside", "from outside"));
            };
            tokio::select! {
                () = carried => {}
                served = relay_all(&listener, ways.path()) => panic!("{served:?}"),
            }
            assert!(!way.exists(), "the socket of a connection goes once it is connected");
        }
        assert!(!path.exists());
        let taken = Listener::bind(&Place::Port(0)).await.unwrap();
        let refused = Listener::bind(&Place::Port(taken.port())).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
    }
}
