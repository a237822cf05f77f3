//! What a setting of a repository's own configuration could do: run a program, or lead credentials elsewhere.
//!
//! Every key of git-config(1) whose value is a program is known here: its value is replaced, or the operations never use it. A key that is
//! not known, and looks as if its value were a program, is refused: a later git may run it, as git 2.54 began to run `hook.<name>.command`.

/// Settings of HTTP that do not affect who receives what.
const HARMLESS_HTTP: &[&str] =
    &["lowspeedlimit", "lowspeedtime", "maxrequests", "minsessions", "postbuffer", "useragent", "version"];

/// Programs that [`environment`](super::environment) or the options of every call put out of effect, or that no operation runs.
const UNUSED: &[(&str, &[&str])] = &[
    ("core", &["alternaterefscommand", "askpass", "editor", "fsmonitor", "gitproxy", "hookspath", "pager", "sshcommand"]),
    ("credential", &["helper"]),
    ("diff", &["command", "external", "textconv"]),
    ("gpg", &["defaultkeycommand", "program"]),
    ("interactive", &["difffilter"]),
    ("remote", &["receivepack", "uploadpack"]),
    ("sequence", &["editor"]),
    ("uploadpack", &["packobjectshook"]),
];

/// Sections that name no programs, or are of commands that no operation runs.
const UNUSED_SECTIONS: &[&str] = &[
    "advice",
    "alias",
    "browser",
    "color",
    "difftool",
    "guitool",
    "imap",
    "instaweb",
    "lfs",
    "man",
    "mergetool",
    "pager",
    "sendemail",
    "tar",
    "trailer",
    "web",
];

/// Parts of the names of keys whose value is a program.
const PROGRAMS: &[&str] = &[
    "askpass", "cmd", "command", "driver", "editor", "exec", "external", "helper", "hook", "monitor", "pager", "program",
    "script", "shell", "textconv", "tunnel",
];

/// What a setting does to the operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing that could do harm.
    Inert,
    /// It would run a program: this value goes in its place.
    Replaced(&'static str),
    /// It affects where credentials go, or who else receives them.
    SteersCredentials,
    /// It may run a program.
    Unknown,
}

/// The effect of a key, which git writes with section and name in lower case.
pub(super) fn effect(key: &str) -> Effect {
    let (Some(section), Some(name)) = (key.split('.').next(), key.rsplit('.').next()) else { return Effect::Inert };
    let unused = || UNUSED.iter().any(|(of, names)| *of == section && names.contains(&name));
    match (section, name) {
        ("filter", "clean" | "smudge" | "process") => Effect::Replaced(""),
        ("filter", "required") => Effect::Replaced("false"),
        // A shell's command that does nothing; the last value of a key counts.
        ("hook", "command") => Effect::Replaced(":"),
        // Fails, which leaves a conflict. An empty one would pass for a merge.
        ("merge", "driver") => Effect::Replaced("false"),
        ("http", name) if !HARMLESS_HTTP.contains(&name) => Effect::SteersCredentials,
        ("remote", "proxy" | "proxyauthmethod" | "vcs") => Effect::SteersCredentials,
        _ if UNUSED_SECTIONS.contains(&section) || unused() => Effect::Inert,
        _ if PROGRAMS.iter().any(|program| name.contains(program)) => Effect::Unknown,
        _ => Effect::Inert,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_a_repository_are_replaced_or_refused() {
        for (key, expected) in [
            ("filter.lfs.clean", Effect::Replaced("")),
            ("filter.a.b\u{e9}.process", Effect::Replaced("")),
            ("filter.lfs.required", Effect::Replaced("false")),
            ("merge.ours.driver", Effect::Replaced("false")),
            ("hook.x.command", Effect::Replaced(":")),
            ("hook.x.event", Effect::Inert),
            ("hook.x.prehookscript", Effect::Unknown),
            ("merge.ff", Effect::Inert),
            ("remote.origin.url", Effect::Inert),
            ("remote.origin.fetch", Effect::Inert),
            ("remote.origin.promisor", Effect::Inert),
            ("remote.origin.partialclonefilter", Effect::Inert),
            ("remote.origin.uploadpack", Effect::Inert),
            ("branch.main.merge", Effect::Inert),
            ("branch.main.vscode-merge-base", Effect::Inert),
            ("core.repositoryformatversion", Effect::Inert),
            ("core.sshcommand", Effect::Inert),
            ("core.newcommand", Effect::Unknown),
            ("diff.evil.textconv", Effect::Inert),
            ("pager.log", Effect::Inert),
            ("alias.x", Effect::Inert),
            ("trailer.x.cmd", Effect::Inert),
            ("lfs.customtransfer.x.command", Effect::Inert),
            ("new.x.command", Effect::Unknown),
            ("user.email", Effect::Inert),
            ("gc.packrefs", Effect::Inert),
            ("advice.waitingforeditor", Effect::Inert),
            ("push.gpgsign", Effect::Inert),
            ("submodule.x.url", Effect::Inert),
        ] {
            assert_eq!(effect(key), expected, "{key}");
        }
    }

    #[test]
    fn settings_that_steer_credentials_are_known() {
        for (key, expected) in [
            ("http.sslverify", true),
            ("http.https://h/.proxy", true),
            ("http.https://h/.extraheader", true),
            ("remote.origin.proxy", true),
            ("http.postbuffer", false),
            ("remote.origin.url", false),
            ("remote.proxy.fetch", false),
        ] {
            assert_eq!(effect(key) == Effect::SteersCredentials, expected, "{key}");
        }
    }
}
