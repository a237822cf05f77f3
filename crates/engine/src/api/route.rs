//! Parsing requests into operations.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::{Method, StatusCode};
use rustix::process::Signal;

use super::error::ApiError;
use super::filters::Filters;
use crate::container::state::Condition;

/// Default time between SIGTERM and SIGKILL of a stop; Docker's own.
const GRACE: Duration = Duration::from_secs(10);

/// A requested operation.
#[derive(Debug, PartialEq)]
pub(super) enum Route {
    Ping,
    Version,
    Info,
    Network { name: String },
    Build { tag: String, arguments: BTreeMap<String, String> },
    Pull { reference: String },
    Images,
    InspectImage { reference: String },
    TagImage { reference: String, target: String },
    RemoveImage { reference: String },
    Commit { container: String, repository: String, pause: bool },
    Containers { all: bool, filters: Filters },
    Volumes,
    RemoveVolume { name: String },
    Create { name: Option<String> },
    Inspect { container: String },
    Start { container: String },
    Wait { container: String, condition: Condition },
    Kill { container: String, signal: Signal },
    Stop { container: String, grace: Duration },
    Remove { container: String, force: bool },
    Upload { container: String, directory: String },
    InjectFault { name: String },
    InspectFault { name: String },
    RemoveFault { name: String },
}

impl Route {
    /// Parses method, path (with or without `/v1.NN`) and query.
    pub(super) fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Self, ApiError> {
        let query = Query::new(query.unwrap_or_default());
        let path = without_version(path);
        let (family, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        let rest = decode(rest);
        let route = match family {
            "images" => image(method, &rest, &query)?,
            "containers" => container(method, &rest, &query)?,
            "faults" => fault(method, &rest),
            "networks" if method == Method::GET && !rest.is_empty() => Some(Self::Network { name: rest }),
            "build" if method == Method::POST => Some(build(&query)?),
            "commit" if method == Method::POST => Some(commit(&query)?),
            "volumes" if method == Method::GET && rest.is_empty() => Some(Self::Volumes),
            "volumes" if method == Method::DELETE => Some(Self::RemoveVolume { name: rest }),
            "_ping" if matches!(*method, Method::GET | Method::HEAD) => Some(Self::Ping),
            "version" if method == Method::GET => Some(Self::Version),
            "info" if method == Method::GET => Some(Self::Info),
            _ => None,
        };
        route.ok_or_else(|| unknown(method, path))
    }
}

fn build(query: &Query) -> Result<Route, ApiError> {
    let arguments = query.get("buildargs").unwrap_or("{}");
    let arguments = serde_json::from_str(arguments).map_err(|error| ApiError::bad_request(format!("buildargs: {error}")))?;
    let tag = query.required("t")?.to_owned();
    Ok(Route::Build { tag, arguments })
}

fn commit(query: &Query) -> Result<Route, ApiError> {
    let container = query.required("container")?.to_owned();
    let repository = with_tag(query.required("repo")?, query.get("tag"));
    // Docker pauses unless it is told not to.
    Ok(Route::Commit { container, repository, pause: query.get("pause").is_none() || query.flag("pause") })
}

fn image(method: &Method, rest: &str, query: &Query) -> Result<Option<Route>, ApiError> {
    let get = method == Method::GET;
    let post = method == Method::POST;
    if get && rest == "json" {
        return Ok(Some(Route::Images));
    }
    if post && rest == "create" {
        let reference = with_tag(query.required("fromImage")?, query.get("tag"));
        return Ok(Some(Route::Pull { reference }));
    }
    if let Some(reference) = rest.strip_suffix("/json").filter(|_| get) {
        let reference = reference.to_owned();
        return Ok(Some(Route::InspectImage { reference }));
    }
    if let Some(reference) = rest.strip_suffix("/tag").filter(|_| post) {
        let target = with_tag(query.required("repo")?, query.get("tag"));
        let reference = reference.to_owned();
        return Ok(Some(Route::TagImage { reference, target }));
    }
    let remove = method == Method::DELETE && !rest.is_empty();
    Ok(remove.then(|| Route::RemoveImage { reference: rest.to_owned() }))
}

fn container(method: &Method, rest: &str, query: &Query) -> Result<Option<Route>, ApiError> {
    let (container, verb) = rest.split_once('/').unwrap_or((rest, ""));
    let container = container.to_owned();
    Ok(Some(match (method.as_str(), container.as_str(), verb) {
        ("GET", "json", "") => Route::Containers { all: query.flag("all"), filters: query.filters()? },
        ("POST", "create", "") => Route::Create { name: query.get("name").map(str::to_owned) },
        ("GET", _, "json") => Route::Inspect { container },
        ("POST", _, "start") => Route::Start { container },
        ("POST", _, "wait") => Route::Wait { container, condition: query.condition()? },
        ("POST", _, "kill") => Route::Kill { container, signal: query.signal()? },
        ("POST", _, "stop") => Route::Stop { container, grace: query.grace()? },
        ("PUT", _, "archive") => Route::Upload { container, directory: query.required("path")?.to_owned() },
        ("DELETE", name, "") if !name.is_empty() => Route::Remove { container, force: query.flag("force") },
        _ => return Ok(None),
    }))
}

fn fault(method: &Method, rest: &str) -> Option<Route> {
    let name = rest.strip_prefix("start/").filter(|name| !name.is_empty())?.to_owned();
    match method.as_str() {
        "PUT" => Some(Route::InjectFault { name }),
        "GET" => Some(Route::InspectFault { name }),
        "DELETE" => Some(Route::RemoveFault { name }),
        _ => None,
    }
}

/// Distinguishes routes of Docker's that the engine does not implement from those that do not exist.
fn unknown(method: &Method, path: &str) -> ApiError {
    const UNSUPPORTED: &[&str] = &["/archive", "/attach", "/exec", "/logs", "/stats", "/top", "/volumes"];
    let known = UNSUPPORTED.iter().any(|part| path.contains(part));
    let (status, what) = if known {
        (StatusCode::NOT_IMPLEMENTED, "this engine does not support")
    } else {
        (StatusCode::NOT_FOUND, "no such route:")
    };
    ApiError::new(status, format!("{what} {method} {path}"))
}

fn without_version(path: &str) -> &str {
    let Some((version, _)) = path.strip_prefix("/v").map(|rest| rest.split_once('/').unwrap_or((rest, ""))) else {
        return path;
    };
    let numeric = version.contains('.') && version.split('.').all(|part| part.parse::<u32>().is_ok());
    if numeric { &path[2 + version.len()..] } else { path }
}

fn with_tag(reference: &str, tag: Option<&str>) -> String {
    match tag.filter(|tag| !tag.is_empty()) {
        Some(digest) if digest.contains(':') => format!("{reference}@{digest}"),
        Some(tag) => format!("{reference}:{tag}"),
        None => reference.to_owned(),
    }
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

struct Query(BTreeMap<String, String>);

impl Query {
    fn new(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| ApiError::bad_request(format!("the parameter {name} is missing")))
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("1" | "true" | "True"))
    }

    fn filters(&self) -> Result<Filters, ApiError> {
        Filters::parse(self.get("filters").unwrap_or_default()).map_err(ApiError::bad_request)
    }

    fn condition(&self) -> Result<Condition, ApiError> {
        let text = self.get("condition");
        Condition::parse(text).ok_or_else(|| ApiError::bad_request(format!("invalid condition: {:?}", text.unwrap_or_default())))
    }

    fn signal(&self) -> Result<Signal, ApiError> {
        let text = self.get("signal").filter(|text| !text.is_empty()).unwrap_or("SIGKILL");
        crate::signal::parse(text).ok_or_else(|| ApiError::bad_request(format!("invalid signal: {text}")))
    }

    fn grace(&self) -> Result<Duration, ApiError> {
        match self.get("t") {
            None | Some("") => Ok(GRACE),
            Some(text) => text
                .parse()
                .map(Duration::from_secs)
                .map_err(|_| ApiError::bad_request(format!("invalid grace: {text} is not a number of seconds"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, uri: &str, expected: Result<Route, u16>) {
        let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
        let found = Route::parse(&method, path, query).map_err(|error| error.status());
        assert_eq!(found, expected, "{method} {uri}");
    }

    fn name() -> String {
        "n".to_owned()
    }

    #[test]
    fn container_routes_are_parsed() {
        check(Method::POST, "/containers/create?name=n", Ok(Route::Create { name: Some(name()) }));
        check(Method::POST, "/v1.44/containers/create", Ok(Route::Create { name: None }));
        let list = Route::Containers { all: true, filters: Filters::default() };
        check(Method::GET, "/containers/json?all=1", Ok(list));
        check(Method::GET, "/containers/json?filters=%7B%22x%22%3A%5B%5D%7D", Err(400));
        check(Method::GET, "/containers/n/json", Ok(Route::Inspect { container: name() }));
        let wait = Route::Wait { container: name(), condition: Condition::Removed };
        check(Method::POST, "/containers/n/wait?condition=removed", Ok(wait));
        let kill = Route::Kill { container: name(), signal: Signal::TERM };
        check(Method::POST, "/containers/n/kill?signal=SIGTERM", Ok(kill));
        let stop = Route::Stop { container: name(), grace: Duration::from_secs(3) };
        check(Method::POST, "/containers/n/stop?t=3", Ok(stop));
        let remove = Route::Remove { container: name(), force: true };
        check(Method::DELETE, "/containers/n?force=true", Ok(remove));
        let upload = Route::Upload { container: name(), directory: "/etc".to_owned() };
        check(Method::PUT, "/v1.44/containers/n/archive?path=%2Fetc", Ok(upload));
    }

    #[test]
    fn image_references_with_slashes_and_colons_are_parsed() {
        let reference = "cloudflare-dev/a:1".to_owned();
        let inspect = Route::InspectImage { reference: reference.clone() };
        check(Method::GET, "/images/cloudflare-dev/a:1/json", Ok(inspect));
        let inspect = Route::InspectImage { reference: reference.clone() };
        check(Method::GET, "/v1.51/images/cloudflare-dev%2Fa%3A1/json", Ok(inspect));
        check(Method::DELETE, "/images/cloudflare-dev/a:1", Ok(Route::RemoveImage { reference }));
        let pull = Route::Pull { reference: "a@sha256:b".to_owned() };
        check(Method::POST, "/images/create?fromImage=a&tag=sha256:b", Ok(pull));
        let tag = Route::TagImage { reference: "a".to_owned(), target: "b:2".to_owned() };
        check(Method::POST, "/images/a/tag?repo=b&tag=2", Ok(tag));
        for (pause, expected) in [("", true), ("&pause=true", true), ("&pause=false", false), ("&pause=0", false)] {
            let commit = Route::Commit { container: name(), repository: "r".to_owned(), pause: expected };
            check(Method::POST, &format!("/v1.44/commit?container=n&repo=r{pause}"), Ok(commit));
        }
        let remove = Route::RemoveImage { reference: "r".to_owned() };
        check(Method::DELETE, "/images/r?noprune=true", Ok(remove));
    }

    #[test]
    fn fault_routes_are_parsed() {
        check(Method::PUT, "/faults/start/n", Ok(Route::InjectFault { name: name() }));
        check(Method::GET, "/faults/start/n", Ok(Route::InspectFault { name: name() }));
        check(Method::DELETE, "/faults/start/n", Ok(Route::RemoveFault { name: name() }));
        check(Method::PUT, "/faults/start/", Err(404));
        check(Method::POST, "/faults/start/n", Err(404));
    }

    #[test]
    fn unknown_and_malformed_routes_are_refused() {
        check(Method::POST, "/containers/n/exec", Err(501));
        check(Method::GET, "/containers/n/archive?path=/", Err(501));
        check(Method::PUT, "/containers/n/archive", Err(400));
        check(Method::POST, "/commit?container=n", Err(400));
        check(Method::GET, "/commit?container=n&repo=r", Err(404));
        check(Method::POST, "/volumes/create", Err(501));
        check(Method::POST, "/containers/n/attach", Err(501));
        check(Method::GET, "/nope", Err(404));
        check(Method::GET, "/version/x", Ok(Route::Version));
        check(Method::POST, "/containers/n/kill?signal=SIGNOPE", Err(400));
        check(Method::POST, "/containers/n/wait?condition=x", Err(400));
        check(Method::POST, "/containers/n/stop?t=x", Err(400));
        check(Method::POST, "/build", Err(400));
    }
}
