//! Where git runs: a directory beneath the roots, and what of its own configuration has to be switched off.

use std::os::fd::OwnedFd;

use cabana_protocol::{
    Code, Error,
    file::FilePath,
    git::{Credentials, Reason},
};
use serde_json::json;

use super::{
    call::{Call, Caller, Output},
    credentials::Passed,
    failure, names,
};
use crate::{Agent, file};

/// Settings of HTTP that have no say in who hears what.
const HARMLESS: &[&str] = &["lowspeedlimit", "lowspeedtime", "maxrequests", "minsessions", "postbuffer", "useragent", "version"];

/// A directory to run git in.
#[derive(Debug)]
pub(super) struct Repository {
    agent: Agent,
    directory: OwnedFd,
    /// What stands in the place of the repository's own settings that name programs.
    tame: Vec<(String, String)>,
    /// A setting of its own that has a say in where credentials go.
    unsafe_key: Option<String>,
}

/// What is checked out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The branch, if one is.
    pub(super) branch: Option<String>,
    /// The commit, if there is one.
    pub(super) commit: Option<String>,
}

impl Repository {
    /// The one at this path, or at the first root.
    ///
    /// Fails with `not_found`, `forbidden` and so on where there is no such directory; whether it is a repository is git's to say.
    pub(super) async fn open(agent: &Agent, path: Option<FilePath>) -> Result<Self, Error> {
        let directory = file::open_directory(agent, path.unwrap_or_else(|| ".".into())).await?;
        let mut repository = Self::at(agent, directory);
        repository.look().await?;
        Ok(repository)
    }

    /// A directory where no repository is yet.
    pub(super) fn at(agent: &Agent, directory: OwnedFd) -> Self {
        Self { agent: agent.clone(), directory, tame: Vec::new(), unsafe_key: None }
    }

    /// Reads its own settings, which run nothing by being read.
    async fn look(&mut self) -> Result<(), Error> {
        let call = Call::new(["config", "--null", "--show-scope", "--get-regexp", r"^(filter|merge|http|remote)\."]);
        let output = self.run(call).await?;
        if output.truncated {
            return Err(refused("its configuration is too large to be looked through"));
        }
        let mut fields = output.stdout.split(|byte| *byte == 0);
        while let (Some(scope), Some(setting)) = (fields.next(), fields.next()) {
            // What the system and the user have set is theirs.
            if scope == b"local" || scope == b"worktree" {
                let key = setting.split(|byte| *byte == b'\n').next().unwrap_or_default();
                // Shown in other characters, it could not be put out of effect.
                let key = std::str::from_utf8(key).map_err(|_| refused("a key of its configuration is not UTF-8"))?;
                self.tame.extend(tamed(key).map(|value| (key.to_owned(), value.to_owned())));
                self.unsafe_key = self.unsafe_key.take().or_else(|| steers(key).then(|| key.to_owned()));
            }
        }
        Ok(())
    }

    /// Has git do something that takes no remote. What it refuses is in the output.
    pub(super) async fn run(&self, call: Call) -> Result<Output, Error> {
        call.settings(self.tame.iter().cloned()).run(&self.agent, &self.directory, None).await
    }

    /// The same for something that must succeed.
    pub(super) async fn git(&self, call: Call) -> Result<Output, Error> {
        self.run(call).await?.success()
    }

    /// Has git speak with a remote, for a caller who may cancel.
    pub(super) async fn transfer(&self, call: Call, caller: &Caller) -> Result<Output, Error> {
        call.settings(self.tame.iter().cloned()).run(&self.agent, &self.directory, Some(caller)).await?.success()
    }

    /// What is checked out.
    pub(super) async fn head(&self) -> Result<Head, Error> {
        let commit = self.ask(Call::new(["rev-parse", "--quiet", "--verify", "HEAD"])).await?;
        let branch = self.ask(Call::new(["symbolic-ref", "--quiet", "--short", "HEAD"])).await?;
        Ok(Head { branch, commit })
    }

    /// The remote that a branch follows, or else `origin`.
    pub(super) async fn followed(&self, branch: Option<&str>) -> Result<String, Error> {
        let key = branch.map(|branch| format!("branch.{branch}.remote"));
        let remote = match key {
            Some(key) => self.ask(Call::new(["config", "--get"]).arguments([key])).await?,
            None => None,
        };
        // A branch may follow another one of the repository itself.
        Ok(remote.filter(|remote| remote != ".").unwrap_or_else(|| "origin".to_owned()))
    }

    /// The one line that git prints, unless it has nothing to say and says so with exit code 1.
    async fn ask(&self, call: Call) -> Result<Option<String>, Error> {
        let output = self.run(call).await?;
        match output.failed {
            Some(1) => Ok(None),
            _ => Ok(Some(String::from_utf8_lossy(output.success()?.stdout.trim_ascii_end()).into_owned())),
        }
    }

    /// The URL that a remote is fetched from, or with `--push` pushed to; a remote may itself be a URL.
    ///
    /// Fails with `not_found`. Git would take an unknown name for a path.
    pub(super) async fn url(&self, remote: &str, option: Option<&str>) -> Result<String, Error> {
        if remote.contains("://") {
            return Ok(remote.to_owned());
        }
        let call = Call::new(["remote", "get-url"]).arguments(option).arguments([names::remote(remote)?]);
        let output = self.git(call).await?;
        Ok(String::from_utf8_lossy(output.stdout.trim_ascii_end()).into_owned())
    }

    /// What to tell the remote at this URL.
    ///
    /// Fails with `forbidden` where the repository's own settings could lead it elsewhere.
    pub(super) fn credentials(&self, credentials: Option<&Credentials>, url: &str) -> Result<Option<Passed>, Error> {
        let Some(credentials) = credentials else { return Ok(None) };
        if let Some(key) = &self.unsafe_key {
            let error = refused(&format!("with {key} in the repository's configuration no credentials are given"));
            return Err(error.with_details(json!({ "key": key })));
        }
        // Of one that git refuses, or that has a password in it, nobody asks.
        names::origin(url).ok().map(|origin| Passed::new(credentials, &origin)).transpose()
    }
}

fn refused(message: &str) -> Error {
    failure::refusal(Code::Forbidden, Reason::UnsafeConfiguration, message)
}

/// What to put in the place of a setting that names a program.
fn tamed(key: &str) -> Option<&'static str> {
    let (section, name) = (key.split('.').next()?, key.rsplit('.').next()?);
    match (section, name) {
        ("filter", "clean" | "smudge" | "process") => Some(""),
        ("filter", "required") => Some("false"),
        // Fails, which leaves a conflict. An empty one would pass for a merge.
        ("merge", "driver") => Some("false"),
        _ => None,
    }
}

/// Whether a setting has a say in where credentials go, or in who else hears them.
fn steers(key: &str) -> bool {
    let (Some(section), Some(name)) = (key.split('.').next(), key.rsplit('.').next()) else { return false };
    match section {
        "http" => !HARMLESS.contains(&name),
        "remote" => ["proxy", "proxyauthmethod", "vcs"].contains(&name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_a_repository_are_replaced() {
        for (key, expected) in [
            ("filter.lfs.clean", Some("")),
            ("filter.a.b\u{e9}.process", Some("")),
            ("filter.lfs.required", Some("false")),
            ("merge.ours.driver", Some("false")),
            ("merge.ff", None),
            ("remote.origin.url", None),
        ] {
            assert_eq!(tamed(key), expected, "{key}");
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
            assert_eq!(steers(key), expected, "{key}");
        }
    }
}
