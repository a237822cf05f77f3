//! A git server inside a sandbox, where it is reached from, and the repositories that it serves.

use cabana_protocol::{
    Operation,
    git::{self, Clone, Cloned, Commit, Person},
    process::{Until, Wait, Waited},
};
use cabana_tests::Sandbox;
use serde_json::{Value, json};

/// The author of the cases' commits.
pub(super) fn author() -> Option<Person> {
    Some(Person { name: "Ada".into(), email: "ada@example.com".into() })
}

/// What commits by the shell need: nothing of the machine's own configuration.
pub(super) const IDENTITY: &str = "export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@example.com GIT_COMMITTER_NAME=Ada \
                                   GIT_COMMITTER_EMAIL=ada@example.com GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null;";

/// A server with one repository, `project.git`, which has a few commits on `main` and one more on `feature`.
pub(super) struct Remote<'a> {
    pub(super) sandbox: &'a Sandbox,
    port: u16,
}

impl<'a> Remote<'a> {
    pub(super) async fn start(sandbox: &'a Sandbox) -> Self {
        Self::start_as(sandbox, None).await
    }

    /// Served by this user, who may have programs that others have not.
    pub(super) async fn start_as(sandbox: &'a Sandbox, user: Option<&str>) -> Self {
        sandbox.put("server.py", include_str!("server.py")).await.success();
        let seed = format!(
            "{IDENTITY} set -e; mkdir served; git init -q -b main seed; cd seed; \
             for number in 1 2 3; do echo line $number >> file; git add file; git commit -qm \"number $number\"; done; \
             git switch -qc feature; echo more > other; git add other; git commit -qm other; git switch -q main; \
             cd ..; git clone -q --bare seed served/project.git; git -C served/project.git config http.receivepack true; rm -r seed"
        );
        let seeded = sandbox.exec(json!({ "command": seed, "user": user })).await;
        assert!(seeded.result.success(), "{seeded:?}");
        let server = ["python3", "server.py", "served"];
        let server = json!({ "command": server, "user": user, "detach": true, "name": "git-server" });
        sandbox.exec(server).await;
        let until = Until::Regex { regex: "^port [0-9]+$".into() };
        let waited = sandbox.call(Wait { process: "git-server".into(), until, from: None, timeout_ms: Some(30_000) }).await;
        let Waited::Logged { line, .. } = waited else { panic!("{waited:?}") };
        let port = std::str::from_utf8(&line.0).unwrap().trim_start_matches("port ").parse().unwrap();
        Self { sandbox, port }
    }

    /// Where something is on the server.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// Clones `project.git` here.
    pub(super) async fn clone(&self, path: &str) -> Cloned {
        self.fold::<Clone>(json!({ "url": self.url("project.git"), "path": path })).await
    }

    /// A streaming operation in its JSON form, which must succeed.
    pub(super) async fn fold<O: Operation>(&self, request: Value) -> O::Response {
        serde_json::from_slice(&self.sandbox.post(O::NAME, request).await.success()).unwrap()
    }

    /// Writes a file and commits it.
    pub(super) async fn commit(&self, repository: &str, file: &str, content: &'static str) -> String {
        self.sandbox.put(&format!("{repository}/{file}"), content).await.success();
        let path = Some(repository.into());
        self.sandbox.call(git::Add { path: path.clone(), paths: vec![file.into()], all: false }).await;
        let message = format!("change {file}");
        self.sandbox.call(Commit { path, message, author: author(), all: false, allow_empty: false }).await.commit
    }
}
