//! What `GET …/audit` may ask for. Pure.

use cabana_protocol::Error;

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
    /// Reads the pairs of a query, whose times `time` understands. Names that it does not know are ignored.
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
            let instant = |name: &str| time(value).ok_or_else(|| invalid(name, "a time as RFC 3339 has it"));
            match name.as_ref() {
                "from" => query.from_ms = Some(instant("from")?),
                "to" => query.to_ms = Some(instant("to")?),
                "operation" => query.operation = Some(value.to_owned()),
                "principal" => query.principal = Some(value.to_owned()),
                "outcome" => query.outcome = Some(value.to_owned()),
                "cursor" => query.before = Some(value.parse().map_err(|_| invalid("cursor", "what a page gave as its cursor"))?),
                "limit" => query.limit = limit(value)?,
                _ => {}
            }
        }
        Ok(query)
    }
}

fn limit(value: &str) -> Result<u32, Error> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| invalid("limit", &format!("a number from 1 to {MAX_LIMIT}")))
}

fn invalid(name: &str, wanted: &str) -> Error {
    Error::invalid_request(format!("{name} must be {wanted}"))
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
            assert!(query(&[(name, value)]).unwrap_err().message.starts_with(name), "{name}={value}");
        }
    }
}
