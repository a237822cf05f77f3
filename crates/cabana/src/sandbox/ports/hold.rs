//! Keeping a sandbox awake for as long as somebody reads what a program in it says.

use std::rc::Rc;

use js_sys::BigInt;
use worker::{
    Response, ResponseBody,
    wasm_bindgen::{self, JsValue, prelude::wasm_bindgen},
    wasm_bindgen_futures::JsFuture,
    web_sys::TransformStream,
    worker_sys::FixedLengthStream,
};

use crate::{log, sandbox::runtime::Lease};

#[wasm_bindgen]
extern "C" {
    /// Bytes go through it inside the runtime, no faster than they are read.
    #[wasm_bindgen(extends = TransformStream)]
    type IdentityTransformStream;

    #[wasm_bindgen(constructor, catch)]
    fn new() -> Result<IdentityTransformStream, JsValue>;
}

/// The same response, which holds the lease until its body has ended, or nobody reads it any more.
///
/// A compressed body is passed on without being held: reading it, the runtime would unpack it. Neither is a WebSocket.
pub(super) fn hold(response: Response, lease: Lease) -> Response {
    let packed = response.headers().has("content-encoding").unwrap_or_default();
    let length = response.headers().get("content-length").ok().flatten();
    let (head, body) = response.into_parts();
    let body = match body {
        ResponseBody::Stream(stream) if !packed => stream,
        other => return head.body(other),
    };
    let pipe = match pipe(length.and_then(|length| length.parse().ok())) {
        Ok(pipe) => pipe,
        Err(error) => {
            log::warn(None, &format!("a visit cannot be held: {error:?}"));
            return head.stream(body);
        }
    };
    let end = JsFuture::from(body.pipe_to(&pipe.writable()));
    let supervisor = Rc::clone(lease.supervisor());
    supervisor.platform().state().wait_until(async move {
        // However it ends.
        let _ = end.await;
        drop(lease);
    });
    head.stream(pipe.readable())
}

fn pipe(length: Option<u64>) -> Result<TransformStream, JsValue> {
    match length {
        Some(length) => FixedLengthStream::new_big_int(BigInt::from(length)).map(TransformStream::from),
        None => IdentityTransformStream::new().map(TransformStream::from),
    }
}
