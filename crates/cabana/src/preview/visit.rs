//! A visit: what the Worker tells the Durable Object about a request for a port.

use cabana_protocol::{Error, decode_own};
use serde::{Deserialize, Serialize};

use super::{Key, Port};

/// The header in which it travels. Nobody outside can set it: whatever comes in under this name is replaced.
pub(crate) const HEADER: &str = "x-cabana-visit";

/// What the path of a visit starts with at the Durable Object; the program's own path comes after it.
pub(crate) const PATH: &str = "/visit";

/// A request for a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Visit {
    /// The port.
    pub(crate) port: Port,
    /// What the visitor's URL brings to open it; `None` for a caller of the API, who needs no URL.
    pub(crate) key: Option<Key>,
    /// The host, with its port, that the visitor has named.
    pub(crate) host: String,
}

impl Visit {
    /// For [`HEADER`].
    pub(super) fn encode(&self) -> Result<String, Error> {
        let json = serde_json::to_string(self).ok().filter(|json| json.is_ascii());
        json.ok_or_else(|| Error::invalid_request("the host is not one"))
    }

    /// Undoes [`Self::encode`].
    pub(crate) fn decode(header: Option<&str>) -> Result<Self, Error> {
        let visit = header.and_then(|header| decode_own(header.as_bytes()).ok());
        visit.ok_or_else(|| Error::internal("the visit cannot be decoded"))
    }

    /// The program's URL, of the URL that has come to the Durable Object. Its host is what the program is told; which machine is
    /// called, it does not decide.
    pub(crate) fn target(&self, url: &str) -> Option<String> {
        let (_, rest) = url.split_once("://")?;
        let path = &rest[rest.find('/')?..];
        Some(format!("http://{}{}", self.host, path.strip_prefix(PATH)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(key: Option<Key>) -> Visit {
        Visit { port: Port::try_from(3000).unwrap(), key, host: "a.localhost:8787".to_owned() }
    }

    #[test]
    fn it_survives_the_header() {
        for key in [None, Some(Key::Public), Some(Key::Private), "abcdefgh".parse().ok().map(Key::Token)] {
            let visit = visit(key);
            assert_eq!(Visit::decode(Some(&visit.encode().unwrap())), Ok(visit));
        }
        assert!(Visit::decode(None).is_err() && Visit::decode(Some("{}")).is_err());
        let agent = r#"{"port":49983,"key":"public","host":"a"}"#;
        assert!(Visit::decode(Some(agent)).is_err(), "not the agent's, whoever says so");
    }

    #[test]
    fn the_path_is_the_visitors() {
        for (url, target) in [
            ("http://sandbox/visit/", Some("http://a.localhost:8787/")),
            ("http://sandbox/visit/a%2F/b?c=d&e", Some("http://a.localhost:8787/a%2F/b?c=d&e")),
            ("http://sandbox/visit//169.254.169.254/", Some("http://a.localhost:8787//169.254.169.254/")),
            ("http://sandbox/visit/http://169.254.169.254/", Some("http://a.localhost:8787/http://169.254.169.254/")),
            ("http://sandbox/v1/exec", None),
        ] {
            assert_eq!(visit(None).target(url).as_deref(), target, "{url}");
        }
    }
}
