//! A network namespace with a loopback interface and nothing else.
//!
//! A thread that has entered another network namespace must not return to a pool, so each network has a thread of its
//! own. The thread only makes sockets, which never blocks. A socket stays in the namespace it was made in, so any other
//! thread can connect it.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// Capacity of the queue of socket requests.
const SOCKET_REQUESTS: usize = 64;

/// One network namespace. The last drop ends its thread; the kernel frees the namespace with the last process in it.
#[derive(Debug)]
pub struct Network {
    namespace: OwnedFd,
    requests: mpsc::Sender<SocketRequest>,
}

#[derive(Debug)]
struct SocketRequest {
    family: AddressFamily,
    reply: oneshot::Sender<io::Result<OwnedFd>>,
}

impl Network {
    /// Makes a network namespace and brings its loopback interface up.
    pub async fn create(name: &str) -> io::Result<Self> {
        let (requests, receiver) = mpsc::channel(SOCKET_REQUESTS);
        let (created, outcome) = oneshot::channel();
        std::thread::Builder::new().name(format!("net-{name}")).stack_size(128 * 1024).spawn(move || serve(created, receiver))?;
        let namespace = outcome.await.map_err(|_| thread_ended())??;
        Ok(Self { namespace, requests })
    }

    /// Opens a TCP connection to `address` as seen from inside the network.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let (reply, socket) = oneshot::channel();
        self.requests.send(SocketRequest { family, reply }).await.map_err(|_| thread_ended())?;
        let socket = socket.await.map_err(|_| thread_ended())??;
        let socket = TcpSocket::from_std_stream(StdTcpStream::from(socket));
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl AsFd for Network {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

fn thread_ended() -> io::Error {
    io::Error::other("the network's thread has ended")
}

fn serve(created: oneshot::Sender<io::Result<OwnedFd>>, mut requests: mpsc::Receiver<SocketRequest>) {
    let namespace = enter_new_namespace();
    let ready = namespace.is_ok();
    if created.send(namespace).is_err() || !ready {
        return;
    }
    while let Some(request) = requests.blocking_recv() {
        // If the caller was dropped, this closes its socket.
        let _ = request.reply.send(socket(request.family));
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
