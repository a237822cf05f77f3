//! Counting a body that does not say how long it is, on its way.

use std::{cell::Cell, rc::Rc};

use cabana_protocol::audit::Course;
use worker::{
    js_sys::{Object, Reflect, Uint8Array},
    wasm_bindgen::{JsCast, JsValue, closure::Closure},
    wasm_bindgen_futures::{JsFuture, spawn_local},
    web_sys::{AbortSignal, ReadableStream, TransformStream, TransformStreamDefaultController},
};

/// The same body; `ended` is told how many bytes went through and how that ended, `caller` being whom they go to. One that cannot be counted
/// goes on as it is, and nobody hears of its end.
pub(super) fn meter(body: ReadableStream, caller: AbortSignal, ended: impl FnOnce(u64, Course) + 'static) -> ReadableStream {
    try_meter(&body, caller, ended).unwrap_or(body)
}

fn try_meter(
    body: &ReadableStream,
    caller: AbortSignal,
    ended: impl FnOnce(u64, Course) + 'static,
) -> Result<ReadableStream, JsValue> {
    let bytes = Rc::new(Cell::new(0));
    let counted = Rc::clone(&bytes);
    let count = Closure::<dyn Fn(Uint8Array, TransformStreamDefaultController) -> Result<(), JsValue>>::new(
        move |chunk: Uint8Array, next: TransformStreamDefaultController| {
            counted.set(counted.get() + u64::from(chunk.byte_length()));
            next.enqueue_with_chunk(&chunk)
        },
    );
    let transformer = Object::new();
    Reflect::set(&transformer, &"transform".into(), count.as_ref())?;
    let through = TransformStream::new_with_transformer(&transformer)?;
    let piped = JsFuture::from(body.pipe_to(&through.writable()));
    spawn_local(async move {
        let course = match piped.await {
            Ok(_) => Course::Finished,
            Err(_) if caller.aborted() => Course::Cut,
            Err(_) => Course::Broken,
        };
        drop(count);
        ended(bytes.get(), course);
    });
    Ok(through.readable().unchecked_into())
}
