//! What is uploaded.

use futures_util::{Stream, TryStreamExt};
use worker::{
    Request, Response, ResponseBody,
    js_sys::Uint8Array,
    wasm_bindgen::{JsCast, JsValue},
    web_sys::ReadableStream,
};

use crate::Result;

/// The content of an upload: bytes, or a stream of any length. A stream of the runtime (the body of a request or a response) is handed over, and
/// never copied into the Worker's memory.
#[derive(Debug)]
pub struct Body(Content);

#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    Stream(ReadableStream),
}

impl Body {
    /// The pieces of this stream. An error of it ends the upload, and the call fails.
    pub fn stream(pieces: impl Stream<Item = Result<Vec<u8>>> + 'static) -> Self {
        let pieces = pieces.map_ok(|piece| Uint8Array::from(piece.as_slice()).into());
        let stream = wasm_streams::ReadableStream::from_stream(pieces.map_err(|error| JsValue::from_str(&error.message)));
        Self(Content::Stream(stream.into_raw().unchecked_into()))
    }

    /// As the runtime takes it for a request.
    pub(super) fn into_js(self) -> JsValue {
        match self.0 {
            Content::Bytes(bytes) => Uint8Array::from(bytes.as_slice()).into(),
            Content::Stream(stream) => stream.into(),
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Content::Bytes(bytes))
    }
}

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<ReadableStream> for Body {
    fn from(stream: ReadableStream) -> Self {
        Self(Content::Stream(stream))
    }
}

impl From<Request> for Body {
    /// The body that a caller sends.
    fn from(request: Request) -> Self {
        request.inner().body().map_or_else(|| Vec::new().into(), Self::from)
    }
}

impl From<Response> for Body {
    /// The body that a server has answered with.
    fn from(response: Response) -> Self {
        match response.into_parts().1 {
            ResponseBody::Empty => Vec::new().into(),
            ResponseBody::Body(bytes) => bytes.into(),
            ResponseBody::Stream(stream) => stream.into(),
        }
    }
}
