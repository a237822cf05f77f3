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
    js_sys::{Promise, Uint8Array},
    wasm_bindgen::{self, JsCast, JsValue, prelude::wasm_bindgen},
    wasm_bindgen_futures::JsFuture,
    web_sys::{
        AbortSignal, ReadableStream, ReadableStreamByobReader, ReadableStreamDefaultReader, ReadableStreamGetReaderOptions,
        ReadableStreamReadResult, ReadableStreamReaderMode,
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
    match Reader::of(&body) {
        Ok(reader) => {
            let metered = Metered { reader, reading: None, bytes, caller, ended: Some(ended) };
            wasm_streams::ReadableStream::from_stream(metered).into_raw().unchecked_into()
        }
        Err(_) => body,
    }
}

/// How a body is read.
enum Reader {
    /// Into buffers that are brought.
    Into(ReadableStreamByobReader),
    /// As it comes: a stream of our own making gives its pieces away as they are.
    AsItComes(ReadableStreamDefaultReader),
}

impl Reader {
    fn of(body: &ReadableStream) -> Result<Self, JsValue> {
        let options = ReadableStreamGetReaderOptions::new();
        options.set_mode(ReadableStreamReaderMode::Byob);
        let body = body.unchecked_ref::<GetReader>();
        body.get_byob_reader(&options).map(Self::Into).or_else(|_| body.get_reader().map(Self::AsItComes))
    }

    fn read(&self) -> Promise {
        match self {
            Self::Into(reader) => reader.read_with_array_buffer_view(&Uint8Array::new_with_length(PIECE)),
            Self::AsItComes(reader) => reader.read(),
        }
    }

    /// Has it stop where it comes from, too. Whether that heard, nobody asks.
    fn cancel(&self) {
        match self {
            Self::Into(reader) => drop(reader.cancel()),
            Self::AsItComes(reader) => drop(reader.cancel()),
        }
    }
}

#[wasm_bindgen]
extern "C" {
    /// A stream whose method throws where it has no such reader.
    type GetReader;

    #[wasm_bindgen(method, catch, js_name = getReader)]
    fn get_byob_reader(this: &GetReader, options: &ReadableStreamGetReaderOptions) -> Result<ReadableStreamByobReader, JsValue>;

    #[wasm_bindgen(method, catch, js_name = getReader)]
    fn get_reader(this: &GetReader) -> Result<ReadableStreamDefaultReader, JsValue>;
}

/// The pieces of a body. They stay objects of the runtime's, and are not copied. Whoever takes them and goes away drops this.
struct Metered<F: FnOnce(Course)> {
    reader: Reader,
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
        let read = || JsFuture::from(reader.read());
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
            self.reader.cancel();
        }
        self.end(Course::Cut);
    }
}
