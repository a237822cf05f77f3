//! What a command needs: which service it speaks to, and how it prints.

use std::env;

use anyhow::{Context as _, Result, bail};
use cabana_client::{Client, Sandbox, Settings};

use crate::{
    arguments::Global,
    dev::DevService,
    id::Named,
    output::Output,
    profiles::{Profile, Profiles},
};

/// The profile that stands for the service on this machine.
pub(crate) const DEV: &str = "dev";

/// What every command is given.
pub(crate) struct Context {
    global: Global,
}

/// A service, and why it is this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) url: String,
    pub(crate) api_key: String,
    /// What has named it, for people.
    pub(crate) source: String,
}

/// What the environment says.
#[derive(Debug, Default)]
struct Variables {
    url: Option<String>,
    api_key: Option<String>,
    profile: Option<String>,
}

impl Variables {
    fn read() -> Self {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        Self { url: variable("CABANA_URL"), api_key: variable("CABANA_API_KEY"), profile: variable("CABANA_PROFILE") }
    }
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Self { global }
    }

    pub(crate) fn json(&self) -> bool {
        self.global.json
    }

    /// The profile that the command line names.
    pub(crate) fn profile(&self) -> Option<&str> {
        self.global.profile.as_deref()
    }

    /// The tenant that the command line names.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.global.tenant.as_deref()
    }

    pub(crate) fn output(&self) -> Output {
        Output::new(self.global.json)
    }

    pub(crate) fn client(&self) -> Result<Client> {
        let service = self.service()?;
        let user_agent = Some(concat!("cabana-cli/", env!("CARGO_PKG_VERSION")).to_owned());
        let settings = Settings { tenant: self.global.tenant.clone(), user_agent, ..Settings::default() };
        Client::with(&service.url, &service.api_key, settings).with_context(|| service.source)
    }

    pub(crate) fn sandbox(&self, id: &Named) -> Result<Sandbox> {
        Ok(self.client()?.sandbox(id.0.clone()))
    }

    /// The service that is spoken to.
    pub(crate) fn service(&self) -> Result<Service> {
        let profiles = || Profiles::load(&Profiles::path()?);
        resolve(self.profile(), Variables::read(), profiles, DevService::find)
    }
}

fn resolve(
    named: Option<&str>,
    variables: Variables,
    profiles: impl Fn() -> Result<Profiles>,
    dev: impl Fn() -> Option<DevService>,
) -> Result<Service> {
    let local = |missing: &str| {
        let service = dev().with_context(|| missing.to_owned())?;
        let source = "the service of `cargo xtask dev` on this machine".to_owned();
        Ok(Service { url: service.url, api_key: service.api_key, source })
    };
    let of_profile = |name: &str| match profiles()?.get(name) {
        // A profile that is called so comes first.
        Err(_) if name == DEV => local("`cargo xtask dev` does not run on this machine"),
        Err(error) => Err(error),
        Ok(Profile { url, api_key }) => {
            Ok(Service { url: url.clone(), api_key: api_key.clone(), source: format!("the profile {name}") })
        }
    };
    if let Some(name) = named {
        return of_profile(name);
    }
    match (variables.url, variables.api_key) {
        (Some(url), Some(api_key)) => {
            return Ok(Service { url, api_key, source: "CABANA_URL and CABANA_API_KEY".to_owned() });
        }
        (Some(_), None) => bail!("CABANA_URL is set, and CABANA_API_KEY is not: set both, or neither"),
        (None, Some(_)) => bail!("CABANA_API_KEY is set, and CABANA_URL is not: set both, or neither"),
        (None, None) => {}
    }
    if let Some(name) = variables.profile.or(profiles()?.default) {
        return of_profile(&name);
    }
    local("no service is known: set CABANA_URL and CABANA_API_KEY, run `cabana login`, or start `cargo xtask dev`")
}

#[cfg(test)]
mod tests {
    use super::{Variables, resolve};
    use crate::{
        dev::DevService,
        profiles::{Profile, Profiles},
    };
    use serde_json::json;

    fn profiles(default: Option<&str>) -> Profiles {
        let profile = |url: &str| Profile { url: url.to_owned(), api_key: "k".to_owned() };
        let named = [("a".to_owned(), profile("https://a")), ("b".to_owned(), profile("https://b"))];
        Profiles { default: default.map(str::to_owned), profiles: named.into() }
    }

    fn dev() -> Option<DevService> {
        let announced = json!({ "url": "http://dev", "api_key": "k", "process": 1, "root": "/", "ready_at_ms": 1 });
        serde_json::from_value(announced).ok()
    }

    fn url(named: Option<&str>, variables: Variables, default: Option<&str>, runs: bool) -> Result<String, String> {
        let service = resolve(named, variables, || Ok(profiles(default)), || dev().filter(|_| runs));
        service.map(|service| service.url).map_err(|error| error.to_string())
    }

    fn variables(url: Option<&str>, api_key: Option<&str>, profile: Option<&str>) -> Variables {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Variables { url: own(url), api_key: own(api_key), profile: own(profile) }
    }

    #[test]
    fn the_most_explicit_word_decides() {
        let both = || variables(Some("https://v"), Some("k"), Some("b"));
        assert_eq!(url(Some("a"), both(), Some("b"), true).unwrap(), "https://a");
        assert_eq!(url(None, both(), Some("a"), true).unwrap(), "https://v");
        assert_eq!(url(None, variables(None, None, Some("b")), Some("a"), true).unwrap(), "https://b");
        assert_eq!(url(None, Variables::default(), Some("a"), true).unwrap(), "https://a");
        assert_eq!(url(None, Variables::default(), None, true).unwrap(), "http://dev");
        assert_eq!(url(Some("dev"), both(), Some("a"), true).unwrap(), "http://dev");
    }

    #[test]
    fn what_cannot_be_decided_is_said() {
        for (found, expected) in [
            (url(Some("c"), Variables::default(), None, true), "no profile \"c\"; there are a, b"),
            (url(None, variables(Some("https://v"), None, None), None, true), "CABANA_API_KEY is not"),
            (url(None, Variables::default(), None, false), "run `cabana login`"),
            (url(Some("dev"), Variables::default(), None, false), "does not run on this machine"),
        ] {
            let message = found.unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
