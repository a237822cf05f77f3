//! What the sandbox is.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::Path,
};

use cabana_protocol::system::System;

use crate::{
    Agent,
    process::{Identity, Processes, command},
};

/// Programs that callers ask for first. Which versions they have is not told: they would all have to be run for it.
const PROGRAMS: &[&str] = &[
    "apt-get", "bash", "bun", "cargo", "cc", "clang", "cmake", "curl", "deno", "docker", "ffmpeg", "gcc", "git", "go", "java",
    "jq", "make", "node", "npm", "perl", "php", "pip3", "python3", "rg", "ruby", "rustc", "ssh", "sudo", "tar", "uv", "vim",
    "wget", "zip",
];

/// Looks at the system.
pub(super) fn read(agent: &Agent) -> System {
    let processes = &agent.processes;
    let name = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let variables = processes.variables().base(None, false);
    let path = variables.get(OsStr::new("PATH"));
    System {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: text(name.release()),
        architecture: text(name.machine()),
        hostname: text(name.nodename()),
        distribution: ["/etc/os-release", "/usr/lib/os-release"]
            .iter()
            .find_map(|file| distribution(&fs::read_to_string(file).ok()?)),
        user: user(processes),
        shell: processes.shell().to_owned(),
        confinement: Some(agent.fs.roots().confinement().into()),
        root: processes.home().to_string_lossy().into_owned(),
        programs: PROGRAMS.iter().filter_map(|name| Some(((*name).to_owned(), find(name, path)?))).collect(),
    }
}

fn find(name: &str, path: Option<&OsString>) -> Option<String> {
    command::find(name, path, Path::new("/")).ok().map(|program| program.to_string_lossy().into_owned())
}

/// The name that os-release(5) means to be shown, else the short one.
fn distribution(file: &str) -> Option<String> {
    let value = |name: &str| file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = value("PRETTY_NAME").or_else(|| value("NAME"))?.trim();
    Some(value.trim_matches(['"', '\'']).to_owned()).filter(|name| !name.is_empty())
}

/// The name of whom commands run as, or the number.
fn user(processes: &Processes) -> String {
    let user = processes.user().map_or_else(|| rustix::process::geteuid().to_string(), str::to_owned);
    Identity::look_up(&user).map_or(user, |identity| identity.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_name_themselves() {
        for (file, name) in [
            ("NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n", Some("Debian GNU/Linux 13 (trixie)")),
            ("ID=alpine\nNAME='Alpine Linux'\n", Some("Alpine Linux")),
            ("NAME=Fedora\n", Some("Fedora")),
            ("PRETTY_NAME=\"\"\n", None),
            ("", None),
        ] {
            assert_eq!(distribution(file).as_deref(), name, "{file:?}");
        }
    }
}
