//! Fuzzing of the places where a request may bring its token.

use super::*;
use crate::key::Presented;

/// An Authorization header, a query, and subprotocols, a line each; an empty line is none: the token of a request is one, in one place.
pub fn credentials(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let [authorization, query, subprotocols] = std::array::from_fn(|_| lines.next().filter(|line| !line.is_empty()));
    let gathered = gather(authorization, query, subprotocols);
    let Ok(token) = gathered.clone().and_then(only) else { return };
    assert_eq!(gathered, Ok(vec![token.clone()]));
    let in_query = query.map(token::in_query).unwrap_or_default();
    let in_subprotocols = subprotocols.map(token::in_subprotocols).unwrap_or_default();
    let places = [authorization.is_some(), !in_query.is_empty(), !in_subprotocols.is_empty()];
    assert!(!token.is_empty() && places.into_iter().filter(|place| *place).count() == 1, "{places:?}");
    if let Some(authorization) = authorization {
        assert!(authorization.trim().ends_with(&token) && !token.contains([' ', ',', '\t']));
    }
    if let Some(presented) = Presented::parse(&token) {
        assert!(token.starts_with(&format!("{}{}_", crate::key::PREFIX, presented.id)));
    }
}
