//! Tokens of callers who cannot set a header, and keeping every credential away from the sandbox. Pure.
//!
//! A browser opens a WebSocket without headers of its own. Its token comes in the query (`?token=…`) or as a subprotocol
//! (`cabana.token.<token>`). Whoever takes the token out checks it; the sandbox never sees it.

/// The query parameter that carries a token. It is reserved in the API's own routes; programs in sandboxes may have one of their own.
pub const QUERY_PARAMETER: &str = "token";

/// What a subprotocol that carries a token starts with.
pub const SUBPROTOCOL_PREFIX: &str = "cabana.token.";

/// The header in which a client offers subprotocols and a server names its choice.
pub const SUBPROTOCOL_HEADER: &str = "sec-websocket-protocol";

/// Request headers that say who the caller is to the gateway, and are nobody's business in the sandbox.
pub(crate) const CREDENTIAL_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "cf-access-jwt-assertion"];

/// The tokens in a query, decoded.
pub fn in_query(query: &str) -> Vec<String> {
    parameters(query).filter(|pair| is_token(pair)).map(|pair| decode(pair).1).collect()
}

/// The query without its tokens; all else stays byte for byte.
pub fn strip_query(query: &str) -> String {
    parameters(query).filter(|pair| !is_token(pair)).collect::<Vec<_>>().join("&")
}

/// What credentials of a gateway begin with, so that they are known wherever they turn up: keys, connect tokens, a developer's key.
const MARKS: [&str; 3] = ["cab_", "cabt_", "cabana_dev_"];

/// Whether a token says of itself that it is a credential of a gateway. A JWT, and a key of the operator's own invention, do not.
pub fn is_marked(token: &str) -> bool {
    MARKS.iter().any(|mark| token.starts_with(mark))
}

/// The query without the tokens that are marked as ours; others are a program's own business.
pub(crate) fn strip_marked(query: &str) -> String {
    let is_ours = |pair: &&str| is_token(pair) && is_marked(&decode(pair).1);
    parameters(query).filter(|pair| !is_ours(pair)).collect::<Vec<_>>().join("&")
}

/// The tokens among offered subprotocols.
pub fn in_subprotocols(offered: &str) -> Vec<&str> {
    subprotocols(offered).filter_map(|protocol| protocol.strip_prefix(SUBPROTOCOL_PREFIX)).collect()
}

/// The offered subprotocols without tokens; `None` where nothing is left.
pub fn strip_subprotocols(offered: &str) -> Option<String> {
    let left: Vec<_> = subprotocols(offered).filter(|protocol| !protocol.starts_with(SUBPROTOCOL_PREFIX)).collect();
    (!left.is_empty()).then(|| left.join(", "))
}

/// What to answer a client that offered a token, where the agent made no choice of its own. A browser gives the connection up
/// unless the answer is something it offered, so the token's own subprotocol goes back to where it came from.
pub fn answer_to(offered: &str) -> Option<&str> {
    subprotocols(offered).find(|protocol| protocol.starts_with(SUBPROTOCOL_PREFIX))
}

fn subprotocols(offered: &str) -> impl Iterator<Item = &str> {
    offered.split(',').map(str::trim).filter(|protocol| !protocol.is_empty())
}

fn parameters(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|pair| !pair.is_empty())
}

fn is_token(pair: &str) -> bool {
    decode(pair).0 == QUERY_PARAMETER
}

fn decode(pair: &str) -> (String, String) {
    let parsed = worker::url::form_urlencoded::parse(pair.as_bytes()).next();
    parsed.map(|(key, value)| (key.into_owned(), value.into_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_keeps_everything_but_tokens() {
        for (query, stripped, tokens) in [
            ("", "", &[][..]),
            ("path=%2Fa%20b+c&x", "path=%2Fa%20b+c&x", &[]),
            ("token=k", "", &["k"]),
            ("a=1&token=k%2B&b=2", "a=1&b=2", &["k+"]),
            ("%74oken=k&token=l", "", &["k", "l"]),
            ("tokens=k&Token=l", "tokens=k&Token=l", &[]),
            ("token", "", &[""]),
        ] {
            assert_eq!(
                (strip_query(query).as_str(), in_query(query)),
                (stripped, tokens.iter().map(|&t| t.to_owned()).collect())
            );
        }
    }

    #[test]
    fn the_query_keeps_tokens_that_are_not_ours() {
        for (query, left) in [
            ("token=theirs&a=b", "token=theirs&a=b"),
            ("token=cab_a_b&a=b", "a=b"),
            ("a=b&%74oken=cabt_a.b.c&token=cabana_dev_a", "a=b"),
            ("tokens=cab_a_b", "tokens=cab_a_b"),
            ("token=xcab_a", "token=xcab_a"),
        ] {
            assert_eq!(strip_marked(query), left);
        }
    }

    #[test]
    fn subprotocols_lose_their_tokens() {
        for (offered, left, tokens, answer) in [
            ("", None, &[][..], None),
            ("chat", Some("chat"), &[], None),
            ("cabana.token.k", None, &["k"], Some("cabana.token.k")),
            ("chat,cabana.token.k ,  v2", Some("chat, v2"), &["k"], Some("cabana.token.k")),
        ] {
            assert_eq!(strip_subprotocols(offered).as_deref(), left);
            assert_eq!(in_subprotocols(offered), tokens);
            assert_eq!(answer_to(offered), answer);
        }
    }
}
