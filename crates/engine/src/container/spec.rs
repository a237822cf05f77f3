//! The description by which a client creates a container.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::limits::Limits;

/// The port that tells a network sidecar from any other container.
pub const SIDECAR_PORT: &str = "39001/tcp";

/// The description of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The image's reference, as given.
    pub image: String,
    /// `NAME=value` pairs.
    pub env: Vec<(String, String)>,
    /// Program and arguments; empty means the agent.
    pub argv: Vec<String>,
    /// Labels, kept and shown.
    pub labels: BTreeMap<String, String>,
    /// Host name inside; `None` lets the engine choose.
    pub hostname: Option<String>,
    /// What it may use.
    pub limits: Limits,
    /// Which network it runs in.
    pub network: NetworkMode,
    /// Ports the client exposes.
    pub exposed_ports: BTreeSet<String>,
}

/// Which network a container runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkMode {
    /// A new one, with loopback only.
    Own,
    /// That of another container, by name or id.
    Container(String),
}

/// Why the body of a creation is refused.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Not JSON, or not of this shape.
    #[error("the container's description is not understood: {0}")]
    Json(#[from] serde_json::Error),
    /// No image is named.
    #[error("no image is named")]
    NoImage,
}

impl Spec {
    /// Reads the body of `POST /containers/create`. Unknown fields are ignored. So are known ones without a meaning here:
    /// restart policies (an exited container stays exited, as on Cloudflare), PidMode (a sandbox always has its own pid
    /// namespace), and published ports of anything but a sidecar.
    pub fn parse(body: &[u8]) -> Result<Self, SpecError> {
        let body: Body = serde_json::from_slice(body)?;
        let host = body.host_config.unwrap_or_default();
        let argv = [body.entrypoint, body.cmd].into_iter().flatten().flat_map(Words::into_vec).collect();
        Ok(Self {
            image: body.image.filter(|image| !image.is_empty()).ok_or(SpecError::NoImage)?,
            env: body.env.unwrap_or_default().into_iter().map(pair).collect(),
            argv,
            labels: body.labels.unwrap_or_default(),
            hostname: body.hostname.filter(|hostname| !hostname.is_empty()),
            limits: Limits::new(
                host.memory.and_then(Number::positive),
                host.pids_limit.and_then(Number::positive),
                host.nano_cpus.and_then(Number::positive),
            ),
            network: network(host.network_mode.as_deref()),
            exposed_ports: body.exposed_ports.unwrap_or_default().into_keys().collect(),
        })
    }

    /// A network sidecar.
    pub fn sidecar(image: String) -> Self {
        Self {
            image,
            env: Vec::new(),
            argv: Vec::new(),
            labels: BTreeMap::new(),
            hostname: None,
            limits: Limits::new(None, None, None),
            network: NetworkMode::Own,
            exposed_ports: BTreeSet::from([SIDECAR_PORT.to_owned()]),
        }
    }

    /// Whether this is workerd's network sidecar, which the engine itself implements.
    pub fn is_sidecar(&self) -> bool {
        self.exposed_ports.contains(SIDECAR_PORT) && self.network == NetworkMode::Own
    }
}

fn network(mode: Option<&str>) -> NetworkMode {
    match mode.and_then(|mode| mode.strip_prefix("container:")) {
        Some(container) => NetworkMode::Container(container.to_owned()),
        None => NetworkMode::Own,
    }
}

fn pair(text: String) -> (String, String) {
    match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (text, String::new()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    image: Option<String>,
    env: Option<Vec<String>>,
    cmd: Option<Words>,
    entrypoint: Option<Words>,
    labels: Option<BTreeMap<String, String>>,
    hostname: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    host_config: Option<HostConfig>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    network_mode: Option<String>,
    memory: Option<Number>,
    pids_limit: Option<Number>,
    nano_cpus: Option<Number>,
}

/// Docker takes a command as a string or as words.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

impl Words {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(word) => vec![word],
            Self::Many(words) => words,
        }
    }
}

/// A 64-bit number. Cap'n Proto's JSON, which workerd writes, spells those as strings.
struct Number(i64);

impl Number {
    /// `None` for 0 and -1, both of which mean "no limit" to Docker.
    fn positive(self) -> Option<u64> {
        u64::try_from(self.0).ok().filter(|number| *number > 0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelling {
            Number(i64),
            Text(String),
        }
        match Spelling::deserialize(deserializer)? {
            Spelling::Number(number) => Ok(Self(number)),
            Spelling::Text(text) => text.parse().map(Self).map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_of_a_sandbox_by_workerd_is_read() {
        let spec = Spec::parse(
            br#"{"Image":"a:1","Env":["A=b=c","D"],"Cmd":["x","y"],"Labels":{"l":"m"},"Tty":false,
                "HostConfig":{"NetworkMode":"container:a-proxy","PidMode":"host","Memory":"1048576",
                "PidsLimit":-1,"NanoCpus":500000000,"RestartPolicy":{"Name":"on-failure"}}}"#,
        )
        .unwrap();
        assert_eq!(spec.image, "a:1");
        assert_eq!(spec.env, [("A".to_owned(), "b=c".to_owned()), ("D".to_owned(), String::new())]);
        assert_eq!(spec.argv, ["x", "y"]);
        assert_eq!(spec.network, NetworkMode::Container("a-proxy".to_owned()));
        assert_eq!(spec.limits.memory_bytes, 1 << 20);
        assert_eq!(spec.limits.pids, crate::limits::DEFAULT_PIDS);
        assert_eq!(spec.limits.nano_cpus, Some(500_000_000));
        assert!(!spec.is_sidecar());
    }

    #[test]
    fn the_description_of_a_sidecar_is_recognized() {
        let spec = Spec::parse(
            br#"{"Image":"egress","ExposedPorts":{"39001/tcp":{}},"Cmd":null,
                "HostConfig":{"NetworkMode":"bridge","PublishAllPorts":true}}"#,
        )
        .unwrap();
        assert!(spec.is_sidecar());
        assert!(spec.argv.is_empty());
    }

    #[test]
    fn malformed_descriptions_are_refused() {
        assert!(matches!(Spec::parse(b"{"), Err(SpecError::Json(_))));
        assert!(matches!(Spec::parse(b"{}"), Err(SpecError::NoImage)));
        assert!(matches!(Spec::parse(br#"{"Image":5}"#), Err(SpecError::Json(_))));
    }
}
