//! A sandbox as callers see it.

use cabana_protocol::sandbox::{Failure, Sandbox};
use worker::wasm_bindgen::JsValue;

use super::record::Record;
use crate::lifecycle::{Deadline, Instant, Rules};

/// What callers see at this time. Variables are not shown.
pub(super) fn describe(record: &Record, rules: &Rules, now: Instant) -> Sandbox {
    let lifecycle = &record.lifecycle;
    let deadlines = lifecycle.deadlines(rules);
    let sleep_after = lifecycle.sleep_after(rules).as_millis();
    Sandbox {
        id: record.id.clone(),
        kind: record.kind.clone(),
        instance: record.instance,
        tenant: record.tenant.clone(),
        project: record.project.clone(),
        setup: record.setup.clone(),
        labels: record.labels.clone(),
        updated_at: rfc3339(record.updated_at),
        state: lifecycle.state,
        state_reason: lifecycle.reason.clone(),
        since: rfc3339(lifecycle.since),
        created_at: rfc3339(lifecycle.created_at),
        starts: lifecycle.starts,
        sleep_after_ms: u64::try_from(sleep_after).unwrap_or(u64::MAX),
        keep_alive: lifecycle.policy.keep_alive,
        max_lifetime_ms: lifecycle.policy.max_lifetime_ms,
        sleeps_at: deadlines.get(Deadline::Sleep).filter(|_| !lifecycle.is_busy()).map(rfc3339),
        expires_at: deadlines.get(Deadline::Expire).map(rfc3339),
        retry_at: lifecycle.retry_at(now).map(rfc3339),
        last_failure: lifecycle.failure.as_ref().map(|(reason, at)| Failure { reason: reason.clone(), at: rfc3339(*at) }),
        wakeups: record.wakeups,
    }
}

/// RFC 3339 in UTC.
pub(super) fn rfc3339(at: Instant) -> String {
    // Dates end in the year 275760; what lies after that is as good as never.
    const LAST: u64 = 8_640_000_000_000_000;
    js_sys::Date::new(&JsValue::from_f64(at.0.min(LAST) as f64)).to_iso_string().into()
}
