//! Programs that listen on a port, and clients with a WebSocket.

use cabana_protocol::preview::{ExposePort, ExposedPort, ExposedPorts};
use worker::{Method, Request, Response};

use super::{Handle, check, decode};
use crate::{
    Result, preview, proxy,
    wire::{self, PORTS_PATH},
};

impl Handle {
    /// Gives a port a URL, or changes how it is reached. The Worker answers it by [`proxy_to_preview`](crate::proxy_to_preview).
    ///
    /// Fails as [`ExposePort`] says.
    pub async fn expose(&self, port: impl Into<ExposePort>) -> Result<ExposedPort> {
        let request = wire::request(Method::Post, PORTS_PATH, Some(&port.into()))?;
        Ok(decode(self.reach(request).await?).await?)
    }

    /// The ports that have a URL. Fails with `not_found`.
    pub async fn exposed(&self) -> Result<ExposedPorts> {
        Ok(decode(self.pass(wire::request(Method::Get, PORTS_PATH, None::<&()>)?).await?).await?)
    }

    /// Takes a port's URL away. Fails with `not_found`.
    pub async fn hide(&self, port: u16) -> Result<()> {
        check(self.pass(wire::request(Method::Delete, &format!("{PORTS_PATH}/{port}"), None::<&()>)?).await?).await?;
        Ok(())
    }

    /// Has the program that listens on this port answer a request: HTTP, streams and WebSockets alike. Starts the container if it has to, and
    /// waits a second for a program that does not listen yet.
    ///
    /// The program sees the request's method, path, query, headers and body. The URL's host is what it is told as `Host`; it decides nothing else.
    /// Headers by which proxies speak of the client (`Forwarded`, `X-Forwarded-*`) are replaced. What the program answers, errors too, is the
    /// answer as it is; where nothing answers it is an error page.
    ///
    /// Fails with `invalid_request` (no such port).
    pub async fn fetch(&self, port: u16, request: Request) -> Result<Response> {
        Ok(self.reach(preview::visit_by_code(&request, port.try_into()?)?).await?)
    }

    /// Hands a client's request for a WebSocket over to the sandbox: the client then runs operations on it, as `docs/websocket.md` says. The
    /// socket ends in the Durable Object, and survives this Worker and the container's sleep.
    ///
    /// Ask first who the client is, and from which page it comes: the socket may do everything that this handle may. Credentials of the request
    /// go no further.
    pub async fn connect(&self, request: Request) -> Result<Response> {
        Ok(proxy::connect(self, &request).await?)
    }
}
