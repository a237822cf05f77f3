//! What authentication costs: requests that end at the gateway, with each kind of credential in turn.

use super::Stack;
use super::client::{Client, text};
use crate::quantity::Quantity;
use crate::row::Row;
use crate::samples::Samples;
use anyhow::Result;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};

/// Timed requests with each credential.
const RUNS: usize = 500;
/// Requests before those that are timed.
const WARM_UP: usize = 50;

/// A credential, and the durations of its requests.
struct Credential {
    name: &'static str,
    token: String,
    durations: Samples,
}

pub(super) fn measure(stack: &Stack, client: &Client) -> Result<Vec<Row>> {
    let mut credentials = credentials(stack, client)?;
    let mut queries = 0;
    for run in 0..WARM_UP + RUNS {
        for credential in &mut credentials {
            let call = || client.call_nothing(&credential.token);
            let waited = if run < WARM_UP { call()? } else { credential.durations.time(call)? };
            queries += u64::from(waited && run >= WARM_UP);
        }
    }
    let operator = credentials.remove(0).durations;
    let mut rows: Vec<_> = credentials.iter().map(|credential| row(credential, &operator)).collect();
    let queried = Row::new("whole stack: requests of known callers that waited for D1", Quantity::Count(queries));
    rows.push(queried.at_most(Quantity::Count(0)));
    Ok(rows)
}

/// What a credential costs beyond the operator's key, which is only compared.
fn row(credential: &Credential, operator: &Samples) -> Row {
    let more = credential.durations.p50().saturating_sub(operator.p50());
    Row::new(credential.name, Quantity::Duration(more))
        .baseline("a whole request with the operator's key", Quantity::Duration(operator.p50()))
        .at_most(Quantity::microseconds(200))
}

fn credentials(stack: &Stack, client: &Client) -> Result<Vec<Credential>> {
    let key = text(&client.post("/v1/keys", &json!({ "name": "bench" }))?, "key")?;
    let sandbox = client.create()?;
    let token = text(&client.post(&format!("/v1/sandboxes/{sandbox}/tokens"), &json!({}))?, "token")?;
    let credential = |name, token| Credential { name, token, durations: Samples::default() };
    Ok(vec![
        credential("the operator's key", client.api_key().to_owned()),
        credential("whole stack: what an API key costs", key),
        credential("  a JWT", jwt(&stack.jwt_secret)?),
        credential("  a connect token", token),
    ])
}

fn jwt(secret: &str) -> Result<String> {
    let end = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 3_600;
    let parts = [json!({ "alg": "HS256" }), json!({ "sub": "bench", "tenant": "default", "exp": end })];
    let message = parts.map(|part| BASE64URL_NOPAD.encode(part.to_string().as_bytes())).join(".");
    let mut signature = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    signature.update(message.as_bytes());
    Ok(format!("{message}.{}", BASE64URL_NOPAD.encode(&signature.finalize().into_bytes())))
}
