//! `GET /v1/sandboxes/{id}/events`: what happened in a sandbox's life, and what happens from now on. Reading it wakes nothing, and
//! whoever follows keeps no sandbox awake.

use std::{pin::pin, rc::Rc};

use cabana_protocol::{
    Code, Error,
    names::invalid_parameter,
    sandbox::{History, LifeEvent, Reason, State},
};
use futures_util::{
    future::{self, Either},
    stream,
};
use serde_json::json;
use worker::{Delay, Request, Response};

use super::{object::Object, record::encode, store::not_found, stream::Form};
use crate::{
    RequestId,
    clock::{now, rfc3339},
    reply,
};

/// How many may follow one sandbox at once.
const MAX_FOLLOWERS: usize = 64;

/// What the caller wants to hear.
struct Wanted {
    form: Form,
    /// The number of the last event that it knows.
    after: u64,
    follow: bool,
}

/// Answers the request. Fails with `invalid_request`, `not_found`, and `too_many_requests` where too many follow already.
pub(super) fn answer(object: &Rc<Object>, request: &Request, request_id: &RequestId) -> Result<Response, Error> {
    let wanted = Wanted::of(request)?;
    if object.store.is_empty() {
        return Err(not_found());
    }
    if wanted.form == Form::Json {
        let events = object.store.rows().history(wanted.after)?;
        return Ok(reply::json(200, &History { events }, request_id));
    }
    if wanted.follow && object.supervisor.followers().waiting() >= MAX_FOLLOWERS {
        let error = Error::new(Code::TooManyRequests, format!("{MAX_FOLLOWERS} follow this sandbox already"));
        return Err(error.with_details(json!({ "limit": MAX_FOLLOWERS })));
    }
    let form = wanted.form;
    form.respond(stream::unfold(Some(Follower { object: Rc::clone(object), wanted }), Follower::next), request_id)
}

impl Wanted {
    fn of(request: &Request) -> Result<Self, Error> {
        let url = request.url().map_err(|error| Error::internal(error.to_string()))?;
        let (mut after, mut follow) = (None, false);
        for (name, value) in url.query_pairs() {
            match name.as_ref() {
                "from" => after = Some(number("from", &value)?),
                "follow" => {
                    follow = match value.as_ref() {
                        "" | "1" | "true" => true,
                        "0" | "false" => false,
                        _ => return Err(invalid_parameter("follow", "`true` or `false`")),
                    }
                }
                _ => {}
            }
        }
        let header = |name: &str| request.headers().get(name).ok().flatten();
        if let Some(id) = header("last-event-id") {
            after = Some(number("last-event-id", &id)?);
        }
        let form = Form::accepted(request).find(|form| !follow || *form != Form::Json);
        let form = form.unwrap_or(if follow { Form::Ndjson } else { Form::Json });
        Ok(Self { form, after: after.unwrap_or(0), follow })
    }
}

fn number(name: &str, text: &str) -> Result<u64, Error> {
    text.parse().map_err(|_| invalid_parameter(name, "the number of an event"))
}

/// Somebody who is told. What it has not heard yet is in storage, so that a slow one holds up nobody and takes no memory.
struct Follower {
    object: Rc<Object>,
    wanted: Wanted,
}

impl Follower {
    /// The next piece of the body, and who is to be told the one after, if anybody is.
    async fn next(this: Option<Self>) -> Option<(worker::Result<Vec<u8>>, Option<Self>)> {
        let mut this = this?;
        loop {
            let news = this.object.supervisor.followers().wait();
            let (events, gone) = this.unheard();
            if let Some(last) = events.last() {
                this.wanted.after = last.id;
                let ends = gone || !this.wanted.follow || last.state == State::Destroyed;
                return Some((Ok(frame(this.wanted.form, &events)), (!ends).then_some(this)));
            }
            if gone || !this.wanted.follow {
                return None;
            }
            if let Either::Right(_) = future::select(news, pin!(Delay::from(this.object.store.rules().timings.heartbeat))).await {
                return Some((Ok(this.wanted.form.silence().to_vec()), Some(this)));
            }
        }
    }

    /// The events that it has not heard, and whether they are the last.
    fn unheard(&self) -> (Vec<LifeEvent>, bool) {
        if !self.object.store.is_empty() {
            return (self.object.store.rows().history(self.wanted.after).unwrap_or_default(), false);
        }
        // The history has gone with the sandbox.
        let (state, reason) = (State::Destroyed, Some(Reason::DestroyedByCaller));
        (vec![LifeEvent { id: self.wanted.after + 1, at: rfc3339(now()), state, reason }], true)
    }
}

/// Events as they go out. Server-sent ones have their numbers as ids, to go on from.
fn frame(form: Form, events: &[LifeEvent]) -> Vec<u8> {
    let framed = events.iter().flat_map(|event| {
        let line = form.frame(encode(event).unwrap_or_default().as_bytes());
        let head = if form == Form::Sse { format!("id: {}\nevent: state\n", event.id) } else { String::new() };
        [head.into_bytes(), line].concat()
    });
    framed.collect()
}
