//! The keys of an issuer that publishes them under a URL: fetched, remembered, and fetched again when it is time.

use std::{cell::RefCell, rc::Rc, time::Duration};

use cabana::{Code, log};
use cabana_protocol::Error;
use futures_util::{
    StreamExt,
    future::{self, Either},
};
use worker::{Context, Delay, Fetch, Headers, Request, RequestInit, RequestRedirect, Response};

use super::jwks::KeySet;
use crate::time;

/// How long a set is used before it is fetched again, in milliseconds: 5 min. The old one is used meanwhile, and for as long as that fails.
pub const FRESH_MS: u64 = 300_000;
/// How long after one fetch the next may come where the deployment says nothing, in milliseconds: 1 min. Tokens that name unknown keys cannot
/// make us fetch more often.
pub const PAUSE_MS: u64 = 60_000;
/// The same while there is no set at all: 5 s.
pub const FIRST_PAUSE_MS: u64 = 5_000;
/// Largest set, in bytes.
const MAX_LENGTH: usize = 64 << 10;
/// Longest wait for it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often a request looks whether another has fetched it.
const LOOK: Duration = Duration::from_millis(20);

/// What is known of an issuer's keys. Pure.
#[derive(Default)]
pub struct Known {
    keys: Option<Rc<KeySet>>,
    /// When they were last asked for, with success or without.
    asked_at_ms: Option<u64>,
    /// Whether that is not over yet. The request that does it may have ended: after the longest wait it is over in any case.
    fetching: bool,
}

/// What to do for a token.
#[derive(Clone)]
pub enum Next {
    /// Use these.
    Use(Rc<KeySet>),
    /// Use these, and fetch meanwhile.
    UseAndFetch(Rc<KeySet>),
    /// Fetch, and wait for it.
    Fetch,
    /// Another request is fetching: wait for that.
    Join,
    /// There are none, and it was just tried.
    Missing,
}

impl Known {
    /// What to do at this time, with so long between two fetches; `unknown` where the keys that are known did not do.
    pub fn next(&self, now_ms: u64, pause_ms: u64, unknown: bool) -> Next {
        let pause = if self.keys.is_some() { pause_ms } else { pause_ms.min(FIRST_PAUSE_MS) };
        let age = self.asked_at_ms.map(|asked| now_ms.saturating_sub(asked));
        let may_fetch = age.is_none_or(|age| age >= pause);
        match &self.keys {
            None if may_fetch => Next::Fetch,
            None if self.is_fetching(now_ms) => Next::Join,
            None => Next::Missing,
            Some(_) if unknown && may_fetch => Next::Fetch,
            Some(_) if unknown && self.is_fetching(now_ms) => Next::Join,
            Some(keys) if age.is_none_or(|age| age >= FRESH_MS) => Next::UseAndFetch(Rc::clone(keys)),
            Some(keys) => Next::Use(Rc::clone(keys)),
        }
    }

    fn is_fetching(&self, now_ms: u64) -> bool {
        self.fetching && self.asked_at_ms.is_some_and(|asked| u128::from(now_ms.saturating_sub(asked)) < TIMEOUT.as_millis())
    }
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// The issuer's keys, fetched no more often than this pause allows. With `unknown`, those that were known did not do; there may be no newer
/// ones yet.
///
/// Fails with `unavailable` where there are none, because the issuer does not answer.
pub async fn keys(url: &str, pause_ms: u64, context: &Context, unknown: bool) -> Result<Rc<KeySet>, Error> {
    let next = KNOWN.with_borrow(|known| known.next(time::now(), pause_ms, unknown));
    match next {
        Next::Use(keys) => Ok(keys),
        Next::UseAndFetch(keys) => {
            let url = url.to_owned();
            context.wait_until(async move { fetch(&url).await });
            Ok(keys)
        }
        Next::Fetch => {
            fetch(url).await;
            known()
        }
        Next::Join => {
            // A request of the runtime's cannot wait for what another one does.
            while KNOWN.with_borrow(|known| known.is_fetching(time::now())) {
                Delay::from(LOOK).await;
            }
            known()
        }
        Next::Missing => known(),
    }
}

fn known() -> Result<Rc<KeySet>, Error> {
    let missing = || Error::new(Code::Unavailable, "the keys of the tokens' issuer cannot be had at the moment");
    KNOWN.with_borrow(|known| known.keys.clone()).ok_or_else(missing)
}

/// Fetches the keys and remembers them; a failure leaves those that are known.
async fn fetch(url: &str) {
    KNOWN.with_borrow_mut(|known| (known.asked_at_ms, known.fetching) = (Some(time::now()), true));
    let fetched = match future::select(Box::pin(download(url)), Delay::from(TIMEOUT)).await {
        Either::Left((fetched, _)) => fetched,
        Either::Right(_) => Err(Error::internal(format!("it did not come within {TIMEOUT:?}"))),
    };
    KNOWN.with_borrow_mut(|known| known.fetching = false);
    match fetched {
        Ok(keys) => KNOWN.with_borrow_mut(|known| known.keys = Some(Rc::new(keys))),
        Err(error) => log::error(None, &format!("the JWKS could not be fetched: {}", error.message)),
    }
}

async fn download(url: &str) -> Result<KeySet, Error> {
    let failed = |error: worker::Error| Error::internal(error.to_string());
    let headers = Headers::new();
    headers.set("accept", "application/json").map_err(failed)?;
    let mut init = RequestInit::new();
    // A redirect is an answer that is none; the runtime has no `error` for it.
    init.with_headers(headers).with_redirect(RequestRedirect::Manual);
    let request = Request::new_with_init(url, &init).map_err(failed)?;
    let response = Fetch::Request(request).send().await.map_err(failed)?;
    KeySet::parse(&body(response).await?)
}

async fn body(mut response: Response) -> Result<Vec<u8>, Error> {
    if response.status_code() != 200 {
        return Err(Error::internal(format!("the issuer answered {}", response.status_code())));
    }
    let mut body = Vec::new();
    let mut chunks = response.stream().map_err(|error| Error::internal(error.to_string()))?;
    while let Some(chunk) = chunks.next().await {
        body.extend(chunk.map_err(|error| Error::internal(error.to_string()))?);
        if body.len() > MAX_LENGTH {
            return Err(Error::internal(format!("it is larger than {MAX_LENGTH} bytes")));
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(known: bool, asked_at_ms: Option<u64>, now_ms: u64, unknown: bool, fetching: bool) -> &'static str {
        let known = Known { keys: known.then(Rc::default), asked_at_ms, fetching };
        match known.next(now_ms, PAUSE_MS, unknown) {
            Next::Use(_) => "use",
            Next::UseAndFetch(_) => "use and fetch",
            Next::Fetch => "fetch",
            Next::Join => "join",
            Next::Missing => "missing",
        }
    }

    #[test]
    fn when_keys_are_fetched() {
        for (known, asked, now, unknown, expected) in [
            (false, None, 0, false, "fetch"),
            (false, Some(0), FIRST_PAUSE_MS - 1, false, "missing"),
            (false, Some(0), FIRST_PAUSE_MS, true, "fetch"),
            (true, Some(0), 0, false, "use"),
            (true, Some(0), PAUSE_MS - 1, true, "use"),
            (true, Some(0), PAUSE_MS, true, "fetch"),
            (true, Some(0), FRESH_MS - 1, false, "use"),
            (true, Some(0), FRESH_MS, false, "use and fetch"),
            (true, Some(FRESH_MS), FRESH_MS + 1, false, "use"),
        ] {
            assert_eq!(next(known, asked, now, unknown, false), expected, "{known} {asked:?} {now} {unknown}");
        }
    }

    #[test]
    fn whoever_comes_while_keys_are_fetched_waits_for_them_where_it_has_to() {
        for (known, now, unknown, expected) in [
            (false, 0, false, "join"),
            (false, FIRST_PAUSE_MS, false, "fetch"),
            (true, 0, false, "use"),
            (true, 0, true, "join"),
            (true, 5_000, true, "use"),
        ] {
            assert_eq!(next(known, Some(0), now, unknown, true), expected, "{known} {now} {unknown}");
        }
    }
}
