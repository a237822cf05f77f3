//! Giving a request up: the runtime does not notice that nobody waits for an answer any more.

use cabana_protocol::Error;
use worker::{Request, web_sys};

/// Cancels a request when it is dropped.
#[derive(Debug)]
pub(super) struct Cancel(Option<web_sys::AbortController>);

impl Cancel {
    /// The request, and what cancels it.
    pub(super) fn on_drop(request: Request) -> Result<(Request, Self), Error> {
        let attach = || {
            let controller = web_sys::AbortController::new()?;
            let init = web_sys::RequestInit::new();
            init.set_signal(Some(&controller.signal()));
            Ok((web_sys::Request::new_with_request_and_init(request.inner(), &init)?.into(), Self(Some(controller))))
        };
        attach().map_err(|error: worker::wasm_bindgen::JsValue| Error::internal(worker::Error::from(error).to_string()))
    }

    /// The answer is there: there is nothing to cancel.
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }

    /// Cancels it now.
    pub(super) fn cancel(&mut self) {
        if let Some(controller) = self.0.take() {
            controller.abort();
        }
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.cancel();
    }
}
