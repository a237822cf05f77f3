//! Messages of Jupyter's protocol: signed, with a header, that of the request which they belong to, and content.

use std::{
    borrow::Cow,
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::zmtp::{Frame, MAX_FRAME_BYTES, Reader, Writer};
use crate::process::draw;

/// Stands between whom a message is for and the message.
const DELIMITER: &[u8] = b"<IDS|MSG>";

/// Frames that may come before that: topics or addresses.
const MAX_ADDRESSES: usize = 8;

/// Most bytes of a header.
const MAX_HEADER_BYTES: u64 = 64 << 10;

/// One client's session with one kernel.
#[derive(Debug)]
pub(super) struct Session {
    /// Its name; also the identity of its sockets.
    pub(super) id: String,
    key: String,
    sent: AtomicU64,
}

/// A header, as it is sent.
#[derive(Serialize)]
struct Header<'a> {
    msg_id: &'a str,
    session: &'a str,
    username: &'a str,
    date: String,
    msg_type: &'a str,
    version: &'a str,
    /// The subshell that is to answer, where it is not the main one.
    #[serde(skip_serializing_if = "Option::is_none")]
    subshell_id: Option<&'a str>,
}

/// What matters of a header that has come. Kernels leave much out that the protocol demands.
#[derive(Debug, Deserialize)]
struct ReceivedHeader<'a> {
    #[serde(borrow, default)]
    msg_type: Cow<'a, str>,
}

/// What matters of the header of the request that a message belongs to.
#[derive(Debug, Deserialize, Default)]
struct ParentHeader {
    msg_id: Option<String>,
}

/// A message up to its content.
#[derive(Debug)]
pub(super) struct Head {
    /// Its type.
    pub(super) kind: String,
    /// The request that it belongs to.
    pub(super) parent: Option<String>,
    /// Its header, which a reply on the same socket names as its parent.
    header: Bytes,
    signature: Bytes,
    parent_header: Bytes,
    metadata: Bytes,
    /// The frame with its content, which has not been read.
    pub(super) content: Frame,
}

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    /// Its type.
    pub(super) kind: String,
    /// The request that it belongs to.
    pub(super) parent: Option<String>,
    /// Its header as it came.
    pub(super) header: Bytes,
    /// JSON.
    pub(super) content: Bytes,
}

impl Message {
    /// Its content.
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_slice(&self.content).ok()
    }
}

impl Session {
    /// A new session, with a new key.
    pub(super) fn new() -> Result<Self, cabana_protocol::Error> {
        Ok(Self { id: draw()?, key: [draw()?, draw()?, draw()?].concat(), sent: AtomicU64::new(0) })
    }

    /// What messages are signed with.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// A number for a message that no other has.
    pub(super) fn next_id(&self) -> String {
        format!("{}-{}", self.id, self.sent.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Sends a request under this number.
    pub(super) async fn send(
        &self,
        writer: &mut Writer,
        id: &str,
        kind: &str,
        subshell: Option<&str>,
        content: &impl Serialize,
    ) -> io::Result<()> {
        self.send_with_parent(writer, id, kind, subshell, b"{}", content).await
    }

    /// Sends an answer to a message of the kernel's, whose header this is.
    pub(super) async fn answer(
        &self,
        writer: &mut Writer,
        parent: &[u8],
        kind: &str,
        content: &impl Serialize,
    ) -> io::Result<()> {
        let id = self.next_id();
        self.send_with_parent(writer, &id, kind, None, parent, content).await
    }

    async fn send_with_parent(
        &self,
        writer: &mut Writer,
        id: &str,
        kind: &str,
        subshell: Option<&str>,
        parent: &[u8],
        content: &impl Serialize,
    ) -> io::Result<()> {
        let date = humantime::format_rfc3339_micros(std::time::SystemTime::now()).to_string();
        let header = Header {
            msg_id: id,
            session: &self.id,
            username: "cabana",
            date,
            msg_type: kind,
            version: "5.3",
            subshell_id: subshell,
        };
        let (header, content) = (serde_json::to_vec(&header)?, serde_json::to_vec(content)?);
        let signature = HEXLOWER.encode(&self.sign([&header, parent, b"{}", &content]).finalize().into_bytes());
        writer.send(&[DELIMITER, signature.as_bytes(), &header, parent, b"{}", &content]).await
    }

    /// The signature of what comes from the kernel, as far as it has come.
    pub(super) fn check(&self, head: &Head) -> Hmac<Sha256> {
        self.sign([&head.header, &head.parent_header, &head.metadata])
    }

    fn sign<const N: usize>(&self, parts: [&[u8]; N]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_bytes()).expect("a key may have any length");
        parts.iter().for_each(|part| mac.update(part));
        mac
    }

    /// Receives a message.
    ///
    /// Fails where it is not signed with the key, or too large.
    pub(super) async fn receive(&self, reader: &mut Reader) -> io::Result<Message> {
        let head = receive_head(reader).await?;
        self.receive_content(reader, head).await
    }

    /// Receives the rest of a message.
    pub(super) async fn receive_content(&self, reader: &mut Reader, head: Head) -> io::Result<Message> {
        if head.content.length > MAX_FRAME_BYTES {
            return Err(malformed("a message of a sensible size"));
        }
        let content = reader.read_whole(head.content.length).await?;
        reader.skip_rest(head.content).await?;
        let mut mac = self.check(&head);
        mac.update(&content);
        head.verify(mac)?;
        Ok(Message { kind: head.kind, parent: head.parent, header: head.header, content })
    }
}

impl Head {
    /// Whether this is its signature.
    pub(super) fn verify(&self, mac: Hmac<Sha256>) -> io::Result<()> {
        let signature = HEXLOWER.decode(&self.signature).map_err(|_| malformed("a signature"))?;
        mac.verify_slice(&signature).map_err(|_| malformed("a message with the right signature"))
    }
}

/// Receives a message up to its content. Not to be dropped on its way.
pub(super) async fn receive_head(reader: &mut Reader) -> io::Result<Head> {
    let mut addresses = 0;
    loop {
        let frame = reader.frame().await?;
        let delimits = frame.length == DELIMITER.len() as u64 && reader.read_whole(frame.length).await? == DELIMITER;
        if frame.length != DELIMITER.len() as u64 {
            reader.skip(frame.length).await?;
        }
        match (delimits, frame.more) {
            (true, true) => break,
            // No message: the welcome of old servers, for instance.
            (_, false) => addresses = 0,
            (false, true) => addresses += 1,
        }
        if addresses > MAX_ADDRESSES {
            return Err(malformed("a message"));
        }
    }
    let mut parts = [const { Bytes::new() }; 4];
    for part in &mut parts {
        let frame = reader.frame().await?;
        if frame.length > MAX_HEADER_BYTES || !frame.more {
            return Err(malformed("a message with all its parts"));
        }
        *part = reader.read_whole(frame.length).await?;
    }
    let content = reader.frame().await?;
    let [signature, header, parent_header, metadata] = parts;
    let kind = serde_json::from_slice::<ReceivedHeader<'_>>(&header)?.msg_type.into_owned();
    let parent = serde_json::from_slice::<ParentHeader>(&parent_header).unwrap_or_default().msg_id;
    Ok(Head { kind, parent, header, signature, parent_header, metadata, content })
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the kernel did not send {what}"))
}
