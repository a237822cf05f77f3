//! `GET /v1/sandboxes/{id}/events`: what happened in a sandbox's life, and what happens from now on. Reading it wakes nothing, and
//! whoever follows keeps no sandbox awake.

use std::{cell::RefCell, pin::pin, rc::Rc, time::Duration};

use cabana_protocol::{
    Code, Error,
    sandbox::{History, LifeEvent, Reason, State},
};
use futures_channel::oneshot;
use futures_util::{
    future::{self, Either},
    stream,
};
use serde_json::json;
use worker::{Delay, Request, Response};

use super::{describe::rfc3339, form::Form, life::Life, now, record::encode};
use crate::{RequestId, reply};

/// How many may follow one sandbox at once.
const MAX_FOLLOWERS: usize = 64;

/// How long a follower hears nothing before it is shown that the connection is alive, and we notice if it is not.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Those who wait for the next event.
#[derive(Default)]
pub(super) struct Followers(RefCell<Vec<oneshot::Sender<()>>>);

impl Followers {
    /// Has everyone look again.
    pub(super) fn tell(&self) {
        for follower in self.0.take() {
            // It may have gone.
            let _ = follower.send(());
        }
    }

    fn next(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.0.borrow_mut();
        waiting.retain(|follower| !follower.is_canceled());
        waiting.push(sender);
        receiver
    }

    fn count(&self) -> usize {
        self.0.borrow().iter().filter(|follower| !follower.is_canceled()).count()
    }
}

/// What the caller wants to hear.
struct Wanted {
    form: Form,
    /// The number of the last event that it knows.
    after: u64,
    follow: bool,
}

/// Answers the request. Fails with `invalid_request`, `not_found`, and `too_many_requests` where too many follow already.
pub(super) fn answer(life: &Rc<Life>, request: &Request, request_id: &RequestId) -> Result<Response, Error> {
    let wanted = Wanted::of(request)?;
    if life.current().is_none() {
        return Err(super::life::not_found());
    }
    if wanted.form == Form::Json {
        let events = life.records.history(wanted.after)?;
        return Ok(reply::json(200, &History { events }, request_id));
    }
    if wanted.follow && life.followers.count() >= MAX_FOLLOWERS {
        let error = Error::new(Code::TooManyRequests, format!("{MAX_FOLLOWERS} follow this sandbox already"));
        return Err(error.with_details(json!({ "limit": MAX_FOLLOWERS })));
    }
    let form = wanted.form;
    form.respond(stream::unfold(Some(Follower { life: Rc::clone(life), wanted }), Follower::next), request_id)
}

impl Wanted {
    fn of(request: &Request) -> Result<Self, Error> {
        let url = request.url().map_err(|error| Error::internal(error.to_string()))?;
        let (mut after, mut follow) = (None, false);
        for (name, value) in url.query_pairs() {
            match name.as_ref() {
                "from" => after = Some(number("from", &value)?),
                "follow" => follow = matches!(value.as_ref(), "" | "1" | "true"),
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
    text.parse().map_err(|_| Error::invalid_request(format!("{name} is not the number of an event")))
}

/// Somebody who is told. What it has not heard yet is in storage, so that a slow one holds up nobody and takes no memory.
struct Follower {
    life: Rc<Life>,
    wanted: Wanted,
}

impl Follower {
    /// The next piece of the body, and who is to be told the one after, if anybody is.
    async fn next(this: Option<Self>) -> Option<(worker::Result<Vec<u8>>, Option<Self>)> {
        let mut this = this?;
        loop {
            let news = this.life.followers.next();
            let (events, gone) = this.unheard();
            if let Some(last) = events.last() {
                this.wanted.after = last.id;
                let ends = gone || !this.wanted.follow || last.state == State::Destroyed;
                return Some((Ok(frame(this.wanted.form, &events)), (!ends).then_some(this)));
            }
            if gone || !this.wanted.follow {
                return None;
            }
            if let Either::Right(_) = future::select(news, pin!(Delay::from(HEARTBEAT))).await {
                return Some((Ok(this.wanted.form.silence().to_vec()), Some(this)));
            }
        }
    }

    /// The events that it has not heard, and whether they are the last.
    fn unheard(&self) -> (Vec<LifeEvent>, bool) {
        if self.life.current().is_some() {
            return (self.life.records.history(self.wanted.after).unwrap_or_default(), false);
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
