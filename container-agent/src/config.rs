//! What the agent is told at its start, all of it through the environment.

use std::{collections::BTreeMap, ffi::OsString, net::SocketAddr, path::PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use cabana_protocol::{code, variables::VariableChanges};

use crate::{
    Limits,
    fs::Confinement,
    log,
    process::{self, KeptCapabilities},
    secret::Secret,
};

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
    /// Those of the roots that file operations may only read. `CABANA_READ_ONLY_ROOTS`, colon-separated, default: none.
    pub read_only_roots: Vec<PathBuf>,
    /// Where the agent keeps what the next container needs. `CABANA_STATE`, absolute, default `/var/lib/cabana`.
    pub state: PathBuf,
    /// What keeps paths beneath the roots, `openat2` or `walk`. `CABANA_CONFINEMENT`, default: `openat2` where the kernel allows it.
    pub confinement: Option<Confinement>,
    /// Whom commands run as that ask for nobody, and whose the files are that file operations make: a user of the image, by name or
    /// number. `CABANA_USER`, default: the agent's own.
    pub user: Option<String>,
    /// The image's variables.
    pub env: BTreeMap<OsString, OsString>,
    /// What the sandbox changes in them. `CABANA_SANDBOX_ENV`, a JSON object of strings, and nulls for what commands are not to see;
    /// default: nothing. The values may be secrets, and are shown in no summary.
    pub sandbox_env: VariableChanges,
    /// What commands may do beyond their user's rights, root's included. `CABANA_KEEP_CAPABILITIES`, `all` or names as in
    /// `SYS_ADMIN,NET_ADMIN`, default: none beyond what Docker grants.
    pub kept_capabilities: KeptCapabilities,
    /// Whether rules hold for what leaves the container. `CABANA_NETWORK_RULES`, `true` or `false`, default `false`.
    pub has_network_rules: bool,
    /// Languages of which a started kernel waits for the next context. `CABANA_WARM_KERNELS`, separated by commas, default: none.
    pub warm_kernels: Vec<String>,
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
        let sandbox_env = sandbox_variables(sandbox_env)?;
        let variable = |name: &str| own.get::<std::ffi::OsStr>(name.as_ref()).cloned();
        let text = |name: &str, default: &str| variable(name).unwrap_or_else(|| default.into());
        let listen = text("CABANA_AGENT_LISTEN", "0.0.0.0:49983");
        let listen =
            listen.to_str().and_then(|text| text.parse().ok()).context("CABANA_AGENT_LISTEN must be an address and port")?;
        let roots: Vec<_> = std::env::split_paths(&text("CABANA_ROOTS", "/workspace")).collect();
        ensure!(!roots.is_empty() && roots.iter().all(|root| root.is_absolute()), "CABANA_ROOTS must name absolute directories");
        let read_only_roots: Vec<_> = match text("CABANA_READ_ONLY_ROOTS", "") {
            none if none.is_empty() => Vec::new(),
            some => std::env::split_paths(&some).collect(),
        };
        ensure!(read_only_roots.iter().all(|root| roots.contains(root)), "CABANA_READ_ONLY_ROOTS must name some of the roots");
        let state = PathBuf::from(text("CABANA_STATE", "/var/lib/cabana"));
        ensure!(state.is_absolute(), "CABANA_STATE must be an absolute directory");
        let user = variable("CABANA_USER").filter(|user| !user.is_empty());
        let user = user.map(OsString::into_string).transpose().ok().context("CABANA_USER must be text")?;
        let confinement = variable("CABANA_CONFINEMENT").map(|name| name.to_str().unwrap_or_default().parse());
        let confinement = confinement.transpose().map_err(|names| anyhow!("CABANA_CONFINEMENT must be {names}"))?;
        let kept = text("CABANA_KEEP_CAPABILITIES", "").into_string().unwrap_or_default().parse();
        let kept_capabilities = kept.map_err(|error| anyhow!("CABANA_KEEP_CAPABILITIES: {error}"))?;
        let has_network_rules = match text("CABANA_NETWORK_RULES", "false").to_str() {
            Some("true") => true,
            Some("false") => false,
            _ => bail!("CABANA_NETWORK_RULES must be true or false"),
        };
        let warm_kernels = text("CABANA_WARM_KERNELS", "").into_string().ok().context("CABANA_WARM_KERNELS must be text")?;
        let warm_kernels = warm_kernels.split(',').map(code::language).filter(|name| !name.is_empty()).collect();
        let log_format = variable("CABANA_LOG_FORMAT").map(|word| word.to_str().unwrap_or_default().parse());
        let log_format =
            log_format.transpose().map_err(|words| anyhow!("CABANA_LOG_FORMAT must be {words}"))?.unwrap_or_default();
        let limits = Limits::from_env(variable)?;
        Ok(Self {
            secret,
            listen,
            roots,
            read_only_roots,
            state,
            confinement,
            user,
            env,
            sandbox_env,
            kept_capabilities,
            has_network_rules,
            warm_kernels,
            log_format,
            limits,
        })
    }
}

/// What the sandbox changes in its image's variables.
fn sandbox_variables(json: Option<&str>) -> anyhow::Result<VariableChanges> {
    // What serde says would quote a value.
    let changes = json.map_or_else(|| Ok(VariableChanges::new()), serde_json::from_str);
    let changes = changes.map_err(|_| anyhow!("CABANA_SANDBOX_ENV must be a JSON object of strings and nulls"))?;
    let checked = process::command::environment(BTreeMap::new(), &changes);
    checked.map_err(|error| anyhow!("CABANA_SANDBOX_ENV: {}", error.message))?;
    Ok(changes)
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
    fn the_sandboxs_variables_are_read_and_their_values_not_quoted() {
        assert_eq!(sandbox_variables(None).unwrap(), VariableChanges::new());
        let expected = [("B", Some("sandbox")), ("C", None), ("D", Some(""))];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        assert_eq!(sandbox_variables(Some(r#"{"B":"sandbox","C":null,"D":""}"#)).unwrap(), expected.into());
        for nonsense in ["", "[]", r#"{"A":7}"#, r#"{"A":"hunter2\u0000"}"#, r#"{"A=B":"hunter2"}"#, r#"{"A":["hunter2"]}"#] {
            let error = sandbox_variables(Some(nonsense)).unwrap_err().to_string();
            assert!(error.contains("CABANA_SANDBOX_ENV") && !error.contains("hunter2"), "{nonsense}: {error}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for (name, value) in [
            ("CABANA_ROOTS", "relative"),
            ("CABANA_ROOTS", ""),
            ("CABANA_READ_ONLY_ROOTS", "/elsewhere"),
            ("CABANA_AGENT_LISTEN", "nowhere"),
            ("CABANA_STATE", "here"),
            ("CABANA_CONFINEMENT", "none"),
            ("CABANA_KEEP_CAPABILITIES", "everything"),
            ("CABANA_NETWORK_RULES", "1"),
        ] {
            assert!(config(&[(name, value)]).is_err(), "{name}={value}");
        }
    }
}
