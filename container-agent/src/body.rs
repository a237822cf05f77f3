//! Bodies that somebody looks after on their way.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// What comes of a body next.
pub(crate) type Next = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

/// The same body, whose frames are polled through this, and which holds what this holds until it is dropped. Its size is known as
/// before: uploads take their room by it in advance, and small answers go out in one piece.
pub(crate) fn through(body: Body, poll: impl FnMut(Pin<&mut Body>, &mut Context<'_>) -> Next + Send + Unpin + 'static) -> Body {
    Body::new(Through { body, poll })
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
