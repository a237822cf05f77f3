//! HTTP/1.1 written by hand, for requests that no client would send and connections that no client would keep.

use reqwest::Request;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpStream,
    time::timeout,
};

use crate::PATIENCE;

/// Opens a TCP connection to where this request goes.
pub async fn dial(request: &Request) -> TcpStream {
    let url = request.url();
    assert_eq!(url.scheme(), "http", "these cases speak TCP");
    TcpStream::connect((url.host_str().unwrap(), url.port_or_known_default().unwrap())).await.unwrap()
}

/// The head of this request with these fields on top, each with its line break, but for the blank line.
pub fn head(request: &Request, fields: &str) -> String {
    let url = request.url();
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut head = format!("{} {}{query} HTTP/1.1\r\nHost: {}\r\n", request.method(), url.path(), url.authority());
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    head + fields
}

/// The whole request: its head, up to and including the blank line, and its body.
pub fn spell(request: &Request) -> (String, String) {
    let body = request.body().and_then(reqwest::Body::as_bytes).map_or("", |body| std::str::from_utf8(body).unwrap());
    (head(request, &format!("Content-Length: {}\r\n\r\n", body.len())), body.to_owned())
}

/// What comes until it contains one of these texts, or until the connection ends. A reset ends it, too.
pub async fn read_until(stream: &mut (impl AsyncRead + Unpin), texts: &[&str]) -> String {
    String::from_utf8_lossy(&read_bytes_until(stream, texts).await).into_owned()
}

/// The bytes that come until they contain one of these texts, or until the connection ends. A reset ends it, too.
pub async fn read_bytes_until(stream: &mut (impl AsyncRead + Unpin), texts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let contains = |bytes: &[u8]| texts.iter().any(|text| bytes.windows(text.len()).any(|window| window == text.as_bytes()));
    let reading = async { while !contains(&bytes) && stream.read_buf(&mut bytes).await.unwrap_or(0) > 0 {} };
    timeout(PATIENCE, reading).await.expect("an answer, or the end");
    bytes
}
