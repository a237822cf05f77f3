//! Starts a web server in a sandbox, and lets browsers visit it at a host of its own.

use std::time::Duration;

use cabana::{Code, RequestId, Result, protocol, protocol::exec::Exec, proxy_to_preview, respond};
use worker::{Context, Env, Request, Response, Url, event};

pub use cabana::Sandbox;

/// Where the server listens.
const PORT: u16 = 3000;

#[event(fetch)]
async fn fetch(request: Request, env: Env, _: Context) -> worker::Result<Response> {
    // First: what is for a preview's host is never a request to the app, whatever its path.
    let request_id = RequestId::of(request.headers());
    let nobody = async |_: &str| Err(protocol::Error::new(Code::Unauthorized, "there are no private previews here"));
    match proxy_to_preview(request, &env, "SANDBOX", &request_id, nobody).await {
        Ok(answer) => Ok(answer),
        Err(request) => respond(answer(request, env)).await,
    }
}

/// Sends the browser to the preview of `/{name}`.
async fn answer(request: Request, env: Env) -> Result<Response> {
    let path = request.path();
    let sandbox = Sandbox::get(&env, Some(path.trim_matches('/')).filter(|name| !name.is_empty()).unwrap_or("demo"))?;
    sandbox.write("index.html", format!("<h1>Hello from {}</h1>\n", sandbox.id())).await?;
    // By its name, a server that runs already is found.
    let server = Exec { name: Some("server".to_owned()), ..Exec::new(["python3", "-m", "http.server", "3000"]) };
    sandbox.spawn(server).await?.wait_for_port(PORT, Duration::from_secs(20)).await?;
    let preview = sandbox.expose(PORT).await?;
    let no_domain = || cabana::Error::new(Code::Unavailable, "set the variable CABANA_PREVIEW_DOMAIN");
    let url: Url = preview.url.ok_or_else(no_domain)?.parse().map_err(worker::Error::from)?;
    Ok(Response::redirect_with_status(url, 303)?)
}
