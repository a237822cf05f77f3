//! Which request the gateway answers itself: method and path in, a route out. Pure.

use cabana::{Access, Error, route::not_allowed};

/// Who answers a request, and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `GET /health`: open to everyone.
    Health,
    /// `GET /v1/openapi.json`: what there is, for programs; open to everyone.
    Description,
    /// `GET /v1/docs`: the same to read; open to everyone.
    Documentation,
    /// Everything else is for [`cabana::proxy_to_sandbox`], which knows what there is under `/v1/sandboxes` and what there is not.
    Library,
}

impl Route {
    /// The route of a method and a URL's path, which the URL parser has freed of dot segments. A trailing slash is of no account,
    /// and `HEAD` counts as `GET`.
    ///
    /// Fails with `invalid_request` where the path does not have the method; the details then name those that it has.
    pub fn parse(method: &str, path: &str) -> Result<Self, Error> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let segments: Vec<_> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
        match segments.as_slice() {
            ["health"] => choose(method, [("GET", Self::Health)]),
            ["v1", "openapi.json"] => choose(method, [("GET", Self::Description)]),
            ["v1", "docs"] => choose(method, [("GET", Self::Documentation)]),
            _ => Ok(Self::Library),
        }
    }

    /// What the request amounts to; `None` where the gateway does not ask, because everyone may or because the library asks.
    pub fn access(&self) -> Option<Access<'_>> {
        match self {
            Self::Health | Self::Description | Self::Documentation | Self::Library => None,
        }
    }
}

/// The route of a method, of those that a path has.
fn choose<const N: usize>(method: &str, routes: [(&str, Route); N]) -> Result<Route, Error> {
    let asked = if method == "HEAD" { "GET" } else { method };
    let allowed: Vec<_> =
        routes.iter().flat_map(|(method, _)| [*method].into_iter().chain((*method == "GET").then_some("HEAD"))).collect();
    let found = routes.into_iter().find(|(method, _)| *method == asked);
    found.map(|(_, route)| route).ok_or_else(|| not_allowed(method, &allowed))
}

#[cfg(test)]
mod tests {
    use cabana::Code;

    use super::*;

    #[test]
    fn routes() {
        for (method, path, route) in [
            ("GET", "/health", Route::Health),
            ("HEAD", "/health/", Route::Health),
            ("GET", "/v1/openapi.json", Route::Description),
            ("GET", "/v1/docs/", Route::Documentation),
            ("GET", "/", Route::Library),
            ("GET", "/healthy", Route::Library),
            ("POST", "/v1/sandboxes", Route::Library),
            ("GET", "/v1/sandboxes/sbx-a/health", Route::Library),
        ] {
            assert_eq!(Route::parse(method, path), Ok(route), "{method} {path}");
        }
    }

    #[test]
    fn other_methods() {
        for (method, path, allowed) in [("POST", "/health", r#"["GET","HEAD"]"#), ("PROPFIND", "/health/", r#"["GET","HEAD"]"#)] {
            let error = Route::parse(method, path).unwrap_err();
            assert_eq!(error.code, Code::InvalidRequest, "{method} {path}");
            assert_eq!(error.details.unwrap()["allowed_methods"].to_string(), allowed, "{method} {path}");
        }
    }
}
