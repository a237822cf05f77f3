//! Which request the gateway answers itself: method and path in, a route out. Pure.

use cabana::{
    Access, KeyId, SandboxId,
    route::{not_allowed, parse_id},
};
use cabana_protocol::{Error, project::ProjectName, secret::SecretName};

use crate::bridge;

/// Who answers a request, and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `GET /health`: open to everyone.
    Health,
    /// `GET /v1/openapi.json`: what there is, for programs; open to everyone.
    Description,
    /// `GET /v1/docs`: the same to read; open to everyone.
    Documentation,
    /// `GET /v1/sandboxes/{id}/notebook`: a page on which a person runs code; open to everyone, and the page asks for a key.
    Notebook(SandboxId),
    /// `POST /v1/keys`
    CreateKey,
    /// `GET /v1/keys`
    ListKeys,
    /// `GET /v1/keys/{id}`
    ShowKey(KeyId),
    /// `PATCH /v1/keys/{id}`
    RenameKey(KeyId),
    /// `DELETE /v1/keys/{id}`
    RevokeKey(KeyId),
    /// `POST /v1/sandboxes/{id}/tokens`
    CreateToken(SandboxId),
    /// `POST /v1/sandboxes/{id}/links`
    CreateLink(SandboxId),
    /// `POST /mcp`, for all sandboxes that the caller sees, and `POST /v1/sandboxes/{id}/mcp`, for one.
    Mcp(Option<SandboxId>),
    /// `GET /v1/kinds`
    Kinds,
    /// `GET /v1/projects`
    ListProjects,
    /// `POST /v1/projects`
    CreateProject,
    /// `GET /v1/projects/{name}`
    GetProject(ProjectName),
    /// `PATCH /v1/projects/{name}`
    UpdateProject(ProjectName),
    /// `DELETE /v1/projects/{name}`
    DeleteProject(ProjectName),
    /// `GET /v1/secrets`
    ListSecrets,
    /// `POST /v1/secrets`
    PutSecret,
    /// `GET /v1/secrets/{name}`
    GetSecret(SecretName),
    /// `DELETE /v1/secrets/{name}`
    DeleteSecret(SecretName),
    /// Below `/v1/sandbox` and `/v1/pool`: the interface of other clients.
    Bridge(bridge::Route),
    /// Everything else is for [`cabana::proxy_to_sandbox`], which knows what there is under `/v1/sandboxes` and what there is not.
    Library,
}

impl Route {
    /// The route of a method and a URL's path, which the URL parser has freed of dot segments. A trailing slash is of no account,
    /// and `HEAD` counts as `GET`.
    ///
    /// Fails with `not_found` where an id names nothing, and with `method_not_allowed`; the details then name the methods that the path takes.
    pub fn parse(method: &str, path: &str) -> Result<Self, Error> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let segments: Vec<_> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
        match segments.as_slice() {
            ["health"] => choose(method, [("GET", Self::Health)]),
            ["v1", "openapi.json"] => choose(method, [("GET", Self::Description)]),
            ["v1", "docs"] => choose(method, [("GET", Self::Documentation)]),
            ["v1", "keys"] => choose(method, [("GET", Self::ListKeys), ("POST", Self::CreateKey)]),
            ["v1", "keys", id] => {
                let id: KeyId = id.parse()?;
                let (show, rename) = (Self::ShowKey(id.clone()), Self::RenameKey(id.clone()));
                choose(method, [("GET", show), ("PATCH", rename), ("DELETE", Self::RevokeKey(id))])
            }
            ["v1", "sandboxes", id, "tokens"] => choose(method, [("POST", Self::CreateToken(parse_id(id)?))]),
            ["v1", "sandboxes", id, "notebook"] => choose(method, [("GET", Self::Notebook(parse_id(id)?))]),
            ["v1", "sandboxes", id, "links"] => choose(method, [("POST", Self::CreateLink(parse_id(id)?))]),
            ["mcp"] => choose(method, [("POST", Self::Mcp(None))]),
            ["v1", "sandboxes", id, "mcp"] => choose(method, [("POST", Self::Mcp(Some(parse_id(id)?)))]),
            ["v1", "kinds"] => choose(method, [("GET", Self::Kinds)]),
            ["v1", "projects"] => choose(method, [("GET", Self::ListProjects), ("POST", Self::CreateProject)]),
            ["v1", "projects", name] => Self::of_project(method, name.parse()?),
            ["v1", "secrets"] => choose(method, [("GET", Self::ListSecrets), ("POST", Self::PutSecret)]),
            ["v1", "secrets", name] => {
                let name: SecretName = name.parse()?;
                choose(method, [("GET", Self::GetSecret(name.clone())), ("DELETE", Self::DeleteSecret(name))])
            }
            ["v1", rest @ ..] => Ok(bridge::Route::parse(method, rest).map_or(Self::Library, Self::Bridge)),
            _ => Ok(Self::Library),
        }
    }

    fn of_project(method: &str, name: ProjectName) -> Result<Self, Error> {
        let (get, update, delete) = (name.clone(), name.clone(), name);
        let routes =
            [("GET", Self::GetProject(get)), ("PATCH", Self::UpdateProject(update)), ("DELETE", Self::DeleteProject(delete))];
        choose(method, routes)
    }

    /// What the request amounts to; `None` where the gateway does not ask, because everyone may or because the library asks.
    pub fn access(&self) -> Option<Access<'_>> {
        let (sandbox, operation, read_only) = match self {
            Self::Health | Self::Description | Self::Documentation | Self::Notebook(_) => return None,
            // Each tool and each request that it becomes asks for what it does.
            Self::Library | Self::Mcp(_) | Self::Bridge(_) => return None,
            Self::Kinds => (None, "kind.list", true),
            Self::ListProjects => (None, "project.list", true),
            Self::CreateProject => (None, "project.create", false),
            Self::GetProject(_) => (None, "project.get", true),
            Self::UpdateProject(_) => (None, "project.update", false),
            Self::DeleteProject(_) => (None, "project.delete", false),
            Self::ListSecrets => (None, "secret.list", true),
            Self::PutSecret => (None, "secret.create", false),
            Self::GetSecret(_) => (None, "secret.get", true),
            Self::DeleteSecret(_) => (None, "secret.delete", false),
            Self::CreateKey => (None, "key.create", false),
            Self::ListKeys => (None, "key.list", true),
            Self::ShowKey(_) => (None, "key.get", true),
            Self::RenameKey(_) => (None, "key.update", false),
            Self::RevokeKey(_) => (None, "key.delete", false),
            // It changes nothing, and what it makes may do no more than its maker.
            Self::CreateToken(id) => (Some(id), "token.create", true),
            Self::CreateLink(id) => (Some(id), "token.link", true),
        };
        Some(Access { sandbox, operation, read_only })
    }
}

impl Route {
    /// The parameters that its query may have; `None` where the library judges them.
    pub fn parameters(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::Library | Self::Bridge(_) => None,
            Self::ListKeys => Some(&["limit", "cursor", "revoked", "tenant"]),
            Self::ListProjects | Self::ListSecrets => Some(&["limit", "cursor"]),
            _ => Some(&[]),
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
            ("GET", "/v1/sandboxes/sbx-a/notebook", Route::Notebook("sbx-a".parse().unwrap())),
            ("GET", "/v1/kinds", Route::Kinds),
            ("POST", "/mcp", Route::Mcp(None)),
            ("POST", "/v1/sandboxes/sbx-a/mcp/", Route::Mcp(Some("sbx-a".parse().unwrap()))),
            ("GET", "/v1/projects/", Route::ListProjects),
            ("POST", "/v1/projects", Route::CreateProject),
            ("HEAD", "/v1/projects/web", Route::GetProject("web".parse().unwrap())),
            ("PATCH", "/v1/projects/web", Route::UpdateProject("web".parse().unwrap())),
            ("DELETE", "/v1/projects/web/", Route::DeleteProject("web".parse().unwrap())),
            ("GET", "/v1/secrets", Route::ListSecrets),
            ("POST", "/v1/secrets/", Route::PutSecret),
            ("GET", "/v1/secrets/github", Route::GetSecret("github".parse().unwrap())),
            ("DELETE", "/v1/secrets/github", Route::DeleteSecret("github".parse().unwrap())),
            ("GET", "/", Route::Library),
            ("GET", "/healthy", Route::Library),
            ("POST", "/v1/sandboxes", Route::Library),
            ("GET", "/v1/sandboxes/sbx-a/health", Route::Library),
        ] {
            assert_eq!(Route::parse(method, path), Ok(route), "{method} {path}");
        }
    }

    #[test]
    fn keys() {
        let id: KeyId = "abcdefghijklmnopqrstuvwx27".parse().unwrap();
        let path = format!("/v1/keys/{id}");
        for (method, path, route, operation, read_only) in [
            ("POST", "/v1/keys", Route::CreateKey, "key.create", false),
            ("GET", "/v1/keys/", Route::ListKeys, "key.list", true),
            ("HEAD", &path, Route::ShowKey(id.clone()), "key.get", true),
            ("PATCH", &path, Route::RenameKey(id.clone()), "key.update", false),
            ("DELETE", &path, Route::RevokeKey(id.clone()), "key.delete", false),
        ] {
            let found = Route::parse(method, path).unwrap();
            assert_eq!(found, route, "{method} {path}");
            assert_eq!(found.access(), Some(Access { sandbox: None, operation, read_only }), "{method} {path}");
        }
        for odd in ["/v1/keys/a", "/v1/keys/ABCDEFGHIJKLMNOPQRSTUVWX27", "/v1/keys/%61bcdefghijklmnopqrstuvwx27"] {
            assert_eq!(Route::parse("GET", odd).unwrap_err().code, Code::NotFound, "{odd}");
        }
    }

    #[test]
    fn other_methods() {
        for (method, path, allowed) in
            [("POST", "/health", r#"["GET","HEAD"]"#), ("DELETE", "/v1/keys", r#"["GET","HEAD","POST"]"#)]
        {
            let error = Route::parse(method, path).unwrap_err();
            assert_eq!(error.code, Code::MethodNotAllowed, "{method} {path}");
            assert_eq!(error.details.unwrap()["allowed_methods"].to_string(), allowed, "{method} {path}");
        }
    }
}
