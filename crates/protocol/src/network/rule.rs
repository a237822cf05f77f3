//! One rule of a sandbox's network.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::NetworkGroups;
use crate::Error;

/// Longest rule, in bytes.
const MAX_BYTES: usize = 512;

/// A rule, as its text says. Its text is also its name, in answers and in the audit.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkRule {
    text: String,
    /// In upper case; empty: all.
    methods: Vec<String>,
    hosts: Hosts,
    /// `None`: the usual one of the scheme.
    port: Option<u16>,
    /// A pattern; `None`: every path.
    path: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    None,
    /// The rules of this name, which the operator has listed.
    Group(String),
    Exact(String),
    /// Names below this one, which begins with a dot.
    Below(String),
    Range(IpAddr, u8),
}

/// A request that leaves a sandbox.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Its method.
    pub method: &'a str,
    /// Whether it goes over TLS.
    pub is_https: bool,
    /// The host of its URL, without brackets.
    pub host: &'a str,
    /// The port of its URL.
    pub port: u16,
    /// The path of its URL, dot segments resolved, still percent-encoded, without the query.
    pub path: &'a str,
}

impl Outgoing<'_> {
    /// Whether it goes to the usual port of its scheme.
    pub(super) fn has_usual_port(&self) -> bool {
        self.port == if self.is_https { 443 } else { 80 }
    }
}

impl NetworkRule {
    /// Whether the rule lets a request pass. One without a port lets requests to the usual one pass. One that restricts paths lets none pass
    /// whose path a server may read in another way than we do. A group that is not listed any more lets nothing pass.
    pub(super) fn allows(&self, request: &Outgoing<'_>, groups: &NetworkGroups) -> bool {
        if let Hosts::Group(name) = &self.hosts {
            let rules = groups.get(name).unwrap_or_default();
            return self.matches_method(request) && rules.iter().any(|rule| rule.allows(request, groups));
        }
        let path = self.path.as_ref().is_none_or(|pattern| !is_ambiguous(request.path) && matches(pattern, request.path));
        let port = self.port.map_or(request.has_usual_port(), |port| port == request.port);
        port && self.matches_method(request) && self.matches_host(request) && path
    }

    /// Whether the rule stops a request. One without a port stops requests to every port. One that restricts paths stops those, too, whose path
    /// a server may read in another way than we do. A group that is not listed any more stops everything.
    pub(super) fn denies(&self, request: &Outgoing<'_>, groups: &NetworkGroups) -> bool {
        if let Hosts::Group(name) = &self.hosts {
            let group = groups.get(name);
            let stops = group.is_none_or(|rules| rules.iter().any(|rule| rule.denies(request, groups)));
            return self.matches_method(request) && stops;
        }
        let path = self.path.as_ref().is_none_or(|pattern| is_ambiguous(request.path) || matches(pattern, request.path));
        let port = self.port.is_none_or(|port| port == request.port);
        port && self.matches_method(request) && self.matches_host(request) && path
    }

    /// Its text, which is its name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The group that it names, if it names one.
    pub fn group(&self) -> Option<&str> {
        match &self.hosts {
            Hosts::Group(name) => Some(name),
            _ => None,
        }
    }

    /// The port that it names.
    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether it matches nothing.
    pub(super) fn is_none(&self) -> bool {
        self.hosts == Hosts::None
    }

    /// Whether it matches everything.
    pub(super) fn is_everything(&self) -> bool {
        self.hosts == Hosts::All && self.methods.is_empty() && self.port.is_none() && self.path.is_none()
    }

    fn matches_method(&self, request: &Outgoing<'_>) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|method| method.eq_ignore_ascii_case(request.method))
    }

    fn matches_host(&self, request: &Outgoing<'_>) -> bool {
        let host = request.host.trim_end_matches('.').to_ascii_lowercase();
        match &self.hosts {
            Hosts::All => true,
            Hosts::None | Hosts::Group(_) => false,
            Hosts::Exact(exact) => *exact == host,
            Hosts::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            Hosts::Range(network, bits) => host.parse().is_ok_and(|address| is_within(address, *network, *bits)),
        }
    }
}

/// Whether servers read a path in different ways: they may decode `%2e`, `%2f` and `%5c` before they resolve dot segments, or merge slashes.
fn is_ambiguous(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ["%2e", "%2f", "%5c", "%25", "\\", "//"].iter().any(|part| path.contains(part))
}

/// Whether a pattern, in which `*` stands for any characters, matches the whole path.
fn matches(pattern: &str, path: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| path.strip_prefix(first)) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address.to_canonical(), network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

impl FromStr for NetworkRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| {
            let shown: String = text.chars().take(100).collect();
            Error::invalid_request(format!("network rule {shown:?}: {why}"))
        };
        if text.len() > MAX_BYTES {
            return Err(refuse("longer than 512 bytes"));
        }
        let (methods, target) = match text.split_once(' ') {
            Some((methods, target)) => (methods.split(',').map(str::to_ascii_uppercase).collect(), target),
            None => (Vec::new(), text),
        };
        if methods.iter().any(|method: &String| method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic())) {
            return Err(refuse("methods are words like GET, separated by commas, before one space"));
        }
        if target.contains("://") {
            return Err(refuse("a rule has no scheme: it holds for HTTP and HTTPS"));
        }
        let has_methods = !methods.is_empty();
        let rule = |hosts, port, path| Self { text: text.to_owned(), methods, hosts, port, path };
        if let Some((network, bits, port)) = range(target) {
            let widest = if network.is_ipv4() { 32 } else { 128 };
            if bits > widest {
                return Err(refuse("a range has at most 32 bits for IPv4 and 128 for IPv6"));
            }
            return Ok(rule(Hosts::Range(network, bits), check_port(port).map_err(refuse)?, None));
        }
        if let Some(name) = target.strip_prefix('@') {
            check_group_name(name).map_err(refuse)?;
            return Ok(rule(Hosts::Group(name.to_owned()), None, None));
        }
        let (host, path) = match target.find('/') {
            Some(at) => (&target[..at], Some(target[at..].to_owned())),
            None => (target, None),
        };
        if path.as_ref().is_some_and(|path| path.contains(['?', '#', ' ']) || is_ambiguous(path)) {
            return Err(refuse(
                "a path has no query, no fragment, no space, no double slash and no encoded dot, slash or percent sign",
            ));
        }
        let (host, port) = split_port(host);
        let hosts = hosts(host).map_err(refuse)?;
        if hosts == Hosts::None && (port.is_some() || path.is_some() || has_methods) {
            return Err(refuse("`none` stands by itself"));
        }
        Ok(rule(hosts, check_port(port).map_err(refuse)?, path))
    }
}

/// An address with the bits of its network and a port, as in `10.0.0.0/8:8080`.
fn range(text: &str) -> Option<(IpAddr, u8, Option<&str>)> {
    let (address, rest) = text.split_once('/')?;
    let (bits, port) = rest.split_once(':').map_or((rest, None), |(bits, port)| (bits, Some(port)));
    Some((address.parse().ok()?, bits.parse().ok()?, port))
}

/// A host and the port after it. An IPv6 address has brackets where a port follows.
fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') && host.ends_with(']') => (host, Some(port)),
        _ => (host, None),
    }
}

fn check_port(port: Option<&str>) -> Result<Option<u16>, &'static str> {
    let Some(port) = port else { return Ok(None) };
    match port.parse() {
        Ok(number @ 1..=u16::MAX) if number.to_string() == port => Ok(Some(number)),
        _ => Err("a port is a number from 1 to 65535"),
    }
}

pub(super) fn check_group_name(name: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=40).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err("a group's name has 1 to 40 lower-case letters, digits and hyphens, and nothing follows it")
}

fn hosts(host: &str) -> Result<Hosts, &'static str> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    match host.as_str() {
        "all" => return Ok(Hosts::All),
        "none" => return Ok(Hosts::None),
        _ => {}
    }
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(Hosts::Range(address, if address.is_ipv4() { 32 } else { 128 }));
    }
    let (name, is_below) = match host.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (host.as_str(), false),
    };
    let is_label = |label: &str| {
        let of_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(of_label)
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(
            "a host is a name of letters, digits and hyphens, an address, a range, `all`, `none`, `@` and a group, or `*.` before a name",
        );
    }
    Ok(if is_below { Hosts::Below(format!(".{name}")) } else { Hosts::Exact(name.to_owned()) })
}

impl TryFrom<String> for NetworkRule {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<NetworkRule> for String {
    fn from(rule: NetworkRule) -> Self {
        rule.text
    }
}

impl fmt::Display for NetworkRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for NetworkRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, formatter)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for NetworkRule {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NetworkRule".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "maxLength": MAX_BYTES })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(method: &'a str, host: &'a str, path: &'a str) -> Outgoing<'a> {
        Outgoing { method, is_https: true, host, port: 443, path }
    }

    #[test]
    fn a_rule_is_for_its_port_or_the_usual_one() {
        for (rule, is_https, port, allows, denies) in [
            ("a.test", true, 443, true, true),
            ("a.test", false, 80, true, true),
            ("a.test", true, 80, false, true),
            ("a.test", true, 8443, false, true),
            ("a.test:8443", true, 8443, true, true),
            ("a.test:8443", false, 8443, true, true),
            ("a.test:8443", true, 443, false, false),
            ("*.test:8443/x", true, 8443, false, false),
            ("all:8443", true, 8443, true, true),
            ("none", true, 443, false, false),
        ] {
            let parsed: NetworkRule = rule.parse().unwrap();
            let request = Outgoing { is_https, port, ..request("GET", "a.test", "/") };
            let groups = NetworkGroups::default();
            assert_eq!((parsed.allows(&request, &groups), parsed.denies(&request, &groups)), (allows, denies), "{rule} {port}");
        }
        for (rule, host) in
            [("10.0.0.0/8:8080", "10.1.2.3"), ("[2001:db8::1]:8080", "2001:db8::1"), ("2001:db8::/32:8080", "2001:db8::9")]
        {
            let request = Outgoing { port: 8080, ..request("GET", host, "/") };
            assert!(rule.parse::<NetworkRule>().unwrap().allows(&request, &NetworkGroups::default()), "{rule}");
        }
    }

    #[test]
    fn a_group_stands_for_its_rules() {
        let groups = NetworkGroups::parse(r#"{"registries":["GET pypi.org","*.npmjs.org:8443"]}"#).unwrap();
        let (get, gone): (NetworkRule, NetworkRule) = ("GET @registries".parse().unwrap(), "@gone".parse().unwrap());
        for (host, port, expected) in [("pypi.org", 443, true), ("a.npmjs.org", 8443, true), ("a.npmjs.org", 443, false)] {
            let asked = Outgoing { port, ..request("GET", host, "/") };
            assert_eq!((get.allows(&asked, &groups), get.denies(&asked, &groups)), (expected, expected), "{host}");
            assert!(!get.allows(&Outgoing { method: "POST", ..asked }, &groups), "{host}");
            assert!(!gone.allows(&asked, &groups) && gone.denies(&asked, &groups), "a group that is gone is closed");
        }
    }

    #[test]
    fn rules_match_hosts_methods_and_paths() {
        for (rule, method, host, path, expected) in [
            ("pypi.org", "GET", "pypi.org", "/simple/", true),
            ("PyPI.org.", "DELETE", "PYPI.ORG.", "/", true),
            ("pypi.org", "GET", "pypi.org.evil.test", "/", false),
            ("pypi.org", "GET", "evilpypi.org", "/", false),
            ("*.pypi.org", "GET", "a.b.pypi.org", "/", true),
            ("*.pypi.org", "GET", "pypi.org", "/", false),
            ("*.pypi.org", "GET", ".pypi.org", "/", false),
            ("*.pypi.org", "GET", "evilpypi.org", "/", false),
            ("all", "GET", "10.0.0.1", "/", true),
            ("GET,head a.test", "HEAD", "a.test", "/", true),
            ("GET,HEAD a.test", "POST", "a.test", "/", false),
            ("a.test/repos/acme/*", "GET", "a.test", "/repos/acme/x/y", true),
            ("a.test/repos/acme/*", "GET", "a.test", "/repos/acme", false),
            ("a.test/repos/acme/*", "GET", "a.test", "/repos/acme/%2e%2e%2fother", false),
            ("a.test/repos/acme/*", "GET", "a.test", "/repos/acme/..%5cother", false),
            ("a.test/*/info/refs", "GET", "a.test", "/o/r.git/info/refs", true),
            ("a.test/*/info/refs", "GET", "a.test", "/info/refs", false),
            ("a.test/a*a", "GET", "a.test", "/a", false),
            ("a.test/", "GET", "a.test", "/", true),
            ("10.0.0.0/8", "GET", "10.255.0.1", "/", true),
            ("10.0.0.0/8", "GET", "11.0.0.1", "/", false),
            ("0.0.0.0/0", "GET", "11.0.0.1", "/", true),
            ("0.0.0.0/0", "GET", "a.test", "/", false),
            ("192.0.2.7", "GET", "192.0.2.7", "/", true),
            ("192.0.2.7", "GET", "::ffff:192.0.2.7", "/", true),
            ("2001:db8::/32", "GET", "2001:db8:1::1", "/", true),
            ("[2001:db8::1]", "GET", "2001:db8::1", "/", true),
        ] {
            let parsed: NetworkRule = rule.parse().unwrap();
            assert_eq!(
                parsed.allows(&request(method, host, path), &NetworkGroups::default()),
                expected,
                "{rule}: {method} {host} {path}"
            );
            assert_eq!(parsed.to_string(), rule);
        }
    }

    #[test]
    fn a_path_that_servers_read_differently_is_denied_by_every_rule_with_a_path() {
        let rule: NetworkRule = "a.test/admin*".parse().unwrap();
        for (path, expected) in [("/admin", true), ("/x/%2e%2e/admin", true), ("//admin", true), ("/user", false)] {
            assert_eq!(rule.denies(&request("GET", "a.test", path), &NetworkGroups::default()), expected, "{path}");
        }
    }

    #[test]
    fn malformed_rules_are_refused_by_name() {
        let long = "a".repeat(600);
        for rule in [
            "",
            " ",
            "G3T a.test",
            "GET, a.test",
            "GET  a.test",
            "https://a.test",
            "a.test:0",
            "a.test:65536",
            "a.test:",
            "a.test:080",
            "@",
            "@Registries",
            "@a/b",
            "@a:80",
            "GET none",
            "none:80",
            "10.0.0.0/8:x",
            "a..test",
            "*",
            "*.",
            "*a.test",
            "a.*.test",
            "a.test/x?y",
            "a.test//x",
            "a.test/%2e",
            "10.0.0.0/33",
            "2001:db8::/129",
            "bücher.test",
            &long,
        ] {
            let error = rule.parse::<NetworkRule>().unwrap_err();
            assert!(error.message.starts_with("network rule \""), "{rule}: {}", error.message);
        }
    }
}
