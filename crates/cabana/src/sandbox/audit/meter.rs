//! Counting a body that does not say how long it is, on its way.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use cabana_protocol::audit::Course;
use futures_util::{FutureExt, Stream};
use worker::{
    js_sys::Uint8Array,
    wasm_bindgen::{self, JsCast, JsValue, prelude::wasm_bindgen},
    wasm_bindgen_futures::JsFuture,
    web_sys::{
        AbortSignal, ReadableStream, ReadableStreamByobReader, ReadableStreamGetReaderOptions, ReadableStreamReadResult,
        ReadableStreamReaderMode,
    },
};

/// Most that is taken of a body at once. A reader that brings no buffer gets 4 KiB at a time, each for a turn of the event loop, and
/// moves a tenth as much.
const PIECE: u32 = 64 << 10;

/// The same body; `ended` is told how many bytes have gone through when it has come to its end, one way or another: `caller` is who sends
/// or takes it. One that cannot be counted goes on as it is, and nobody hears of its end.
pub(super) fn meter(
    body: ReadableStream,
    bytes: Rc<Cell<u64>>,
    caller: AbortSignal,
    ended: impl FnOnce(Course) + Unpin + 'static,
) -> ReadableStream {
    match reader(&body) {
        Ok(reader) => {
            let metered = Metered { reader, reading: None, bytes, caller, ended: Some(ended) };
            wasm_streams::ReadableStream::from_stream(metered).into_raw().unchecked_into()
        }
        Err(_) => body,
    }
}

fn reader(body: &ReadableStream) -> Result<ReadableStreamByobReader, JsValue> {
    let options = ReadableStreamGetReaderOptions::new();
    options.set_mode(ReadableStreamReaderMode::Byob);
    body.unchecked_ref::<GetReader>().get_reader(&options)
}

#[wasm_bindgen]
extern "C" {
    /// A stream whose method throws where it has no such reader.
    type GetReader;

    #[wasm_bindgen(method, catch, js_name = getReader)]
    fn get_reader(this: &GetReader, options: &ReadableStreamGetReaderOptions) -> Result<ReadableStreamByobReader, JsValue>;
}

/// The pieces of a body. They stay objects of the runtime's, and are not copied. Whoever takes them and goes away drops this.
struct Metered<F: FnOnce(Course)> {
    reader: ReadableStreamByobReader,
    /// The piece that is under way.
    reading: Option<JsFuture>,
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

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Uint8Array>, JsValue>> {
        let reader = &self.reader;
        let read = || JsFuture::from(reader.read_with_array_buffer_view(&Uint8Array::new_with_length(PIECE)));
        let outcome = ready!(self.reading.get_or_insert_with(read).poll_unpin(context));
        self.reading = None;
        Poll::Ready(outcome.map(|read| {
            let read = read.unchecked_into::<ReadableStreamReadResult>();
            (read.get_done() != Some(true)).then(|| read.get_value().unchecked_into())
        }))
    }
}

impl<F: FnOnce(Course) + Unpin> Stream for Metered<F> {
    type Item = Result<JsValue, JsValue>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.poll_piece(context)) {
            Ok(Some(piece)) => {
                self.bytes.set(self.bytes.get() + u64::from(piece.byte_length()));
                Some(Ok(piece.into()))
            }
            Ok(None) => {
                self.end(Course::Finished);
                None
            }
            Err(error) => {
                let course = if self.caller.aborted() { Course::Cut } else { Course::Broken };
                self.end(course);
                Some(Err(error))
            }
        })
    }
}

impl<F: FnOnce(Course)> Drop for Metered<F> {
    fn drop(&mut self) {
        if self.ended.is_some() {
            // Where it comes from is to stop as well; whether it heard, nobody asks.
            drop(self.reader.cancel());
        }
        self.end(Course::Cut);
    }
}
