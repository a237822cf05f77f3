//! What git is told through its environment: not to ask, not to run what a repository brings along, and where to stop.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// Of the sandbox's own variables for git these are kept: who commits, and whom to trust. Others would have git trace secrets, work
/// elsewhere or run programs.
const KEPT: &[&str] =
    &["GIT_AUTHOR_EMAIL", "GIT_AUTHOR_NAME", "GIT_COMMITTER_EMAIL", "GIT_COMMITTER_NAME", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"];

const VARIABLES: &[(&str, &str)] = &[
    // Only these are allowed, whatever a configuration says.
    ("GIT_ALLOW_PROTOCOL", "http:https"),
    // Set and empty: nobody is asked. A variable that is not set would leave it to the configuration.
    ("GIT_ASKPASS", ""),
    ("GIT_EDITOR", ":"),
    // Paths mean themselves, whatever characters they have.
    ("GIT_LITERAL_PATHSPECS", "1"),
    // Looking writes nothing.
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_PAGER", "cat"),
    ("GIT_TERMINAL_PROMPT", "0"),
    // What it says is read by failure.rs.
    ("LC_ALL", "C"),
];

/// Settings that go before those of every file. The first ones are those by which a repository could have programs run.
const SETTINGS: &[(&str, &str)] = &[
    ("core.alternateRefsCommand", ":"),
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("commit.gpgSign", "false"),
    // Empty: forgets the helpers that other files name.
    ("credential.helper", ""),
    ("log.showSignature", "false"),
    ("merge.verifySignatures", "false"),
    ("push.gpgSign", "false"),
    // A submodule has a configuration of its own, which these settings do not reach.
    ("diff.ignoreSubmodules", "dirty"),
    ("diff.submodule", "short"),
    ("fetch.recurseSubmodules", "false"),
    ("push.recurseSubmodules", "no"),
    ("status.submoduleSummary", "false"),
    ("submodule.recurse", "false"),
    // Nothing stays behind to tidy up.
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    // What the image or root brought belongs to somebody else than git runs as.
    ("safe.directory", "*"),
    // A name made up from the machine's is nobody's.
    ("user.useConfigOnly", "true"),
    ("color.ui", "false"),
    ("core.quotePath", "false"),
    // Bytes in a second, below which a remote stalls.
    ("http.lowSpeedLimit", "1024"),
    ("merge.autoStash", "false"),
];

/// The environment of git in a sandbox with these variables and roots, with these settings on top.
pub(super) fn environment(
    mut env: BTreeMap<OsString, OsString>,
    roots: &[PathBuf],
    settings: &[(String, String)],
) -> BTreeMap<OsString, OsString> {
    let kept = |name: &OsStr| !name.as_encoded_bytes().starts_with(b"GIT_") || KEPT.iter().any(|kept| name == *kept);
    env.retain(|name, _| kept(name));
    env.extend(VARIABLES.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))));
    // A directory that is no repository is not taken for a part of one that holds all roots.
    let ceilings = std::env::join_paths(roots.iter().filter_map(|root| root.parent()).map(Path::as_os_str));
    env.extend(ceilings.ok().map(|ceilings| ("GIT_CEILING_DIRECTORIES".into(), ceilings)));
    let fixed = SETTINGS.iter().copied();
    let all: Vec<_> = fixed.chain(settings.iter().map(|(key, value)| (key.as_str(), value.as_str()))).collect();
    env.insert("GIT_CONFIG_COUNT".into(), all.len().to_string().into());
    for (number, (key, value)) in all.into_iter().enumerate() {
        env.insert(format!("GIT_CONFIG_KEY_{number}").into(), key.into());
        env.insert(format!("GIT_CONFIG_VALUE_{number}").into(), value.into());
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_variables_reach_git() {
        let base = ["GIT_DIR", "GIT_TRACE_CURL", "GIT_SSL_CAINFO", "GIT_ASKPASS", "PATH", "https_proxy"];
        let base = base.map(|name| (OsString::from(name), OsString::from("x"))).into();
        let env = environment(base, &["/workspace".into(), "/data/a".into()], &[("a.b".to_owned(), "c".to_owned())]);
        let value = |name: &str| env.get(OsStr::new(name)).map(|value| value.to_str().unwrap());
        let last = SETTINGS.len();
        for (name, expected) in [
            ("GIT_DIR", None),
            ("GIT_TRACE_CURL", None),
            ("GIT_SSL_CAINFO", Some("x")),
            ("GIT_ASKPASS", Some("")),
            ("PATH", Some("x")),
            ("https_proxy", Some("x")),
            ("GIT_CEILING_DIRECTORIES", Some("/:/data")),
            (&format!("GIT_CONFIG_KEY_{last}"), Some("a.b")),
            (&format!("GIT_CONFIG_VALUE_{last}"), Some("c")),
            ("GIT_CONFIG_COUNT", Some(&*(last + 1).to_string())),
        ] {
            assert_eq!(value(name), expected, "{name}");
        }
    }
}
