//! Requests that leave a sandbox which has rules for them.
//!
//! The object has the platform intercept what the sandbox sends over HTTP and HTTPS, and names this Worker's own entrypoint as the one that
//! answers. The sandbox and its rules come as properties of the entrypoint's context, which no request can set.

mod credentials;
mod redactor;
mod tally;

use cabana_protocol::{
    Error, SandboxId, Tenant,
    network::{Network, NetworkGroups, NetworkLayers, NetworkRule, Outgoing, Verdict},
};
use js_sys::{Array, Function, Object, Reflect};
use serde::{Deserialize, Serialize};
use worker::{
    Context, Env, Fetch, Headers, Request, Response, Url,
    wasm_bindgen::{JsCast, JsValue},
    worker_sys::web_sys,
};

pub(crate) use self::tally::{DeniedRequest, Tally};
use self::{
    credentials::Credentials,
    tally::{Decision, note},
};
use crate::{Address, secrets, variables::json_variable};

/// A name that only the Worker answers, with which the agent checks that its requests are intercepted.
const CANARY: &str = "canary.cabana.internal";

/// The header that names the rule by which a request was denied.
const RULE_HEADER: &str = "cabana-network-rule";

/// What a request is denied by that no rule of `allow` matches.
const NO_RULE: &str = "none of network.allow";

/// The variable that lists groups of rules.
const GROUPS_VARIABLE: &str = "CABANA_NETWORK_GROUPS";

/// The header that names the missing secret of a request that was not sent.
const SECRET_HEADER: &str = "cabana-network-secret";

/// What a request is judged by.
#[derive(Debug, Serialize, Deserialize)]
pub struct Egress {
    sandbox: SandboxId,
    tenant: Tenant,
    network: NetworkLayers,
}

/// The properties of an entrypoint's context. The field's name tells them from those of a binding of the Worker's own.
#[derive(Serialize, Deserialize)]
struct Properties {
    cabana_egress: Egress,
}

impl Egress {
    pub(crate) fn new(sandbox: SandboxId, tenant: Tenant, network: NetworkLayers) -> Self {
        Self { sandbox, tenant, network }
    }

    /// What the request of this context is judged by, if it leaves a sandbox. `None` for all other requests.
    pub fn from_context(context: &Context) -> Option<Self> {
        context.props::<Properties>().ok().map(|properties| properties.cabana_egress)
    }

    /// An entrypoint of this Worker, as the platform takes it, whose requests are judged by this.
    pub(crate) fn entrypoint(self, object: &JsValue) -> Result<JsValue, JsValue> {
        let properties = serde_json::to_string(&Properties { cabana_egress: self }).map_err(|error| error.to_string())?;
        let options = Object::new();
        Reflect::set(&options, &"props".into(), &js_sys::JSON::parse(&properties)?)?;
        let exports = Reflect::get(object, &"exports".into())?;
        let default: Function = Reflect::get(&exports, &"default".into())?.dyn_into()?;
        // Not by `call`: the entrypoint is a stub, which would take that for the name of a method of the Worker's.
        Reflect::apply(&default, &exports, &Array::of1(&options))
    }

    /// Forwards a request or denies it, and has the sandbox's object know in a moment. `binding` is the one of the Durable Object class of
    /// sandboxes whose kind has none of its own. A redirect goes back to the sandbox, so that its target is judged too.
    ///
    /// What the server does not answer is 502.
    pub async fn answer(
        &self,
        request: Request,
        env: &Env,
        context: &Context,
        binding: &'static str,
    ) -> worker::Result<Response> {
        let url = request.url()?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        if host == CANARY {
            return Ok(Response::empty()?.with_status(204));
        }
        let method = request.inner().method();
        let port = url.port_or_known_default().unwrap_or_default();
        let outgoing = Outgoing { method: &method, is_https: url.scheme() == "https", host, port, path: url.path() };
        // Groups that cannot be read let nothing pass that needs one.
        let groups = read_groups(env).unwrap_or_default();
        let note = |decision| note(decision, Address::new(self.sandbox.clone(), &self.tenant), env, context, binding);
        let deny = |rule: &str| {
            note(Decision::Denied(denied(&request, &method, &url, rule)));
            refuse_by(rule, &method, &url)
        };
        if let Verdict::Denied(rule) = self.network.judge(&outgoing, &groups) {
            return deny(rule.map_or(NO_RULE, NetworkRule::as_str));
        }
        // What TRACE is answered with is the request itself.
        let wanted = if method == "TRACE" { Vec::new() } else { self.network.secrets_for(&outgoing) };
        match Credentials::find(env, &self.tenant, wanted).await {
            Ok(credentials) if !credentials.is_empty() && request.headers().has("upgrade")? => {
                deny("no secret is added to a WebSocket")
            }
            Ok(credentials) => {
                note(Decision::Allowed { with_secret: !credentials.is_empty() });
                forward(&request, &credentials).await
            }
            Err((secret, refusal)) => {
                let said = format!("The secret {} of this sandbox's network rules {refusal}.\n", secret.secret);
                refuse(502, SECRET_HEADER, secret.secret.as_str(), said)
            }
        }
    }
}

/// The groups of rules that the operator lists in `CABANA_NETWORK_GROUPS`. Fails with `internal` where that cannot be understood.
pub(crate) fn read_groups(env: &Env) -> Result<NetworkGroups, Error> {
    let Some(text) = json_variable(env, GROUPS_VARIABLE) else { return Ok(NetworkGroups::default()) };
    NetworkGroups::parse(&text)
        .map_err(|error| Error::internal(format!("the Worker's variable {GROUPS_VARIABLE}: {}", error.message)))
}

/// Whether the deployment has the groups, and the tenant the secrets, that rules name.
///
/// Fails with `invalid_request`, which names the rule or the secret.
pub async fn check_network(env: &Env, tenant: &Tenant, network: &Network) -> Result<(), Error> {
    network.check_groups(&read_groups(env)?)?;
    secrets::check(env, tenant, network).await
}

/// What is kept of a request that was denied. Its query may hold a secret.
fn denied(request: &Request, method: &str, url: &Url, rule: &str) -> DeniedRequest {
    let length = request.headers().get("content-length").ok().flatten().and_then(|length| length.parse().ok());
    DeniedRequest {
        method: method.to_owned(),
        scheme: url.scheme().to_owned(),
        host: named_host(url),
        path: url.path().to_owned(),
        bytes: length.unwrap_or(0),
        rule: rule.to_owned(),
    }
}

/// The host, with the port where it is not the usual one.
fn named_host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn refuse_by(rule: &str, method: &str, url: &Url) -> worker::Result<Response> {
    let (host, path) = (named_host(url), url.path());
    refuse(
        403,
        RULE_HEADER,
        rule,
        format!("The network rules of this sandbox do not allow {method} {host}{path} (rule: {rule}).\n"),
    )
}

fn refuse(status: u16, header: &str, name: &str, said: String) -> worker::Result<Response> {
    let headers = Headers::new();
    headers.set(header, name)?;
    Ok(Response::ok(said)?.with_status(status).with_headers(headers))
}

async fn forward(request: &Request, credentials: &Credentials) -> worker::Result<Response> {
    let init = web_sys::RequestInit::new();
    init.set_redirect(web_sys::RequestRedirect::Manual);
    let outgoing: Request = web_sys::Request::new_with_request_and_init(request.inner(), &init)?.into();
    if credentials.is_empty() {
        return match Fetch::Request(outgoing).send().await {
            Ok(response) => Ok(response),
            Err(error) => unanswered(&error.to_string()),
        };
    }
    credentials.add_to(outgoing.headers())?;
    match Fetch::Request(outgoing).send().await {
        Ok(response) => credentials.take_from(response).or_else(unanswered),
        // What failed may have been a header, which the message would quote.
        Err(_) => unanswered("the request could not be sent"),
    }
}

fn unanswered(why: &str) -> worker::Result<Response> {
    Ok(Response::ok(format!("The server does not answer: {why}\n"))?.with_status(502))
}
