//! What it costs to tell who is calling: requests that end at the gateway, with each kind of credential, in turn.

use super::quantity::Quantity;
use super::row::{Row, Target};
use super::samples::Samples;
use crate::dev::stack::Stack;
use anyhow::{Context, Result, ensure};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};
use ureq::Agent;

/// Requests with each credential.
const RUNS: usize = 500;
/// Requests before those that count.
const WARM_UP: usize = 50;
/// What the Worker trusts tokens by, in the variable of this name.
pub(super) const SECRET: (&str, &str) = ("CABANA_JWT_SECRET", "the bench signs its own tokens with this");

/// A credential, and what its requests took.
struct Credential {
    name: &'static str,
    token: String,
    times: Samples,
}

pub(super) fn measure(stack: &Stack) -> Result<Vec<Row>> {
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let mut credentials = credentials(&agent, stack)?;
    let mut queries = 0;
    for run in 0..WARM_UP + RUNS {
        for credential in &mut credentials {
            let ask = || ask(&agent, stack.url(), &credential.token);
            let waited = if run < WARM_UP { ask()? } else { credential.times.time(ask)? };
            queries += u64::from(waited && run >= WARM_UP);
        }
    }
    let operator = credentials.remove(0).times;
    let mut rows: Vec<_> = credentials.iter().map(|credential| row(credential, &operator)).collect();
    let hot = Row::new("whole stack: requests of known callers that waited for D1", Quantity::Count(queries));
    rows.push(hot.target(Target::AtMost(Quantity::Count(0))));
    Ok(rows)
}

/// What a credential costs beyond the operator's key, which is compared and nothing more.
fn row(credential: &Credential, operator: &Samples) -> Row {
    let more = credential.times.p50().saturating_sub(operator.p50());
    Row::new(credential.name, Quantity::Time(more))
        .against("a whole request with the operator's key", Quantity::Time(operator.p50()))
        .target(Target::AtMost(Quantity::microseconds(200)))
}

fn credentials(agent: &Agent, stack: &Stack) -> Result<Vec<Credential>> {
    let make = |route: &str, body: Value| -> Result<Value> {
        let request = agent.post(format!("{}{route}", stack.url()));
        let mut response = request.header("authorization", format!("Bearer {}", stack.api_key())).send_json(body)?;
        ensure!(response.status().is_success(), "{route}: {}", response.status());
        Ok(response.body_mut().read_json()?)
    };
    let text = |value: &Value, field: &str| value[field].as_str().map(str::to_owned).with_context(|| format!("no {field}"));
    let key = text(&make("/v1/keys", json!({ "name": "bench" }))?, "key")?;
    let sandbox = text(&make("/v1/sandboxes", json!({}))?, "id")?;
    let token = text(&make(&format!("/v1/sandboxes/{sandbox}/tokens"), json!({}))?, "token")?;
    let credential = |name, token| Credential { name, token, times: Samples::default() };
    Ok(vec![
        credential("the operator's key", stack.api_key().to_owned()),
        credential("whole stack: what an API key costs", key),
        credential("  a JWT", jwt()?),
        credential("  a connect token", token),
    ])
}

/// Asks for what is not there, so that the gateway answers by itself; true where it waited for the database.
fn ask(agent: &Agent, url: &str, token: &str) -> Result<bool> {
    let request = agent.get(format!("{url}/v1/nowhere")).header("authorization", format!("Bearer {token}"));
    let mut response = request.call()?;
    ensure!(response.status() == 404, "the gateway answered {}", response.status());
    response.body_mut().read_to_vec()?;
    Ok(response.headers().contains_key("server-timing"))
}

fn jwt() -> Result<String> {
    let end = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 3_600;
    let parts = [json!({ "alg": "HS256" }), json!({ "sub": "bench", "tenant": "default", "exp": end })];
    let message = parts.map(|part| BASE64URL_NOPAD.encode(part.to_string().as_bytes())).join(".");
    let mut signature = Hmac::<Sha256>::new_from_slice(SECRET.1.as_bytes()).expect("HMAC takes keys of any length");
    signature.update(message.as_bytes());
    Ok(format!("{message}.{}", BASE64URL_NOPAD.encode(&signature.finalize().into_bytes())))
}
