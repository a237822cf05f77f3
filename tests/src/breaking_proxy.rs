//! A connection that breaks: what passes through this proxy is cut off when a case says so.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use crate::{caller, until};

/// A proxy before the service under test.
#[derive(Debug)]
pub struct BreakingProxy {
    address: SocketAddr,
    cuts: watch::Sender<u64>,
    is_down: Arc<AtomicBool>,
    open: Arc<AtomicUsize>,
    /// Bytes that pass before all connections are broken.
    left: Arc<AtomicI64>,
    serving: JoinHandle<()>,
}

impl BreakingProxy {
    /// One that lets everything pass.
    pub async fn start() -> Self {
        let service = caller::service().0;
        let target = service.strip_prefix("http://").expect("the service is on this machine").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cuts, cut) = watch::channel(0);
        let (is_down, open) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let (down, count, bytes, cutter) = (is_down.clone(), open.clone(), left.clone(), cuts.clone());
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if down.load(Ordering::SeqCst) {
                    continue;
                }
                let (target, mut cut, count) = (target.clone(), cut.clone(), count.clone());
                let (bytes, cutter) = (bytes.clone(), cutter.clone());
                cut.mark_unchanged();
                tokio::spawn(async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    tokio::select! {
                        _ = pass(client, &target, &bytes, &cutter) => {}
                        _ = cut.changed() => {}
                    }
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, cuts, is_down, open, left, serving }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks all connections that are open.
    pub async fn cut(&self) {
        until("a connection passes the proxy", async || self.open.load(Ordering::SeqCst) > 0).await;
        self.cuts.send_modify(|cuts| *cuts += 1);
        until("the connections have broken", async || self.open.load(Ordering::SeqCst) == 0).await;
    }

    /// Breaks all connections once so many bytes have passed, in both directions together.
    pub fn cut_after(&self, bytes: i64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    /// Whether the connections have broken that [`Self::cut_after`] was to break.
    pub fn has_cut(&self) -> bool {
        self.left.load(Ordering::SeqCst) <= 0
    }

    /// Closes new connections at once, or lets them pass again.
    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }
}

impl Drop for BreakingProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(mut client: TcpStream, target: &str, left: &AtomicI64, cuts: &watch::Sender<u64>) -> io::Result<()> {
    let mut service = TcpStream::connect(target).await?;
    let ((from_client, to_client), (from_service, to_service)) = (client.split(), service.split());
    tokio::try_join!(relay(from_client, to_service, left, cuts), relay(from_service, to_client, left, cuts)).map(drop)
}

async fn relay(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    left: &AtomicI64,
    cuts: &watch::Sender<u64>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        let length = i64::try_from(length).unwrap();
        let before = left.fetch_sub(length, Ordering::SeqCst);
        if before > 0 && before <= length {
            cuts.send_modify(|cuts| *cuts += 1);
        }
    }
}
