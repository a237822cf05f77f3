//! A network namespace with a loopback interface and nothing else, whose outgoing traffic the engine may capture.
//!
//! A thread that has entered another network namespace must not return to a pool, so each network has a thread of its
//! own. The thread only makes sockets and rules, which never blocks. A socket stays in the namespace it was made in, so any other
//! thread can connect it.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot};

use capture::CaptureSockets;

mod capture;

/// Capacity of the queue of requests.
const REQUESTS: usize = 64;

/// One network namespace. The last drop ends its thread; the kernel frees the namespace with the last process in it.
#[derive(Debug)]
pub struct Network {
    namespace: OwnedFd,
    requests: mpsc::Sender<Request>,
}

/// What is to be done inside the namespace.
#[derive(Debug)]
enum Request {
    Socket { family: AddressFamily, reply: oneshot::Sender<io::Result<OwnedFd>> },
    Capture { with_ipv6: bool, reply: oneshot::Sender<io::Result<CaptureSockets>> },
}

/// Where the outgoing traffic of a network arrives.
#[derive(Debug)]
pub struct Captured {
    /// TCP connections. Each has its destination as an option of the socket.
    pub connections: Vec<TcpListener>,
    /// DNS queries over UDP.
    pub queries: Vec<UdpSocket>,
}

impl Network {
    /// Makes a network namespace and brings its loopback interface up.
    pub async fn create(name: &str) -> io::Result<Self> {
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let (created, outcome) = oneshot::channel();
        std::thread::Builder::new().name(format!("net-{name}")).stack_size(256 * 1024).spawn(move || serve(created, receiver))?;
        let namespace = outcome.await.map_err(|_| thread_ended())??;
        Ok(Self { namespace, requests })
    }

    /// Captures what leaves the network from now on. Before that, other addresses than the network's own are unreachable.
    ///
    /// Fails where the kernel has no nf_tables, and when the network is captured already.
    pub async fn capture(&self) -> io::Result<Captured> {
        let (reply, sockets) = oneshot::channel();
        let with_ipv6 = capture::host_has_ipv6();
        self.requests.send(Request::Capture { with_ipv6, reply }).await.map_err(|_| thread_ended())?;
        let CaptureSockets { tcp, dns } = sockets.await.map_err(|_| thread_ended())??;
        Ok(Captured {
            connections: tcp.into_iter().map(register_listener).collect::<io::Result<_>>()?,
            queries: dns.into_iter().map(register_datagrams).collect::<io::Result<_>>()?,
        })
    }

    /// Opens a TCP connection to `address` as seen from inside the network.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let (reply, socket) = oneshot::channel();
        self.requests.send(Request::Socket { family, reply }).await.map_err(|_| thread_ended())?;
        let socket = socket.await.map_err(|_| thread_ended())??;
        let socket = TcpSocket::from_std_stream(StdTcpStream::from(socket));
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn register_listener(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn register_datagrams(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

impl AsFd for Network {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

fn thread_ended() -> io::Error {
    io::Error::other("the network's thread has ended")
}

fn serve(created: oneshot::Sender<io::Result<OwnedFd>>, mut requests: mpsc::Receiver<Request>) {
    let namespace = enter_new_namespace();
    let ready = namespace.is_ok();
    if created.send(namespace).is_err() || !ready {
        return;
    }
    while let Some(request) = requests.blocking_recv() {
        // If the caller was dropped, this closes its sockets.
        match request {
            Request::Socket { family, reply } => drop(reply.send(socket(family))),
            Request::Capture { with_ipv6, reply } => drop(reply.send(capture::install(with_ipv6))),
        }
    }
}

fn enter_new_namespace() -> io::Result<OwnedFd> {
    #[allow(unsafe_code)]
    // SAFETY: only the network namespace of this thread changes; the table of file descriptors stays shared.
    unsafe {
        rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET)?;
    }
    bring_loopback_up()?;
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

fn socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?)
}

fn bring_loopback_up() -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    #[allow(unsafe_code)]
    // SAFETY: `ifreq` is plain data for which all zeroes is valid; the call reads the name and the flags of a
    // live local value and keeps no pointer to it.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = *from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
