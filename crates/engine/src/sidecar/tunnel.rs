//! The bytes of one tunnel.

use std::io;

use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::network_fault::{self, NetworkFault};

/// Bytes buffered in each direction. A full buffer blocks the writer.
const BUFFER: usize = 64 * 1024;

/// Copies both ways until both ends have finished. A half-close is passed on.
pub(super) async fn run(request: Request<Incoming>, inside: TcpStream, fault: Option<NetworkFault>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        // An error at one end closes the other.
        _ = copy(request, inside, fault.as_ref()) => {}
    }
}

async fn copy(request: Request<Incoming>, mut inside: TcpStream, fault: Option<&NetworkFault>) -> io::Result<()> {
    let upgraded = hyper::upgrade::on(request).await.map_err(io::Error::other)?;
    // The bare socket, without hyper's layers, copies faster.
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| io::Error::other("the connection is not TCP"))?;
    let mut outside = parts.io.into_inner();
    let copying = async {
        inside.write_all(&parts.read_buf).await?;
        copy_bidirectional_with_sizes(&mut outside, &mut inside, BUFFER, BUFFER).await
    };
    let Some(fault) = fault else { return copying.await.map(drop) };
    if !fault.apply(async { drop(copying.await) }).await {
        [&outside, &inside].into_iter().for_each(network_fault::reset_on_close);
    }
    Ok(())
}
