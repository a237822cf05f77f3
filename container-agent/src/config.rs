//! What the agent is told at its start, all of it through the environment.

use std::{collections::BTreeMap, ffi::OsString, net::SocketAddr, path::PathBuf};

use anyhow::{Context, anyhow, ensure};

use crate::{Limits, exec, file::Confinement, log, secret::Secret};

/// The agent's configuration. Variables named `CABANA_…` configure it; all others are passed on to the commands it runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who knows it may drive the agent. `CABANA_AGENT_SECRET`, required.
    pub secret: Secret,
    /// Where to listen. `CABANA_AGENT_LISTEN`, default `0.0.0.0:49983`.
    pub listen: SocketAddr,
    /// Directories that file operations reach, absolute; the first is where commands start and relative paths begin. They are made
    /// when missing. `CABANA_ROOTS`, colon-separated, default `/workspace`.
    pub roots: Vec<PathBuf>,
    /// What keeps paths beneath the roots, `openat2` or `walk`. `CABANA_CONFINEMENT`, default: `openat2` where the kernel allows it.
    pub confinement: Option<Confinement>,
    /// Whom commands run as that ask for nobody, and whose the files are that file operations make: a user of the image, by name or
    /// number. `CABANA_USER`, default: the agent's own.
    pub user: Option<String>,
    /// The variables of every command: the image's, with those of the sandbox on top. `CABANA_SANDBOX_ENV`, a JSON object of strings,
    /// and nulls for what commands are not to see; default: none.
    pub env: BTreeMap<OsString, OsString>,
    /// The values of those of the sandbox, which may be secrets and are shown in no summary.
    pub masked: Vec<String>,
    /// How the agent writes its log. `CABANA_LOG_FORMAT`, `text` or `json`, default `text`.
    pub log_format: log::Format,
    /// See [`Limits`].
    pub limits: Limits,
}

impl Config {
    /// Reads the configuration. The secret and the sandbox's variables, which may hold secrets, are no longer among the variables.
    pub fn from_env(
        secret: Secret,
        sandbox_env: Option<&str>,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> anyhow::Result<Self> {
        let (own, env): (BTreeMap<_, _>, BTreeMap<_, _>) =
            variables.partition(|(name, _)| name.as_encoded_bytes().starts_with(b"CABANA_"));
        let sandbox = sandbox_variables(sandbox_env)?;
        let masked = sandbox.values().flatten().cloned().collect();
        let env = with_sandbox(env, &sandbox)?;
        let variable = |name: &str| own.get::<std::ffi::OsStr>(name.as_ref()).cloned();
        let text = |name: &str, default: &str| variable(name).unwrap_or_else(|| default.into());
        let listen = text("CABANA_AGENT_LISTEN", "0.0.0.0:49983");
        let listen =
            listen.to_str().and_then(|text| text.parse().ok()).context("CABANA_AGENT_LISTEN must be an address and port")?;
        let roots: Vec<_> = std::env::split_paths(&text("CABANA_ROOTS", "/workspace")).collect();
        ensure!(!roots.is_empty() && roots.iter().all(|root| root.is_absolute()), "CABANA_ROOTS must name absolute directories");
        let user = variable("CABANA_USER").filter(|user| !user.is_empty());
        let user = user.map(OsString::into_string).transpose().ok().context("CABANA_USER must be text")?;
        let confinement = variable("CABANA_CONFINEMENT").map(|name| name.to_str().unwrap_or_default().parse());
        let confinement = confinement.transpose().map_err(|names| anyhow!("CABANA_CONFINEMENT must be {names}"))?;
        let log_format = variable("CABANA_LOG_FORMAT").map(|word| word.to_str().unwrap_or_default().parse());
        let log_format =
            log_format.transpose().map_err(|words| anyhow!("CABANA_LOG_FORMAT must be {words}"))?.unwrap_or_default();
        Ok(Self { secret, listen, roots, confinement, user, env, masked, log_format, limits: Limits::from_env(variable)? })
    }
}

/// What the sandbox changes in its image's variables.
fn sandbox_variables(json: Option<&str>) -> anyhow::Result<BTreeMap<String, Option<String>>> {
    // What serde says would quote a value.
    let changes = json.map_or_else(|| Ok(BTreeMap::new()), serde_json::from_str);
    changes.map_err(|_| anyhow!("CABANA_SANDBOX_ENV must be a JSON object of strings and nulls"))
}

/// The image's variables with those of the sandbox on top.
fn with_sandbox(
    image: BTreeMap<OsString, OsString>,
    sandbox: &BTreeMap<String, Option<String>>,
) -> anyhow::Result<BTreeMap<OsString, OsString>> {
    exec::environment(image, sandbox).map_err(|error| anyhow!("CABANA_SANDBOX_ENV: {}", error.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> anyhow::Result<Config> {
        let variables: Vec<_> = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
        Config::from_env(Secret::new("secret".into()), None, variables.into_iter())
    }

    #[test]
    fn own_variables_configure_and_the_rest_is_for_commands() {
        let config = config(&[("PATH", "/bin"), ("CABANA_ROOTS", "/a:/b"), ("CABANA_AGENT_LISTEN", "127.0.0.1:0")]).unwrap();
        assert_eq!(config.roots, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(config.env.keys().collect::<Vec<_>>(), ["PATH"]);
        assert_eq!(config.listen.port(), 0);
        assert_eq!(config.user, None);
        for (value, expected) in [("", None), ("sandbox", Some("sandbox"))] {
            assert_eq!(self::config(&[("CABANA_USER", value)]).unwrap().user.as_deref(), expected);
        }
    }

    #[test]
    fn the_sandbox_adds_to_its_image_and_takes_away() {
        let image = BTreeMap::from([("A".into(), "image".into()), ("B".into(), "image".into()), ("C".into(), "image".into())]);
        let with = |json| with_sandbox(image.clone(), &sandbox_variables(json)?);
        assert_eq!(with(None).unwrap(), image);
        let expected = [("A", "image"), ("B", "sandbox"), ("D", "")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(with(Some(r#"{"B":"sandbox","C":null,"D":"","E":null}"#)).unwrap(), expected.into());
        for nonsense in ["", "[]", r#"{"A":7}"#, r#"{"A":"hunter2\u0000"}"#, r#"{"A=B":"hunter2"}"#, r#"{"A":["hunter2"]}"#] {
            let error = with(Some(nonsense)).unwrap_err().to_string();
            assert!(error.contains("CABANA_SANDBOX_ENV") && !error.contains("hunter2"), "{nonsense}: {error}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for (name, value) in [
            ("CABANA_ROOTS", "relative"),
            ("CABANA_ROOTS", ""),
            ("CABANA_AGENT_LISTEN", "nowhere"),
            ("CABANA_CONFINEMENT", "none"),
        ] {
            assert!(config(&[(name, value)]).is_err(), "{name}={value}");
        }
    }
}
