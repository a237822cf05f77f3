//! Keeping a sandbox awake while a body is on its way that the agent does not see.

use std::rc::Rc;

use js_sys::{Array, Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use worker::{Response, ResponseBody, Result, wasm_bindgen_futures::JsFuture, web_sys::ReadableStream};

use super::life::Busy;

/// A body of a known length up to this is as good as sent, in bytes.
const SHORT: f64 = 65_536.0;

impl Busy {
    /// The same response, with this under way until the end of its body, or until nobody wants the rest of it.
    ///
    /// The runtime moves the bytes. Where it decodes them on the way it would have to encode them again, so what is encoded is left alone, and the
    /// guard ends here.
    pub(super) fn until_sent(self, response: Response) -> Result<Response> {
        let header = |name: &str| response.headers().get(name).ok().flatten();
        let length = header("content-length").and_then(|length| length.parse::<f64>().ok());
        if header("content-encoding").is_some() || length.is_some_and(|length| length <= SHORT) {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let ResponseBody::Stream(stream) = body else { return Ok(head.body(body)) };
        let (readable, sent) = pipe(&stream, length)?;
        let life = Rc::clone(self.life());
        life.spawn(async move {
            // Broken off or not, it is over.
            let _ = JsFuture::from(sent).await;
            drop(self);
        });
        Ok(head.body(ResponseBody::Stream(readable)))
    }
}

/// The other end of a pipe that the stream is poured into, and the end of the pouring.
fn pipe(stream: &ReadableStream, length: Option<f64>) -> Result<(ReadableStream, Promise)> {
    let class = if length.is_some() { "FixedLengthStream" } else { "IdentityTransformStream" };
    let class: Function = Reflect::get(&js_sys::global(), &class.into())?.dyn_into()?;
    let pipe = Reflect::construct(&class, &length.map(JsValue::from_f64).into_iter().collect::<Array>())?;
    let pour: Function = Reflect::get(stream, &"pipeTo".into())?.dyn_into()?;
    let sent = pour.call1(stream, &Reflect::get(&pipe, &"writable".into())?)?;
    Ok((Reflect::get(&pipe, &"readable".into())?.dyn_into()?, sent.dyn_into()?))
}
