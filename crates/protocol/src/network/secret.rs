//! A credential that is added to a sandbox's requests outside the sandbox.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{NetworkGroups, NetworkRule, Outgoing};
use crate::{
    Error,
    secret::{SecretName, is_host_name, shown},
    text::is_text,
};

/// The most methods, and the most paths, of one secret.
const MAX_NAMES: usize = 16;

/// Headers by which a connection or a message is framed, or that name the server.
const RESERVED_HEADERS: [&str; 14] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Adds a header with a secret to requests, outside the sandbox: over HTTPS on its usual port, to this very host. Requests that the rules deny
/// get none, and neither do WebSockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetworkSecret {
    /// The full name of the host, in lower case; no pattern, no address, no port.
    pub host: String,
    /// For which methods. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// For which paths, without the query; `*` stands for any characters. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// The header's name. What the sandbox sends under it is replaced.
    pub header: String,
    /// How the header's value is made of the secret. Default: it is the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<SecretScheme>,
    /// Which secret: the name of one of the tenant's (`POST /v1/secrets`), or `worker:` and the name of one that the operator shares
    /// (`CABANA_NETWORK_SECRETS`).
    pub secret: SecretReference,
}

/// How a header's value is made of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SecretScheme {
    /// `Bearer <secret>`.
    Bearer,
    /// `Basic <secret in Base64>`; the secret is `user:password`, as git's servers take it.
    Basic,
}

/// Names a secret: a tenant's own, or one of the Worker's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct SecretReference(String);

impl SecretReference {
    /// What stands before the name of a secret of the Worker's.
    const WORKER: &str = "worker:";

    /// The name of a secret of the Worker's, if it is one.
    pub fn of_worker(&self) -> Option<&str> {
        self.0.strip_prefix(Self::WORKER)
    }
}

impl FromStr for SecretReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.strip_prefix(Self::WORKER).unwrap_or(text).parse::<SecretName>()?;
        Ok(Self(text.to_owned()))
    }
}

is_text!(SecretReference);

impl NetworkSecret {
    /// Fails with `invalid_request`, which names the secret and the field.
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |field: &str, why: &str| {
            Err(Error::invalid_request(format!("network.secrets: {:?}: `{field}`: {why}", shown(self.secret.as_str()))))
        };
        if !is_host_name(&self.host) {
            return refuse("host", "the full name of one host, in lower case: no pattern, no address, no port");
        }
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let header = self.header.to_ascii_lowercase();
        if !(1..=64).contains(&header.len()) || !header.bytes().all(is_token) {
            return refuse("header", "1 to 64 letters, digits and hyphens");
        }
        if RESERVED_HEADERS.contains(&header.as_str()) || header.starts_with("cf-") || header.starts_with("sec-") {
            return refuse("header", "this header is the connection's own");
        }
        let counts = [self.methods.as_ref().map(Vec::len), self.paths.as_ref().map(Vec::len)];
        if counts.into_iter().flatten().any(|count| !(1..=MAX_NAMES).contains(&count)) {
            return refuse("methods", "1 to 16 methods, and 1 to 16 paths, where they are named");
        }
        if self.paths.iter().flatten().any(|path| !path.starts_with('/')) {
            return refuse("paths", "a path begins with a slash");
        }
        match self.rules() {
            Ok(_) => Ok(()),
            Err(error) => refuse("paths", &error.message),
        }
    }

    /// Whether the secret is for a request.
    pub(super) fn is_for(&self, request: &Outgoing<'_>) -> bool {
        let groups = NetworkGroups::default();
        request.is_https && self.rules().is_ok_and(|rules| rules.iter().any(|rule| rule.allows(request, &groups)))
    }

    /// Whether both say what becomes of one header of the same requests.
    pub(super) fn collides_with(&self, other: &Self) -> bool {
        let key = |secret: &Self| {
            (secret.host.clone(), secret.header.to_ascii_lowercase(), secret.methods.clone(), secret.paths.clone())
        };
        key(self) == key(other)
    }

    fn rules(&self) -> Result<Vec<NetworkRule>, Error> {
        let methods = self.methods.as_ref().map(|methods| format!("{} ", methods.join(","))).unwrap_or_default();
        let paths = self.paths.clone().unwrap_or_else(|| vec![String::new()]);
        paths.iter().map(|path| format!("{methods}{}{path}", self.host).parse()).collect()
    }
}

impl fmt::Display for NetworkSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the secret {} for {}", self.secret, self.host)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn secret(changes: Value) -> NetworkSecret {
        let mut fields = json!({ "host": "git.test", "header": "Authorization", "secret": "github" });
        fields.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn a_secret_is_for_its_host_methods_and_paths_alone() {
        let pushing = secret(json!({ "methods": ["GET", "post"], "paths": ["/acme/app.git/*", "/acme/info"] }));
        for (method, host, path, expected) in [
            ("GET", "git.test", "/acme/app.git/info/refs", true),
            ("POST", "GIT.test.", "/acme/info", true),
            ("PUT", "git.test", "/acme/info", false),
            ("GET", "git.test", "/acme/other.git/info/refs", false),
            ("GET", "git.test", "/acme/app.git/..%2f..%2fother", false),
            ("GET", "a.git.test", "/acme/info", false),
            ("GET", "git.test.evil.test", "/acme/info", false),
        ] {
            let request = Outgoing { method, is_https: true, host, port: 443, path };
            assert_eq!(pushing.is_for(&request), expected, "{method} {host} {path}");
        }
        let request = Outgoing { method: "GET", is_https: true, host: "git.test", port: 443, path: "/acme/info" };
        assert!(pushing.is_for(&request));
        assert!(!pushing.is_for(&Outgoing { port: 8443, ..request }));
        assert!(!pushing.is_for(&Outgoing { is_https: false, port: 80, ..request }));
        assert!(!pushing.is_for(&Outgoing { is_https: false, ..request }));
        assert!(secret(json!({})).is_for(&Outgoing { method: "PATCH", path: "/%2e", ..request }));
    }

    #[test]
    fn malformed_secrets_are_refused_by_name() {
        assert!(secret(json!({ "header": "PRIVATE-TOKEN", "scheme": "basic", "secret": "worker:a" })).check().is_ok());
        for changes in [
            json!({ "host": "*.git.test" }),
            json!({ "host": "git.test:443" }),
            json!({ "host": "192.0.2.1" }),
            json!({ "host": "all" }),
            json!({ "paths": [] }),
            json!({ "host": "Git.test" }),
            json!({ "header": "" }),
            json!({ "header": "Host" }),
            json!({ "header": "Transfer-Encoding" }),
            json!({ "header": "CF-Worker" }),
            json!({ "header": "A: b" }),
            json!({ "header": "A\r\nB" }),
            json!({ "methods": [] }),
            json!({ "methods": ["GET,POST a.test"] }),
            json!({ "paths": ["a"] }),
            json!({ "paths": ["/a?b"] }),
        ] {
            let error = secret(changes.clone()).check().expect_err(&changes.to_string());
            assert!(error.message.starts_with("network.secrets: \"github\""), "{changes}: {}", error.message);
        }
        for name in ["", "worker:", "worker:A", "other:a", "a b"] {
            assert!(name.parse::<SecretReference>().is_err(), "{name}");
        }
    }

    #[test]
    fn the_workers_secrets_are_told_from_the_tenants() {
        let reference = |text: &str| text.parse::<SecretReference>().unwrap();
        assert_eq!((reference("worker:a").of_worker(), reference("worker-a").of_worker()), (Some("a"), None));
    }
}
