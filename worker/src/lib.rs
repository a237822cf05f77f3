//! The deployable gateway: routes and authentication over the cabana library.
//!
//! A request that leaves a sandbox with network rules is judged and forwarded by [`cabana::Egress`], and is never one to the API.
//!
//! Otherwise the host of a request is looked at first: what is for a preview is answered by [`cabana::proxy_to_preview`] and sees nothing of the
//! API. `GET /health` and the API's description are open ([`open`]); everything else needs a credential ([`auth`]), paths that do not exist
//! included. What is let in is answered here ([`route`]) or by [`cabana::proxy_to_sandbox`]. `mcp` and [`bridge`] translate other protocols to
//! requests of the API.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `CABANA_API_KEY` | the operator's key, good for everything; best set as a secret. Without it every request is refused |
//! | `CABANA_TOKEN_SECRET`, `CABANA_JWT_SECRET`, `CABANA_JWT_JWKS`, `CABANA_JWT_JWKS_URL`, `CABANA_JWT_ISSUER`, `CABANA_JWT_AUDIENCE` | see [`auth::authority`] |
//! | `CABANA_ALLOWED_ORIGINS` | web pages of other hosts that may use the API, as origins separated by commas; `*` for all |
//! | `CABANA_PREVIEW_DOMAIN`, `CABANA_API_HOSTS` | see [`cabana::preview::Hosts`] |
//! | `CABANA_TENANT_…` | how much a tenant may have, and how often it may ask, see [`cabana::tenant::limits::Limits`] |
//! | `CABANA_AUDIT_DAYS`, `CABANA_AUDIT_ROWS`, `CABANA_START_TIMEOUT_MS`, `CABANA_START_LIMIT_MS`, `CABANA_SLEEP_AFTER_MS`, `CABANA_INTERNET` | see [`cabana::Config`] |
//! | `CABANA_SECRETS_KEY`, `CABANA_SECRETS_KEY_PREVIOUS`, `CABANA_NETWORK_SECRETS` | what is added to sandboxes' requests, see [`cabana::secrets`] |
//! | `CABANA_KINDS` | see [`cabana::Kinds`]; written by `cargo xtask sync` |

pub mod auth;
pub mod bridge;
pub mod call;
pub mod classes;
mod documentation;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod key;
pub mod keys;
pub mod kinds;
pub mod links;
#[cfg(test)]
mod matrix;
mod mcp;
pub mod open;
pub mod projects;
pub mod route;
pub mod secrets;
pub mod time;
pub mod tokens;
pub mod traffic;

use cabana::{Cors, Database, Egress, RequestId, proxy_to_preview, proxy_to_sandbox, reply};
use cabana_protocol::{Error, names::check_parameters};
use worker::{Context, Env, Request, Response, event};

use crate::{call::Call, key::lookup::Lookup, route::Route, traffic::Visit};

/// The Durable Object class of every kind that has none of its own among [`classes`], and the one that counts for a tenant.
pub use cabana::{Sandbox, tenant::Tenant};

/// Its binding in wrangler.jsonc.
const BINDING: &str = "SANDBOX";

#[event(start)]
fn start() {
    console_error_panic_hook::set_once();
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    if let Some(egress) = Egress::from_context(&context) {
        return egress.answer(request, &env, &context, BINDING).await;
    }
    let database = Database::of(&env);
    let lookup = Lookup { database: database.as_ref(), env: &env, context: &context };
    let request_id = RequestId::of(request.headers());
    let visit = Visit::begin(&request, &request_id);
    let authenticate = async |token: &str| auth::authenticate_token(token, lookup).await;
    let request = match proxy_to_preview(request, &env, BINDING, &request_id, authenticate).await {
        Ok(answer) => {
            visit.end_preview(&answer);
            return Ok(answer);
        }
        Err(request) => request,
    };
    let is_bridge = bridge::is_bridge(&request.path());
    let cors = Cors::of(&request, &env);
    let answer = match cors.as_ref().map_err(Clone::clone).and_then(|cors| cors.preflight(&request_id)) {
        Ok(Some(preflight)) => Ok(preflight),
        Ok(None) => answer(request, env, context, database.clone(), &visit, request_id.clone()).await,
        Err(error) => Err(error),
    };
    let show = if is_bridge { bridge::error } else { reply::error };
    let answer = answer.unwrap_or_else(|error| show(&error, &request_id));
    let answer = cors.iter().fold(answer, |answer, cors| cors.allow(answer));
    visit.end(&answer);
    // What the answer had to wait for; nothing, where the caller is known and the gateway only passes on.
    Ok(match database.map_or(0, |database| database.queries()) {
        0 => answer,
        queries => reply::with_header(answer, "server-timing", &format!("d1;desc=\"{queries}\"")),
    })
}

async fn answer(
    request: Request,
    env: Env,
    context: Context,
    database: Option<Database>,
    visit: &Visit,
    request_id: RequestId,
) -> Result<Response, Error> {
    let url = request.url().map_err(|_| Error::invalid_request("the URL cannot be parsed"))?;
    // As it came: workers-rs takes every method that it does not know for GET.
    let route = Route::parse(&request.inner().method(), url.path());
    if let Some(answer) = route.as_ref().ok().and_then(|route| open::answer(route, &request_id)) {
        return Ok(answer);
    }
    // Who is not let in learns nothing of what there is.
    let lookup = Lookup { database: database.as_ref(), env: &env, context: &context };
    let request = bridge::with_credentials(request, &url);
    let (principal, request) = match links::admit(&request, &url, lookup).await? {
        Some(admitted) => admitted,
        None => (auth::authenticate(&request, lookup).await?, request),
    };
    visit.admit(&principal, &env)?;
    serve(route?, Call { request, url, env, database, context, principal, request_id }).await
}

async fn serve(route: Route, call: Call) -> Result<Response, Error> {
    if let Some(access) = route.access() {
        call.principal.check(&access)?;
    }
    if let Some(known) = route.parameters() {
        check_parameters(call.url.query_pairs().map(|(name, _)| name), known)?;
    }
    match route {
        // What is open was answered before anyone asked who is calling.
        Route::Health | Route::Description | Route::Documentation | Route::Notebook(_) => {
            Err(Error::internal("an open route was left over"))
        }
        Route::CreateKey => keys::create(call).await,
        Route::ListKeys => keys::list(call).await,
        Route::ShowKey(id) => keys::show(call, &id).await,
        Route::RenameKey(id) => keys::rename(call, &id).await,
        Route::RevokeKey(id) => keys::revoke(call, &id).await,
        Route::CreateToken(id) => tokens::create(call, &id).await,
        Route::CreateLink(id) => links::create(call, &id).await,
        Route::Mcp(sandbox) => mcp::answer(call, sandbox).await,
        Route::Kinds => kinds::list(&call),
        Route::ListProjects => projects::list(&call).await,
        Route::CreateProject => projects::create(call).await,
        Route::GetProject(name) => projects::get(&call, &name).await,
        Route::UpdateProject(name) => projects::update(call, &name).await,
        Route::DeleteProject(name) => projects::delete(&call, &name).await,
        Route::ListSecrets => secrets::list(&call).await,
        Route::PutSecret => secrets::put(call).await,
        Route::GetSecret(name) => secrets::get(&call, &name).await,
        Route::DeleteSecret(name) => secrets::delete(&call, &name).await,
        Route::Bridge(route) => bridge::answer(call, route).await,
        Route::Library => Ok(proxy_to_sandbox(call.request, &call.env, &call.context, BINDING, &call.principal).await),
    }
}
