//! Bare copies of files over a TCP connection of this machine: the limit of what a file server can do here.

use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

/// Bytes received at once.
const BUFFER: usize = 1 << 20;
/// Bytes of a file read and sent at once: what stays in the processor's cache on the way.
const PIECE: usize = 256 << 10;

/// Takes in a file from a thread that reads and sends it. sendfile(2) is slower than that over loopback.
pub(super) fn download(file: &Path) -> Result<u64> {
    let send = |mut stream: TcpStream| {
        let (mut file, mut buffer) = (File::open(file)?, vec![0; PIECE]);
        while let count @ 1.. = file.read(&mut buffer)? {
            stream.write_all(&buffer[..count])?;
        }
        Ok(())
    };
    over_connection(send, |stream| receive(stream, |_| Ok(())))
}

/// Sends `piece` until there are `length` bytes to a thread that writes them to a new file, which then replaces `file`.
pub(super) fn upload(file: &Path, length: u64, piece: &[u8]) -> Result<()> {
    let send = |mut stream: TcpStream| {
        for _ in 0..length / piece.len() as u64 {
            stream.write_all(piece)?;
        }
        Ok(())
    };
    let fresh = file.with_extension("fresh");
    let mut output = File::create(&fresh).context("create the copy")?;
    let received = over_connection(send, |stream| receive(stream, |bytes| Ok(output.write_all(bytes)?)))?;
    ensure!(received == length, "{received} of {length} bytes arrived");
    fs::rename(&fresh, file).context("put the copy in place")
}

/// Has a thread answer whatever `client` sends on its connection, some bytes at a time.
pub(super) fn exchange<T>(
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
    over_connection(serve, client)
}

fn over_connection<T>(
    send: impl FnOnce(TcpStream) -> Result<()> + Send,
    receive: impl FnOnce(TcpStream) -> Result<T>,
) -> Result<T> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    let stream = TcpStream::connect(listener.local_addr()?).context("connect")?;
    let (sending, _) = listener.accept().context("accept")?;
    thread::scope(|scope| {
        let sender = scope.spawn(move || send(sending));
        let received = receive(stream)?;
        sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        Ok(received)
    })
}

fn receive(mut stream: TcpStream, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
    let (mut buffer, mut length) = (vec![0; BUFFER], 0);
    while let count @ 1.. = stream.read(&mut buffer)? {
        take(&buffer[..count])?;
        length += count as u64;
    }
    Ok(length)
}
