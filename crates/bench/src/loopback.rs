//! Bare transfers over a TCP connection of this machine: the limit of what a file server can do here.

use anyhow::{Context, Result, anyhow, ensure};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

/// Bytes received at once.
const BUFFER: usize = 1 << 20;
/// Bytes of a file read and sent at once: small enough for the processor's cache.
const PIECE: usize = 256 << 10;

/// Receives a file that a thread reads and sends. sendfile(2) is slower over loopback.
pub(crate) fn download(file: &Path) -> Result<u64> {
    let send = |mut stream: TcpStream| {
        let (mut file, mut buffer) = (File::open(file)?, vec![0; PIECE]);
        while let count @ 1.. = file.read(&mut buffer)? {
            stream.write_all(&buffer[..count])?;
        }
        Ok(())
    };
    with_connection(send, |stream| receive(stream, |_| Ok(())))
}

/// Writes `length` bytes, repetitions of `piece` that a thread sends, to a new file, and replaces `file` by it.
pub(crate) fn upload(file: &Path, length: u64, piece: &[u8]) -> Result<()> {
    let send = |mut stream: TcpStream| {
        for _ in 0..length / piece.len() as u64 {
            stream.write_all(piece)?;
        }
        Ok(())
    };
    let temporary = file.with_extension("temporary");
    let mut output = File::create(&temporary).context("create the copy")?;
    let received = with_connection(send, |stream| receive(stream, |bytes| Ok(output.write_all(bytes)?)))?;
    ensure!(received == length, "{received} of {length} bytes arrived");
    fs::rename(&temporary, file).context("rename the copy")
}

/// Runs `client` on a connection to a thread that answers whatever it receives.
pub(crate) fn exchange<T>(
    answer: impl Fn(&[u8]) -> Result<Vec<u8>> + Send,
    client: impl FnOnce(TcpStream) -> Result<T>,
) -> Result<T> {
    let serve = move |mut stream: TcpStream| {
        let mut buffer = vec![0; PIECE];
        while let count @ 1.. = stream.read(&mut buffer)? {
            stream.write_all(&answer(&buffer[..count])?)?;
        }
        Ok(())
    };
    with_connection(serve, client)
}

fn with_connection<T>(
    serve: impl FnOnce(TcpStream) -> Result<()> + Send,
    client: impl FnOnce(TcpStream) -> Result<T>,
) -> Result<T> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    let connected = TcpStream::connect(listener.local_addr()?).context("connect")?;
    let (accepted, _) = listener.accept().context("accept")?;
    thread::scope(|scope| {
        let server = scope.spawn(move || serve(accepted));
        let value = client(connected)?;
        server.join().map_err(|_| anyhow!("the server panicked"))??;
        Ok(value)
    })
}

fn receive(mut stream: TcpStream, mut consume: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
    let (mut buffer, mut length) = (vec![0; BUFFER], 0);
    while let count @ 1.. = stream.read(&mut buffer)? {
        consume(&buffer[..count])?;
        length += count as u64;
    }
    Ok(length)
}
