//! Counting a body that does not say how long it is, on its way.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use cabana_protocol::audit::Course;
use futures_util::Stream;
use wasm_streams::{ReadableStream, readable::IntoStream};
use worker::{
    js_sys::Uint8Array,
    wasm_bindgen::{JsCast, JsValue},
    web_sys::{self, AbortSignal},
};

/// The same body; `ended` is told how many bytes have gone through when it has come to its end, one way or another: `caller` is who sends
/// or takes it. One that cannot be counted goes on as it is, and nobody hears of its end.
pub(super) fn meter(
    body: web_sys::ReadableStream,
    bytes: Rc<Cell<u64>>,
    caller: AbortSignal,
    ended: impl FnOnce(Course) + Unpin + 'static,
) -> web_sys::ReadableStream {
    match ReadableStream::from_raw(body.unchecked_into()).try_into_stream() {
        Ok(pieces) => {
            let metered = Metered { pieces, bytes, caller, ended: Some(ended) };
            ReadableStream::from_stream(metered).into_raw().unchecked_into()
        }
        Err((_, body)) => body.into_raw().unchecked_into(),
    }
}

/// The pieces of a body. They stay objects of the runtime's, and are not copied. Whoever takes them and goes away drops this.
struct Metered<F: FnOnce(Course)> {
    pieces: IntoStream<'static>,
    bytes: Rc<Cell<u64>>,
    caller: AbortSignal,
    ended: Option<F>,
}

impl<F: FnOnce(Course)> Metered<F> {
    fn end(&mut self, course: Course) {
        if let Some(ended) = self.ended.take() {
            ended(course);
        }
    }
}

impl<F: FnOnce(Course) + Unpin> Stream for Metered<F> {
    type Item = Result<JsValue, JsValue>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = ready!(Pin::new(&mut self.pieces).poll_next(context));
        match &piece {
            Some(Ok(piece)) => {
                let length = piece.dyn_ref::<Uint8Array>().map_or(0, Uint8Array::byte_length);
                self.bytes.set(self.bytes.get() + u64::from(length));
            }
            Some(Err(_)) if self.caller.aborted() => self.end(Course::Cut),
            Some(Err(_)) => self.end(Course::Broken),
            None => self.end(Course::Finished),
        }
        Poll::Ready(piece)
    }
}

impl<F: FnOnce(Course)> Drop for Metered<F> {
    fn drop(&mut self) {
        self.end(Course::Cut);
    }
}
