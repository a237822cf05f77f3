//! Bodies that are observed on their way.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// The next frame of a body.
pub(crate) type Next = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

/// The same body, whose frames are polled through this, and which owns what this owns. Its size is known as before: uploads reserve disk
/// space by it, and small answers go out in one piece.
pub(crate) fn through(body: Body, poll: impl FnMut(Pin<&mut Body>, &mut Context<'_>) -> Next + Send + Unpin + 'static) -> Body {
    Body::new(Through { body, poll })
}

/// The same body, which owns this too: it is dropped with the body.
pub(crate) fn holding(body: Body, held: impl Send + Unpin + 'static) -> Body {
    through(body, move |body, context| {
        let _held = &held;
        body.poll_frame(context)
    })
}

struct Through<F> {
    body: Body,
    poll: F,
}

impl<F: FnMut(Pin<&mut Body>, &mut Context<'_>) -> Next + Unpin> HttpBody for Through<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Next {
        let Self { body, poll } = &mut *self;
        poll(Pin::new(body), context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_size_is_known_as_before() {
        for (body, size, ended) in [(Body::from("four"), Some(4), false), (Body::empty(), Some(0), true)] {
            let body = through(body, |body, context| body.poll_frame(context));
            assert_eq!((body.size_hint().exact(), body.is_end_stream()), (size, ended));
        }
    }
}
