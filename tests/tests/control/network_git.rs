//! A push over HTTPS to a git server of this machine, by a token that the sandbox never sees.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use cabana_tests::require;
use data_encoding::BASE64;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::{io::AsyncWriteExt, process::Command};

use super::{
    fresh_name,
    https_server::{Asked, HttpsServer, Reply},
    lifecycle::Named,
    request,
};

/// Repositories that a server has, for clients that show the token.
struct Repositories {
    directory: tempfile::TempDir,
    backend: PathBuf,
    authorization: String,
}

impl Repositories {
    /// With these empty repositories. `None` where the machine's git has no server.
    async fn new(names: &[&str], token: &str) -> Option<Self> {
        let path = Command::new("git").arg("--exec-path").output().await.ok()?.stdout;
        let backend = Path::new(String::from_utf8(path).ok()?.trim()).join("git-http-backend");
        let backend = require("git-http-backend", backend.exists().then_some(backend), "git has no server over HTTP")?;
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            let made =
                Command::new("git").args(["init", "-q", "--bare", "-b", "main"]).arg(directory.path().join(name)).status().await;
            assert!(made.unwrap().success());
        }
        let authorization = format!("Basic {}", BASE64.encode(token.as_bytes()));
        Some(Self { directory, backend, authorization })
    }

    /// Gives a repository its first commit, with one file.
    async fn fill(&self, repository: &str) {
        let script = "set -e; cd $(mktemp -d \"$1/XXXXXX\"); git init -q -b main .; echo filled > file; git add file
            git -c user.name=a -c user.email=a@example.com commit -qm first; git push -q \"$1/$2\" main";
        let filled = Command::new("sh").args(["-c", script, "fill"]).arg(self.directory.path()).arg(repository).status().await;
        assert!(filled.unwrap().success());
    }

    /// Answers as git's own server does (RFC 3875).
    async fn answer(&self, asked: Asked) -> Reply {
        if asked.header("authorization") != [&self.authorization[..]] {
            return (401, vec![("www-authenticate", "Basic realm=\"git\"".to_owned())], Vec::new());
        }
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let header = |name: &str| asked.header(name).join(",");
        let mut backend = Command::new(&self.backend);
        backend
            .env("GIT_PROJECT_ROOT", self.directory.path())
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REMOTE_USER", "pusher")
            .env("REMOTE_ADDR", "127.0.0.1")
            .env("REQUEST_METHOD", &asked.method)
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", asked.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("GIT_PROTOCOL", header("git-protocol"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut backend = backend.spawn().unwrap();
        let mut stdin = backend.stdin.take().unwrap();
        let (written, output) = tokio::join!(
            async move {
                let written = stdin.write_all(&asked.body).await;
                drop(stdin);
                written
            },
            backend.wait_with_output()
        );
        // A program that has read enough ends early.
        let _ = written;
        cgi(&output.unwrap().stdout)
    }

    /// The subject of the newest commit of a branch.
    async fn subject(&self, repository: &str, branch: &str) -> String {
        let repository = self.directory.path().join(repository);
        let output = Command::new("git").arg("-C").arg(repository).args(["log", "-1", "--format=%s", branch]).output().await;
        String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
    }
}

/// What a program that speaks CGI says.
fn cgi(output: &[u8]) -> Reply {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
    let status = field("Status:").and_then(|status| status[..3].parse().ok()).unwrap_or(200);
    (status, vec![("content-type", field("Content-Type:").unwrap_or_default())], output[end + 4..].to_vec())
}

/// The third case of docs/network.md.
#[tokio::test]
async fn an_agent_pushes_to_one_repository_by_a_token_that_it_never_sees() {
    let token = format!("x-access-token:{}", fresh_name("token"));
    let Some(repositories) = Repositories::new(&["app.git", "other.git"], &token).await else { return };
    let repositories = Arc::new(repositories);
    let answering = Arc::clone(&repositories);
    let Some(server) = HttpsServer::start(move |asked| {
        let repositories = Arc::clone(&answering);
        async move { repositories.answer(asked).await }
    })
    .await
    else {
        return;
    };
    let secret = fresh_name("git");
    let stored =
        request(Method::POST, "/v1/secrets", Some(json!({ "name": secret, "value": token, "hosts": [server.name] }))).await;
    assert_eq!(stored.0, StatusCode::CREATED, "{}", stored.1);
    let host = &server.name;
    let network = json!({
        "allow": [format!("GET,POST {host}/app.git/*")],
        "secrets": [{
            "host": host, "methods": ["GET", "POST"], "paths": ["/app.git/*"],
            "header": "Authorization", "scheme": "basic", "secret": secret,
        }],
    });
    let sandbox = Named::new("git-push", json!({ "network": network })).await;
    // Files that do not compress, more than git sends in one piece.
    let script = format!(
        "set -e; export GIT_TERMINAL_PROMPT=0; git init -q -b main app; cd app
        git config user.name a; git config user.email a@example.com
        head -c 3000000 /dev/urandom > large; git add large; git commit -qm 'first'
        git push -q https://{host}/app.git main
        cd ..; git clone -q https://{host}/app.git again; cd again
        git config user.name a; git config user.email a@example.com
        git commit -q --allow-empty -m 'second'; git push -q; cmp large ../app/large
        if git push -q https://{host}/other.git main 2>refused; then exit 9; fi
        grep -q 403 refused; git log -1 --format=%s origin/main"
    );
    assert_eq!(sandbox.print(&script).await, "second\n");
    assert_eq!(repositories.subject("app.git", "main").await, "second");
    assert_eq!(repositories.subject("other.git", "main").await, "");
    assert!(server.asked().iter().all(|asked| asked.path.starts_with("/app.git/")), "{:?}", server.asked());
    // Neither the token nor what git would make of it is in the box.
    let password = token.split_once(':').unwrap().1;
    for text in [password, &BASE64.encode(token.as_bytes())] {
        let (first, second) = text.split_at(8);
        let search = format!(
            "printf %s%s '{first}' '{second}' > /tmp/{secret}; grep -rslFf /tmp/{secret} . ~/.gitconfig ~/.git-credentials | wc -l; env | grep -cFf /tmp/{secret}"
        );
        let found = sandbox.run(&search).await.1;
        assert_eq!(found["stdout"], "0\n0\n", "{found}");
    }
    sandbox.end().await;
    request(Method::DELETE, &format!("/v1/secrets/{secret}"), None).await;
}

/// Git of the agent's own, for a project, gets its credentials in the same way.
#[tokio::test]
async fn a_sandbox_of_a_project_reaches_no_more_than_the_project() {
    let token = format!("x-access-token:{}", fresh_name("token"));
    let Some(repositories) = Repositories::new(&["app.git"], &token).await else { return };
    repositories.fill("app.git").await;
    let repositories = Arc::new(repositories);
    let answering = Arc::clone(&repositories);
    let Some(server) = HttpsServer::start(move |asked| {
        let repositories = Arc::clone(&answering);
        async move { repositories.answer(asked).await }
    })
    .await
    else {
        return;
    };
    let (secret, project, host) = (fresh_name("git"), fresh_name("fenced"), &server.name);
    let stored = request(Method::POST, "/v1/secrets", Some(json!({ "name": secret, "value": token }))).await;
    assert_eq!(stored.0, StatusCode::CREATED, "{}", stored.1);
    let network = json!({
        "allow": [host],
        "secrets": [{ "host": host, "header": "Authorization", "scheme": "basic", "secret": secret }],
    });
    let definition = json!({ "name": project, "url": format!("https://{host}/app.git"), "network": network });
    let (status, made) = request(Method::POST, "/v1/projects", Some(definition)).await;
    assert_eq!((status, &made["network"]), (StatusCode::CREATED, &network), "{made}");
    let sandbox = Named::new("project-rules", json!({ "project": project, "network": { "allow": ["all"] } })).await;
    assert_eq!(sandbox.print("cat app/file").await, "filled\n");
    let ask = "for host in one.invalid two.invalid; do curl -sS -o /dev/null -w '%{http_code} ' https://$host/; done";
    assert_eq!(sandbox.print(ask).await, "403 403 ");
    let (_, report) = sandbox.call(Method::GET, "/network", None).await;
    assert_eq!(report["rules"], json!({ "project": network, "sandbox": { "allow": ["all"] } }), "{report}");
    sandbox.end().await;
    for route in [format!("/v1/projects/{project}"), format!("/v1/secrets/{secret}")] {
        request(Method::DELETE, &route, None).await;
    }
}
