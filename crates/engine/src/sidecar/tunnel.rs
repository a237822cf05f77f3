//! The bytes of one tunnel.

use std::io;

use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::weather::{self, Weather};

/// Bytes on their way in each direction. A reader that is slower than that slows its writer.
const BUFFER: usize = 64 * 1024;

/// Copies both ways until both ends have finished; an end of one direction is passed on alone.
pub(super) async fn run(request: Request<Incoming>, inside: TcpStream, weather: Weather, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        // An end that breaks off takes the tunnel with it, and the other end sees it closed.
        _ = copy(request, inside, &weather) => {}
    }
}

async fn copy(request: Request<Incoming>, mut inside: TcpStream, weather: &Weather) -> io::Result<()> {
    let upgraded = hyper::upgrade::on(request).await.map_err(io::Error::other)?;
    // The bare socket, without hyper's layers, copies faster.
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| io::Error::other("the connection is not TCP"))?;
    let mut outside = parts.io.into_inner();
    let passing = async {
        inside.write_all(&parts.read_buf).await?;
        copy_bidirectional_with_sizes(&mut outside, &mut inside, BUFFER, BUFFER).await
    };
    if !weather.endure(async { drop(passing.await) }).await {
        [&outside, &inside].into_iter().for_each(weather::reset);
    }
    Ok(())
}
