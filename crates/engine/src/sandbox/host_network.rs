//! How the host's programs reach the internet: its CA bundle and its proxies, which sandboxes use too.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use hyper::Uri;

/// Variables that name files or directories of certificates.
const CERTIFICATES: &[&str] = &[
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NIX_SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];

/// Variables that name proxies. Programs read them in either case (curl(1), "ENVIRONMENT").
const PROXIES: &[&str] = &["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "http_proxy", "https_proxy"];

/// Variables that name what is reached without a proxy.
const EXCEPTIONS: &[&str] = &["NO_PROXY", "no_proxy"];

/// The address at which a sandbox reaches the proxies of the host's loopback address: of the benchmarking range (RFC 2544).
pub const PROXY_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// The host's way to the internet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostNetwork {
    /// Variables for sandboxes.
    pub variables: Vec<(String, String)>,
    /// Ports of the host's loopback address on which its proxies listen. They are reached at [`PROXY_ADDRESS`].
    pub proxy_ports: BTreeSet<u16>,
}

impl HostNetwork {
    /// Reads the host's variables. Files are left out unless sandboxes see them.
    pub fn inspect(variable: impl Fn(&str) -> Option<String>, shows: impl Fn(&Path) -> bool) -> Self {
        let mut network = Self::default();
        let present = |names: &'static [&'static str]| {
            names.iter().filter_map(|name| Some((*name, variable(name).filter(|value| !value.is_empty())?))).collect::<Vec<_>>()
        };
        for (name, value) in present(CERTIFICATES) {
            if Path::new(&value).canonicalize().is_ok_and(|path| shows(&path)) {
                network.variables.push((name.to_owned(), value));
            }
        }
        for (name, value) in present(PROXIES) {
            let value = network.proxy(&value).unwrap_or(value);
            network.variables.push((name.to_owned(), value));
        }
        for (name, value) in present(EXCEPTIONS) {
            network.variables.push((name.to_owned(), value));
        }
        network
    }

    /// The address inside of a proxy on the host's loopback address. `None` for other proxies, which keep theirs.
    fn proxy(&mut self, value: &str) -> Option<String> {
        let with_scheme = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        let uri: Uri = with_scheme.parse().ok()?;
        let authority = uri.authority()?;
        let host = authority.host().trim_matches(['[', ']']);
        let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let port = authority.port_u16()?;
        if !is_loopback {
            return None;
        }
        self.proxy_ports.insert(port);
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| format!("{user}@")).unwrap_or_default();
        Some(format!("{}://{user}{PROXY_ADDRESS}:{port}", uri.scheme_str()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_of_the_hosts_loopback_have_an_address_inside() {
        let inspect = |value: &str| {
            let network = HostNetwork::inspect(|name| (name == "https_proxy").then(|| value.to_owned()), |_| true);
            let ports: Vec<u16> = network.proxy_ports.into_iter().collect();
            (network.variables.into_iter().map(|(_, value)| value).collect::<Vec<_>>().join(" "), ports)
        };
        for (value, inside, ports) in [
            ("http://127.0.0.1:3128", "http://198.18.0.1:3128", &[3128][..]),
            ("localhost:3128/", "http://198.18.0.1:3128", &[3128]),
            ("socks5h://u:p%40ss@[::1]:1080", "socks5h://u:p%40ss@198.18.0.1:1080", &[1080]),
            ("http://proxy.example:8080", "http://proxy.example:8080", &[]),
            ("http://192.0.2.1:8080/", "http://192.0.2.1:8080/", &[]),
            ("", "", &[]),
        ] {
            assert_eq!(inspect(value), (inside.to_owned(), ports.to_vec()), "{value}");
        }
    }

    #[test]
    fn certificates_that_sandboxes_do_not_see_are_left_out() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let variable = |name: &str| match name {
            "PIP_CERT" => Some(path.clone()),
            "SSL_CERT_FILE" => Some("/nowhere".to_owned()),
            "NO_PROXY" => Some("internal".to_owned()),
            _ => None,
        };
        let names =
            |shown| HostNetwork::inspect(variable, |_| shown).variables.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(true), ["PIP_CERT", "NO_PROXY"]);
        assert_eq!(names(false), ["NO_PROXY"]);
    }
}
