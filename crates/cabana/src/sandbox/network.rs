//! What a sandbox's network rules have done, as its object keeps it: counters, the last denials, and entries of the audit.

use std::rc::Rc;

use cabana_protocol::{
    Code, Error,
    audit::Outcome,
    network::{Denial, NetworkCounters, NetworkReport},
};
use serde::{Deserialize, Serialize};
use worker::{Request, Response};

use super::{object::Object, platform::Platform};
use crate::{
    Principal, RequestId,
    audit::Asked,
    clock::{now, rfc3339},
    egress::{DeniedRequest, Tally},
    lifecycle::Instant,
    reply,
    request::{decode, read_body},
};

/// Largest report of an isolate, in bytes: denials with all their rules and paths.
const MAX_BODY_BYTES: usize = 256 << 10;

/// The most denials that are kept for `GET /v1/sandboxes/{id}/network`.
const MAX_DENIALS: usize = 50;

/// Who asks for what leaves a sandbox, in the audit.
const PRINCIPAL: &str = "sandbox";

/// What was asked, in the audit.
const OPERATION: &str = "network.request";

/// How many denials are entered in the audit at once, and how long it takes until one more is. A sandbox that is denied all the time must not
/// push everything else out of its trail.
const BURST: u64 = 60;
const REFILL_MS: u64 = 10_000;

/// What is stored.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct NetworkHistory {
    counters: NetworkCounters,
    /// The newest first.
    denials: Vec<Denial>,
    /// When [`BURST`] denials may be entered again.
    full_at_ms: u64,
    /// Denials that were not entered since the last that was.
    left_out: u64,
}

impl NetworkHistory {
    /// Takes a report in. What is to be entered in the audit comes back, each with how many it stands for.
    fn add(&mut self, tally: Tally, now_ms: u64) -> Vec<(DeniedRequest, u64)> {
        self.counters.allowed += tally.counters.allowed;
        self.counters.with_secrets += tally.counters.with_secrets;
        self.counters.denied += tally.counters.denied;
        let named: u64 = tally.denials.iter().map(|(_, count)| count).sum();
        self.left_out += tally.counters.denied.saturating_sub(named);
        let mut entered = Vec::new();
        for (request, count) in tally.denials {
            self.denials.insert(0, denial(&request, count, tally.since_ms));
            if self.may_enter(now_ms) {
                entered.push((request, count));
            } else {
                self.left_out += count;
            }
        }
        self.denials.truncate(MAX_DENIALS);
        entered
    }

    fn may_enter(&mut self, now_ms: u64) -> bool {
        let full_at = self.full_at_ms.max(now_ms) + REFILL_MS;
        let may = full_at - now_ms <= BURST * REFILL_MS;
        if may {
            self.full_at_ms = full_at;
        }
        may
    }
}

fn denial(request: &DeniedRequest, count: u64, since_ms: u64) -> Denial {
    let DeniedRequest { method, scheme, host, path, bytes, rule } = request.clone();
    Denial { at: rfc3339(Instant(since_ms)), method, scheme, host, path, bytes, rule, count }
}

fn summary(request: &DeniedRequest, count: u64, left_out: u64) -> String {
    let DeniedRequest { method, scheme, host, path, rule, .. } = request;
    let times = if count > 1 { format!(" ({count} times)") } else { String::new() };
    let others = if left_out > 0 { format!("; {left_out} others before it have no entry") } else { String::new() };
    // The rule first: a long path is cut off at the end.
    format!("denied by {rule:?}{times}{others}: {method} {scheme}://{host}{path}")
}

/// `POST`, by an isolate of the Worker: takes in what became of requests.
pub(super) async fn record(object: &Rc<Object>, request: &mut Request, request_id: &RequestId) -> Result<Response, Error> {
    let tally: Tally = decode(&read_body(request, MAX_BODY_BYTES).await?)?;
    // A sandbox that was destroyed meanwhile keeps no counts.
    let Some(owner) = object.store.owner() else { return Ok(reply::empty(request_id)) };
    let (since, bytes_by) = (Instant(tally.since_ms), now().0);
    let mut history: NetworkHistory = object.store.rows().network()?.unwrap_or_default();
    let entered = history.add(tally, bytes_by);
    let principal = Principal { id: PRINCIPAL.to_owned(), tenant: owner.clone(), operator: false, ..Principal::operator() };
    for (denied, count) in entered {
        let asked = Asked { principal: &principal, operation: OPERATION, request_id: request_id.as_str(), at: since };
        let Some(entry) = object.audit.enter(Some(&owner), &asked) else { continue };
        let left_out = std::mem::take(&mut history.left_out);
        entry.note(Some(Code::Forbidden.status()), Some(summary(&denied, count, left_out)));
        entry.count(Some(denied.bytes), None);
        entry.end_deferred(Outcome::Failed(Code::Forbidden));
    }
    object.store.rows().save_network(&history)?;
    object.outbox.note_audit();
    Ok(reply::empty(request_id))
}

/// `GET /v1/sandboxes/{id}/network`
pub(super) fn answer(object: &Rc<Object>, request_id: &RequestId) -> Result<Response, Error> {
    let (rules, is_ruled) = {
        let record = object.store.record()?;
        (object.supervisor.platform().layers(&record.kind, &record.network), record.network.is_ruled)
    };
    let history: NetworkHistory = object.store.rows().network()?.unwrap_or_default();
    let internet = object.config.as_ref().is_ok_and(|config| config.internet) && rules.internet();
    let enforced = object.supervisor.platform().running().then_some(is_ruled);
    let report = NetworkReport { rules, internet, enforced, counters: history.counters, denials: history.denials };
    Ok(reply::json(200, &report, request_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(denials: u64, further: u64) -> Tally {
        let text = |text: &str| text.to_owned();
        let request = |path: u64| DeniedRequest {
            method: text("GET"),
            scheme: text("https"),
            host: text("a.test"),
            path: format!("/{path}"),
            bytes: 0,
            rule: text("r"),
        };
        let counters = NetworkCounters { allowed: 2, with_secrets: 1, denied: denials + further };
        Tally { counters, denials: (0..denials).map(|path| (request(path), 1)).collect(), since_ms: 1 }
    }

    #[test]
    fn a_flood_of_denials_leaves_room_in_the_trail_and_is_counted() {
        let mut history = NetworkHistory::default();
        let entered: usize = (0..100).map(|second| history.add(tally(32, 10), second * 1_000).len()).sum();
        assert!((60..=70).contains(&entered), "{entered}");
        assert_eq!(history.counters, NetworkCounters { allowed: 200, with_secrets: 100, denied: 4_200 });
        assert_eq!((history.denials.len(), history.left_out), (MAX_DENIALS, 4_200 - entered as u64));
        assert_eq!(history.denials[0].path, "/31", "the newest first");
        let later = history.add(tally(3, 0), 10_000_000);
        assert_eq!(later.len(), 3, "after a while there is room again");
    }

    #[test]
    fn a_summary_names_rule_and_url_and_what_has_no_entry() {
        let (request, _) = tally(1, 0).denials.remove(0);
        assert_eq!(summary(&request, 1, 0), "denied by \"r\": GET https://a.test/0");
        assert_eq!(summary(&request, 3, 7), "denied by \"r\" (3 times); 7 others before it have no entry: GET https://a.test/0");
    }
}
