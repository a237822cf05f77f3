//! A directory beneath the roots to run git in, with the dangerous part of its configuration switched off or refused.

use std::os::fd::OwnedFd;

use cabana_protocol::{
    Code, Error,
    file::FilePath,
    git::{Credentials, Reason},
};
use serde_json::json;

use super::{
    call::{Call, Caller, Output},
    configuration::{self, Effect},
    credentials::PassedCredentials,
    failure, names,
};
use crate::Agent;

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
        Self::prepared(agent, agent.fs.open_directory(path.unwrap_or_else(|| ".".into())).await?).await
    }

    /// The same, for what changes it. Fails with `forbidden`, too, where the root may only be read.
    pub(super) async fn open_to_change(agent: &Agent, path: Option<FilePath>) -> Result<Self, Error> {
        Self::prepared(agent, agent.fs.open_directory_to_change(path.unwrap_or_else(|| ".".into())).await?).await
    }

    async fn prepared(agent: &Agent, directory: OwnedFd) -> Result<Self, Error> {
        let mut repository = Self::at(agent, directory);
        repository.look().await?;
        Ok(repository)
    }

    /// A directory where no repository is yet.
    pub(super) fn at(agent: &Agent, directory: OwnedFd) -> Self {
        Self { agent: agent.clone(), directory, tame: Vec::new(), unsafe_key: None }
    }

    /// Reads its own settings; reading them runs nothing.
    ///
    /// Fails with `forbidden` where one of them may name a program that git would run.
    async fn look(&mut self) -> Result<(), Error> {
        let call = Call::new(["config", "--null", "--show-scope", "--list"]);
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
                match configuration::effect(key) {
                    Effect::Inert => {}
                    Effect::Replaced(value) => self.tame.push((key.to_owned(), value.to_owned())),
                    Effect::SteersCredentials => self.unsafe_key = self.unsafe_key.take().or_else(|| Some(key.to_owned())),
                    Effect::Unknown => {
                        let error = refused(&format!("{key} in the repository's configuration may name a program; remove it"));
                        return Err(error.with_details(json!({ "key": key })));
                    }
                }
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
    pub(super) fn credentials(&self, credentials: Option<&Credentials>, url: &str) -> Result<Option<PassedCredentials>, Error> {
        let Some(credentials) = credentials else { return Ok(None) };
        if let Some(key) = &self.unsafe_key {
            let error = refused(&format!("with {key} in the repository's configuration no credentials are given"));
            return Err(error.with_details(json!({ "key": key })));
        }
        // Of one that git refuses, or that has a password in it, nobody asks.
        names::origin(url).ok().map(|origin| PassedCredentials::new(credentials, &origin)).transpose()
    }
}

fn refused(message: &str) -> Error {
    failure::refusal(Code::Forbidden, Reason::UnsafeConfiguration, message)
}
