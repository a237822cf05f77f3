//! The deployable gateway: routes and authentication over the cabana library.
//!
//! The host of a request is looked at first: what is for a preview is answered by [`cabana::proxy_to_preview`] and sees nothing of the
//! API. `GET /health` and the API's description are open ([`open`]); everything else needs the API key ([`auth`]), paths that do not exist
//! included. What is let in is answered by [`cabana::proxy_to_sandbox`].
//!
//! | variable | meaning |
//! | --- | --- |
//! | `CABANA_API_KEY` | the key every request must show; best set as a secret. Without it every request is refused |
//! | `CABANA_PREVIEW_DOMAIN`, `CABANA_API_HOSTS` | see [`cabana::preview::Hosts`] |
//! | `CABANA_START_TIMEOUT_MS`, `CABANA_START_LIMIT_MS`, `CABANA_SLEEP_AFTER_MS`, `CABANA_INTERNET` | see [`cabana::Config`] |

pub mod auth;
pub mod call;
pub mod open;
pub mod route;

use cabana::{Error, Principal, RequestId, proxy_to_preview, proxy_to_sandbox, reply};
use worker::{Context, Env, Request, Response, event};

use crate::{
    auth::{Config, Credentials},
    call::Call,
    route::Route,
};

/// The Durable Object class that wrangler.jsonc names.
pub use cabana::Sandbox;

/// The Durable Object binding of [`Sandbox`] in wrangler.jsonc.
const BINDING: &str = "SANDBOX";

#[event(start)]
fn start() {
    console_error_panic_hook::set_once();
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    let request = match proxy_to_preview(request, &env, BINDING, async |token| auth::authenticate_token(token, &env)).await {
        Ok(answer) => return Ok(answer),
        Err(request) => request,
    };
    let request_id = RequestId::of(request.headers());
    let answer = answer(request, env, context, request_id.clone()).await;
    Ok(answer.unwrap_or_else(|error| reply::error(&error, &request_id)))
}

async fn answer(request: Request, env: Env, context: Context, request_id: RequestId) -> Result<Response, Error> {
    let url = request.url().map_err(|_| Error::invalid_request("the URL cannot be parsed"))?;
    // As it came: workers-rs takes every method that it does not know for GET.
    let route = Route::parse(&request.inner().method(), url.path());
    if let Some(answer) = route.as_ref().ok().and_then(|route| open::answer(route, &request_id)) {
        return Ok(answer);
    }
    // Who is not let in learns nothing of what there is.
    let principal = authenticate(&request, &env)?;
    serve(route?, Call { request, url, env, context, principal, request_id }).await
}

async fn serve(route: Route, call: Call) -> Result<Response, Error> {
    if let Some(access) = route.access() {
        call.principal.check(&access)?;
    }
    match route {
        // What is open was answered before anyone asked who is calling.
        Route::Health | Route::Description | Route::Documentation => Err(Error::internal("an open route was left over")),
        Route::Library => Ok(proxy_to_sandbox(call.request, &call.env, BINDING, &call.principal).await),
    }
}

fn authenticate(request: &Request, env: &Env) -> Result<Principal, Error> {
    auth::authenticate(&Credentials::of(request)?, &Config::read(env))
}
