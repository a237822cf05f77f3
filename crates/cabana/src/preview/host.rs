//! Whom a request is for, by the host that it names. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};

use cabana_protocol::Error;
use worker::Env;

use super::Label;
use crate::variables::variable;

/// Where previews are: each at a host of its own, one label below this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// In lower case, without a trailing dot.
    name: String,
    /// The port of its URLs, where that is not the scheme's.
    port: Option<u16>,
}

/// The hosts that a deployment answers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// `CABANA_PREVIEW_DOMAIN`: the domain of previews, with its port where that is not the scheme's, for instance
    /// `preview.example.com`. Without it there are no previews by host.
    previews: Option<Domain>,
    /// `CABANA_API_HOSTS`: the hosts of the API, separated by commas. Without it all that are no preview's, save on a machine of a
    /// developer's: there it is loopback only, since any name can be made to point to it.
    api: Option<Vec<String>>,
}

/// Whom a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// The API.
    Api,
    /// A port of a sandbox.
    Preview(Label),
    /// A host of the preview domain that is nobody's.
    Nobody,
    /// Somebody else: the name was made to point to us.
    Foreign,
}

impl Domain {
    /// Reads `<name>` or `<name>:<port>`; `None` where it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.trim().split_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (text.trim(), None),
        };
        let name = normalise(name);
        let label = |label: &str| {
            let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
            edge(label.bytes().next())
                && edge(label.bytes().next_back())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        name.split('.').all(label).then_some(Self { name, port })
    }

    /// The URL of a preview. On a developer's own machine there are no certificates.
    pub fn url(&self, label: &Label) -> String {
        let scheme = if is_loopback(&self.name) { "http" } else { "https" };
        match self.port {
            Some(port) => format!("{scheme}://{label}.{}:{port}/", self.name),
            None => format!("{scheme}://{label}.{}/", self.name),
        }
    }

    /// What stands before the domain in a host below it.
    fn below<'a>(&self, host: &'a str) -> Option<&'a str> {
        host.strip_suffix(&self.name)?.strip_suffix('.')
    }

    /// Whether a cookie for this domain would reach other previews.
    pub fn is_shared(&self, domain: &str) -> bool {
        let domain = normalise(domain.strip_prefix('.').unwrap_or(domain));
        self.name == domain || self.name.strip_suffix(&domain).is_some_and(|left| left.ends_with('.'))
    }
}

impl Hosts {
    /// Reads the Worker's variables.
    ///
    /// Fails with `internal`, naming the variable that cannot be understood.
    pub fn read(env: &Env) -> Result<Self, Error> {
        Self::parse(variable(env, "CABANA_PREVIEW_DOMAIN").as_deref(), variable(env, "CABANA_API_HOSTS").as_deref())
    }

    pub(crate) fn parse(previews: Option<&str>, api: Option<&str>) -> Result<Self, Error> {
        let set = |value: &&str| !value.trim().is_empty();
        let wanted = "the Worker's variable CABANA_PREVIEW_DOMAIN must be a domain, with a port if need be";
        let domain = |text| Domain::parse(text).ok_or_else(|| Error::internal(wanted));
        let list = |text: &str| text.split(',').map(normalise).filter(|host| !host.is_empty()).collect();
        Ok(Self { previews: previews.filter(set).map(domain).transpose()?, api: api.filter(set).map(list) })
    }

    /// The domain of previews.
    pub fn previews(&self) -> Option<&Domain> {
        self.previews.as_ref()
    }

    /// Whom a request is for whose URL names this host, without its port. A trailing dot and upper case are of no account.
    pub fn find(&self, host: &str) -> Host {
        let host = normalise(host);
        match self.previews.as_ref().and_then(|domain| domain.below(&host)) {
            Some(_) if self.is_listed(&host) => Host::Api,
            Some(label) => Label::parse(label).map_or(Host::Nobody, Host::Preview),
            None if self.is_api(&host) => Host::Api,
            None => Host::Foreign,
        }
    }

    /// Whether a page of this origin is a preview's: whatever it asks of the API, no user of the API has written it.
    pub fn is_preview_origin(&self, origin: &str) -> bool {
        let host = origin.split_once("://").map_or(origin, |(_, host)| host);
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        matches!(self.find(name), Host::Preview(_) | Host::Nobody)
    }

    fn is_listed(&self, host: &str) -> bool {
        self.api.as_ref().is_some_and(|listed| listed.iter().any(|listed| listed == host))
    }

    fn is_api(&self, host: &str) -> bool {
        let local = self.previews.as_ref().is_some_and(|domain| is_loopback(&domain.name));
        match self.api {
            Some(_) => self.is_listed(host) || local && is_loopback(host),
            None => !local || is_loopback(host),
        }
    }
}

fn normalise(host: &str) -> String {
    let host = host.trim();
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether it names the machine itself, by a name that nobody can make point elsewhere, or elsewhere to it.
fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || address.and_then(|address| address.parse::<Ipv6Addr>().ok()).is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: &str = "3000-sbx-a-abcdefgh";

    fn check(previews: &str, api: &str, host: &str, expected: &Host) {
        let hosts = Hosts::parse(Some(previews), Some(api)).unwrap();
        assert_eq!(&hosts.find(host), expected, "{host} of {previews:?} and {api:?}");
    }

    fn preview() -> Host {
        Host::Preview(Label::parse(LABEL).unwrap())
    }

    #[test]
    fn previews_are_one_label_below_their_domain() {
        for (host, expected) in [
            ("3000-sbx-a-abcdefgh.p.example.com", preview()),
            ("3000-SBX-a-ABCDEFGH.P.example.COM", preview()),
            ("3000-sbx-a-abcdefgh.p.example.com.", preview()),
            ("3000-sbx-a-abcdefgh.p.example.com..", Host::Api),
            ("x.3000-sbx-a-abcdefgh.p.example.com", Host::Nobody),
            ("3000-sbx-a.p.example.com", Host::Nobody),
            ("www.p.example.com", Host::Nobody),
            (".p.example.com", Host::Nobody),
            ("xn--3000-sbx-a-abcdefgh.p.example.com", Host::Nobody),
            ("0-sbx-a-abcdefgh.p.example.com", Host::Nobody),
            ("03000-sbx-a-abcdefgh.p.example.com", Host::Nobody),
            ("49983-sbx-a-abcdefgh.p.example.com", Host::Nobody),
            ("99999-sbx-a-abcdefgh.p.example.com", Host::Nobody),
            ("3000@evil-sbx-a-abcdefgh.p.example.com", Host::Nobody),
            ("3000-sbx-a-abcdefgh.evil.com", Host::Api),
            ("3000-sbx-a-abcdefgh.p.example.com.evil.com", Host::Api),
            ("3000-sbx-a-abcdefghp.example.com", Host::Api),
            ("p.example.com", Host::Api),
            ("example.com", Host::Api),
        ] {
            check("p.example.com", "", host, &expected);
        }
        check("", "", "3000-sbx-a-abcdefgh.p.example.com", &Host::Api);
    }

    #[test]
    fn the_api_may_be_held_to_its_hosts() {
        for (host, expected) in [
            ("api.example.com", Host::Api),
            ("API.example.com.", Host::Api),
            ("api.p.example.com", Host::Api),
            ("other.example.com", Host::Foreign),
            ("3000-sbx-a-abcdefgh.p.example.com", preview()),
            ("127.0.0.1", Host::Foreign),
        ] {
            check("p.example.com", "api.example.com, api.p.example.com", host, &expected);
        }
    }

    #[test]
    fn on_a_machine_of_ones_own_no_other_name_counts() {
        for (host, expected) in [
            ("localhost", Host::Api),
            ("127.0.0.1", Host::Api),
            ("127.1.2.3", Host::Api),
            ("[::1]", Host::Api),
            ("3000-sbx-a-abcdefgh.localhost", preview()),
            ("3000-sbx-a-abcdefgh.localhost.", preview()),
            ("foo.localhost", Host::Nobody),
            ("evil.test", Host::Foreign),
            ("localhost.evil.test", Host::Foreign),
            ("evillocalhost", Host::Foreign),
            ("127.0.0.1.evil.test", Host::Foreign),
            ("169.254.169.254", Host::Foreign),
            ("0.0.0.0", Host::Foreign),
            ("[::]", Host::Foreign),
            ("", Host::Foreign),
        ] {
            check("localhost:8787", "", host, &expected);
        }
        check("localhost:8787", "cabana.test", "cabana.test", &Host::Api);
        check("localhost:8787", "cabana.test", "127.0.0.1", &Host::Api);
    }

    #[test]
    fn origins_of_previews() {
        let hosts = Hosts::parse(Some("localhost:8787"), None).unwrap();
        for (origin, expected) in [
            ("http://3000-sbx-a-abcdefgh.localhost:8787", true),
            ("http://3000-sbx-a-abcdefgh.localhost", true),
            ("https://foo.localhost:1", true),
            ("http://localhost:8787", false),
            ("http://127.0.0.1:8787", false),
            ("http://[::1]:8787", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(hosts.is_preview_origin(origin), expected, "{origin}");
        }
    }

    #[test]
    fn urls() {
        let label = Label::parse(LABEL).unwrap();
        for (domain, url) in [
            ("localhost:8787", "http://3000-sbx-a-abcdefgh.localhost:8787/"),
            ("p.example.com", "https://3000-sbx-a-abcdefgh.p.example.com/"),
            (" P.example.com.:8443 ", "https://3000-sbx-a-abcdefgh.p.example.com:8443/"),
        ] {
            assert_eq!(Domain::parse(domain).unwrap().url(&label), url);
        }
        for domain in ["", ".", "a b", "a..b", "-a.b", "a:port", "https://a", "*.a", "a/b", "[::1]"] {
            assert_eq!(Domain::parse(domain), None, "{domain}");
        }
    }

    #[test]
    fn domains_of_cookies_that_others_would_see() {
        let domain = Domain::parse("p.example.com").unwrap();
        for (cookie, shared) in [
            ("p.example.com", true),
            (".P.Example.com", true),
            ("example.com", true),
            ("com", true),
            ("3000-sbx-a-abcdefgh.p.example.com", false),
            ("other.com", false),
            ("xample.com", false),
        ] {
            assert_eq!(domain.is_shared(cookie), shared, "{cookie}");
        }
    }
}
