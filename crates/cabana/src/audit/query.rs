//! `GET /v1/sandboxes/{id}/audit` and `…/audit/verify`. They wake nothing, and answer for a sandbox that was destroyed, too.

use cabana_protocol::{Code, Error, Untyped, audit::CODE_HEADER, names::invalid_parameter};
use worker::{Request, Response, js_sys::Date};

use super::{Audit, Link};
use crate::{Principal, RequestId, reply};

/// Entries on a page where the query does not say.
const DEFAULT_LIMIT: u32 = 100;

/// Most entries on a page.
const MAX_LIMIT: u32 = 1_000;

/// Which entries are wanted. Everything that is given must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    /// From this time on, in milliseconds since 1970.
    pub(super) from_ms: Option<u64>,
    /// Before this time.
    pub(super) to_ms: Option<u64>,
    /// An operation, or a family.
    pub(super) operation: Option<String>,
    pub(super) principal: Option<String>,
    pub(super) outcome: Option<String>,
    /// Before the entry of this number.
    pub(super) before: Option<u64>,
    pub(super) limit: u32,
}

impl Query {
    /// Reads the pairs of a query, whose times `time` understands. The router has refused unknown names.
    ///
    /// Fails with `invalid_request`.
    pub(super) fn of<'a>(
        pairs: impl Iterator<Item = (impl AsRef<str> + 'a, impl AsRef<str> + 'a)>,
        time: impl Fn(&str) -> Option<u64>,
    ) -> Result<Self, Error> {
        let mut query = Self {
            from_ms: None,
            to_ms: None,
            operation: None,
            principal: None,
            outcome: None,
            before: None,
            limit: DEFAULT_LIMIT,
        };
        for (name, value) in pairs {
            let value = value.as_ref();
            let instant = |name: &str| time(value).ok_or_else(|| invalid_parameter(name, "a time as RFC 3339 has it"));
            match name.as_ref() {
                "from" => query.from_ms = Some(instant("from")?),
                "to" => query.to_ms = Some(instant("to")?),
                "operation" => query.operation = Some(value.to_owned()),
                "principal" => query.principal = Some(value.to_owned()),
                "outcome" => query.outcome = Some(value.to_owned()),
                "cursor" => {
                    query.before = Some(value.parse().map_err(|_| invalid_parameter("cursor", "what a page gave as its cursor"))?)
                }
                "limit" => query.limit = limit(value)?,
                _ => {}
            }
        }
        Ok(query)
    }
}

/// A page of the entries that the caller may see.
pub(crate) fn list(audit: &Audit, request: &Request, principal: &Principal, request_id: &RequestId) -> Result<Response, Error> {
    let url = request.url().map_err(|error| Error::internal(error.to_string()))?;
    let query = Query::of(url.query_pairs(), instant)?;
    Ok(reply::json(200, &audit.page(&query, principal)?, request_id))
}

/// Whether a page of the trail is as it was written, and the record that was noted elsewhere is in it. What others did to a sandbox of the same name
/// is checked with it, and not shown.
pub(crate) fn verify(audit: &Audit, request: &Request, noted: Option<Link>, request_id: &RequestId) -> Result<Response, Error> {
    let url = request.url().map_err(|error| Error::internal(error.to_string()))?;
    let cursor = url.query_pairs().find(|(name, _)| name == "cursor").map(|(_, cursor)| Link::from_cursor(&cursor));
    let from = match cursor {
        Some(None) => return Err(invalid_parameter("cursor", "what a page gave as its cursor")),
        Some(from) => from,
        None => None,
    };
    // What an earlier page has checked is not in this one.
    let noted = noted.filter(|noted| from.as_ref().is_none_or(|from| noted.id > from.id));
    Ok(reply::json(200, &audit.verify(from, noted)?, request_id))
}

/// What the gateway has refused a request with, which becomes the outcome of its entry: what a caller may do within its tenant is decided
/// there.
pub(crate) fn refusal(request: &Request) -> Error {
    let code = request.headers().get(CODE_HEADER).ok().flatten();
    let code = code.and_then(|code| Untyped::from(serde_json::Value::from(code)).read::<Code>().ok()).unwrap_or(Code::Forbidden);
    Error::new(code, "refused by the gateway")
}

/// Milliseconds since 1970 of a time as RFC 3339 has it.
fn instant(text: &str) -> Option<u64> {
    // The runtime also takes `7` and `May 2026`, each in its own way.
    let (date, rest) = text.split_once(['T', 't'])?;
    let plausible = date.len() == 10 && (rest.ends_with(['Z', 'z']) || rest.contains(['+', '-']));
    let time = Date::parse(text);
    (plausible && time >= 0.0).then_some(time as u64)
}

fn limit(value: &str) -> Result<u32, Error> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| invalid_parameter("limit", &format!("a whole number from 1 to {MAX_LIMIT}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Result<Query, Error> {
        Query::of(pairs.iter().copied(), |text| text.strip_prefix('T')?.parse().ok())
    }

    #[test]
    fn what_can_be_asked() {
        let none = query(&[("unknown", "x")]).unwrap();
        assert_eq!((none.limit, none.from_ms, none.before), (DEFAULT_LIMIT, None, None));
        let all = [
            ("from", "T1"),
            ("to", "T2"),
            ("operation", "exec"),
            ("principal", "key:a"),
            ("outcome", "ok"),
            ("limit", "7"),
            ("cursor", "9"),
        ];
        let (text, number) = (|text: &str| Some(text.to_owned()), |number| Some(number));
        let expected = Query {
            from_ms: number(1),
            to_ms: number(2),
            operation: text("exec"),
            principal: text("key:a"),
            outcome: text("ok"),
            before: number(9),
            limit: 7,
        };
        assert_eq!(query(&all), Ok(expected));
    }

    #[test]
    fn nonsense_is_named() {
        for (name, value) in
            [("from", "yesterday"), ("to", ""), ("limit", "0"), ("limit", "1001"), ("limit", "x"), ("cursor", "-1")]
        {
            assert!(query(&[(name, value)]).unwrap_err().message.contains(&format!("`{name}`")), "{name}={value}");
        }
    }
}
