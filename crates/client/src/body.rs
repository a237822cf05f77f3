//! What is uploaded.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, SizeHint};

/// The content of an upload: bytes, or a stream of them of any length.
#[derive(Debug)]
pub struct Body {
    content: UnsyncBoxBody<Bytes, io::Error>,
    /// How much is left, of a stream whose length is known.
    left: Option<u64>,
}

impl Body {
    /// The pieces of this stream. An error of it ends the upload, and the request fails.
    pub fn stream(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self { content: StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync(), left: None }
    }

    /// The pieces of this stream, which are so many bytes together. The service takes such an upload faster. A stream of another length ends it.
    pub fn sized(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static, length: u64) -> Self {
        Self { left: Some(length), ..Self::stream(pieces) }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::from(Bytes::new())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { content: Full::new(bytes).map_err(|never| match never {}).boxed_unsync(), left: None }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = Pin::new(&mut self.content).poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Some(left)) = (&frame, self.left) {
            self.left = Some(left.saturating_sub(frame.data_ref().map_or(0, |piece| piece.len() as u64)));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(|| self.content.size_hint(), SizeHint::with_exact)
    }
}
