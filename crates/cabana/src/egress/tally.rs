//! What becomes of the requests of sandboxes, counted in the isolate and reported to each sandbox's object after a moment.
//!
//! A report for each request would make the object as busy as the sandbox is. So an isolate counts, and reports once a second at most. Equal
//! denials are one, and of different ones a report names so many; all are counted. What an isolate has not reported when it ends is lost.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use cabana_protocol::{Code, Error, network::NetworkCounters};
use serde::{Deserialize, Serialize};
use worker::{Context, Delay, Env, Method};

use crate::{
    Address, Handle,
    clock::now,
    handle, log,
    wire::{NETWORK_PATH, request},
};

/// How long an isolate counts before it reports.
const PAUSE: Duration = Duration::from_secs(1);

/// After so long a report that was to come is taken for lost: the platform has ended the request that was to send it.
const LOST_MS: u64 = 10_000;

/// The most different denials of one report.
const MAX_DENIALS: usize = 32;

/// The most sandboxes that an isolate counts for at once. It is one second's worth; further ones are not counted.
const MAX_SANDBOXES: usize = 1_024;

/// Longest path that is kept, in characters.
const MAX_PATH: usize = 200;

/// What was counted of one sandbox.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) counters: NetworkCounters,
    /// Different denials, each with how many were the same.
    pub(crate) denials: Vec<(DeniedRequest, u64)>,
    /// When the first came.
    pub(crate) since_ms: u64,
}

/// A request that was denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeniedRequest {
    pub(crate) method: String,
    pub(crate) scheme: String,
    /// With the port where it is not the usual one.
    pub(crate) host: String,
    /// Without the query.
    pub(crate) path: String,
    /// Of its body, as announced.
    pub(crate) bytes: u64,
    pub(crate) rule: String,
}

/// What became of a request.
pub(super) enum Decision {
    Allowed { with_secret: bool },
    Denied(DeniedRequest),
}

#[derive(Default)]
struct Tallies(BTreeMap<String, Tally>);

thread_local! {
    /// Shared by all requests of the isolate.
    static TALLIES: RefCell<Tallies> = RefCell::default();
}

impl Tally {
    fn count(&mut self, decision: Decision) {
        match decision {
            Decision::Allowed { with_secret } => {
                self.counters.allowed += 1;
                self.counters.with_secrets += u64::from(with_secret);
            }
            Decision::Denied(mut request) => {
                self.counters.denied += 1;
                if let Some((at, _)) = request.path.char_indices().nth(MAX_PATH) {
                    request.path.truncate(at);
                }
                self.add(request, 1);
            }
        }
    }

    fn add(&mut self, request: DeniedRequest, count: u64) {
        let same =
            |known: &DeniedRequest| DeniedRequest { bytes: 0, ..known.clone() } == DeniedRequest { bytes: 0, ..request.clone() };
        match self.denials.iter().position(|(known, _)| same(known)) {
            Some(at) => {
                let (known, counted) = &mut self.denials[at];
                known.bytes = known.bytes.saturating_add(request.bytes);
                *counted += count;
            }
            None if self.denials.len() < MAX_DENIALS => self.denials.push((request, count)),
            // The counters have it.
            None => {}
        }
    }
}

impl Tallies {
    /// Counts; true where a report is to be sent in a moment.
    fn note(&mut self, sandbox: &str, decision: Decision, now_ms: u64) -> bool {
        if !self.has_room_for(sandbox, now_ms) {
            return false;
        }
        let tally = self.0.entry(sandbox.to_owned()).or_default();
        let is_due = tally.since_ms == 0 || now_ms.saturating_sub(tally.since_ms) > LOST_MS;
        if is_due {
            tally.since_ms = now_ms;
        }
        tally.count(decision);
        is_due
    }

    /// Whether the sandbox can be counted. Where there are too many, those go that no report is coming for.
    fn has_room_for(&mut self, sandbox: &str, now_ms: u64) -> bool {
        if self.0.len() >= MAX_SANDBOXES && !self.0.contains_key(sandbox) {
            self.0.retain(|_, tally| now_ms.saturating_sub(tally.since_ms) <= LOST_MS);
        }
        self.0.len() < MAX_SANDBOXES || self.0.contains_key(sandbox)
    }

    /// What a report that failed has held, for the next one.
    fn put_back(&mut self, sandbox: &str, failed: Tally, now_ms: u64) {
        if !self.has_room_for(sandbox, now_ms) {
            return;
        }
        let tally = self.0.entry(sandbox.to_owned()).or_default();
        tally.counters.allowed += failed.counters.allowed;
        tally.counters.with_secrets += failed.counters.with_secrets;
        tally.counters.denied += failed.counters.denied;
        failed.denials.into_iter().for_each(|(request, count)| tally.add(request, count));
    }
}

/// Counts what became of a request of this sandbox, whose object is reached by `binding` where its kind has none of its own.
pub(super) fn note(decision: Decision, sandbox: Address, env: &Env, context: &Context, binding: &'static str) {
    let is_due = TALLIES.with_borrow_mut(|tallies| tallies.note(&sandbox.to_string(), decision, now().0));
    if is_due {
        let env = env.clone();
        context.wait_until(async move {
            Delay::from(PAUSE).await;
            report(sandbox, &env, binding).await;
        });
    }
}

async fn report(sandbox: Address, env: &Env, binding: &str) {
    let name = sandbox.to_string();
    let Some(tally) = TALLIES.with_borrow_mut(|tallies| tallies.0.remove(&name)) else { return };
    match send(sandbox, env, binding, &tally).await {
        // It was destroyed meanwhile.
        Err(error) if error.code == Code::NotFound => {}
        Err(error) => {
            log::warn(None, &format!("the object of {name} has not heard of its sandbox's requests yet: {}", error.message));
            TALLIES.with_borrow_mut(|tallies| tallies.put_back(&name, tally, now().0));
        }
        Ok(()) => {}
    }
}

async fn send(sandbox: Address, env: &Env, binding: &str, tally: &Tally) -> Result<(), Error> {
    let request = request(Method::Post, NETWORK_PATH, Some(tally))?;
    handle::check(Handle::new(env, binding, sandbox)?.pass(request).await?).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(path: &str, bytes: u64) -> Decision {
        let text = |text: &str| text.to_owned();
        let request = DeniedRequest {
            method: text("GET"),
            scheme: text("https"),
            host: text("a.test"),
            path: text(path),
            bytes,
            rule: text("r"),
        };
        Decision::Denied(request)
    }

    #[test]
    fn the_first_of_a_moment_is_reported_with_all_that_follow() {
        let mut tallies = Tallies::default();
        assert!(tallies.note("a", denied("/x", 3), 1_000));
        assert!(!tallies.note("a", denied("/x", 4), 1_500));
        assert!(!tallies.note("a", Decision::Allowed { with_secret: true }, 1_600));
        assert!(tallies.note("b", Decision::Allowed { with_secret: false }, 1_600));
        let tally = tallies.0.remove("a").unwrap();
        assert_eq!(tally.counters, NetworkCounters { allowed: 1, with_secrets: 1, denied: 2 });
        assert_eq!(tally.denials.iter().map(|(request, count)| (request.bytes, *count)).collect::<Vec<_>>(), [(7, 2)]);
        assert!(tallies.note("a", denied("/x", 0), 1_700), "the next moment has a report of its own");
        assert!(tallies.note("a", denied("/x", 0), 1_700 + LOST_MS + 1), "a report that never came is sent again");
    }

    #[test]
    fn what_a_report_that_failed_has_held_is_in_the_next() {
        let mut tallies = Tallies::default();
        tallies.note("a", denied("/x", 1), 1);
        let failed = tallies.0.remove("a").unwrap();
        tallies.put_back("a", failed, 2);
        assert!(tallies.note("a", denied("/x", 1), 2));
        assert_eq!((tallies.0["a"].counters.denied, tallies.0["a"].denials.len()), (2, 1));
    }

    #[test]
    fn a_sandbox_that_floods_it_takes_bounded_memory() {
        let mut tallies = Tallies::default();
        for number in 0..10_000_u64 {
            tallies.note("a", denied(&format!("/{number}/{}", "\u{e9}".repeat(5_000)), 0), 1);
            tallies.note(&number.to_string(), Decision::Allowed { with_secret: false }, 1);
        }
        assert_eq!(
            (tallies.0["a"].counters.denied, tallies.0["a"].denials.len(), tallies.0.len()),
            (10_000, MAX_DENIALS, MAX_SANDBOXES)
        );
        assert!(tallies.0["a"].denials.iter().all(|(request, _)| request.path.chars().count() == MAX_PATH));
        assert!(
            tallies.note("later", Decision::Allowed { with_secret: false }, 2 + LOST_MS),
            "what nobody reports any more makes room"
        );
    }
}
