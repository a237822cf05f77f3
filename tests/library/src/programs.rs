//! Programs that go on: processes, shells, kernels, ports, sockets.

use std::time::Duration;

use cabana::{
    Code, Result,
    protocol::{Signal, code, exec::Exit, preview::ExposePort, session},
};
use futures_util::StreamExt;
use worker::{Env, Headers, Method, Request, RequestInit, WebsocketEvent};

use crate::{check, failure, sandbox};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Answers with the method, the path and the host that it is asked for, and with its headers' names.
const SERVER: &str = r#"
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        names = ",".join(name.lower() for name in self.headers if name.lower().startswith("x-cabana"))
        said = f"{self.command} {self.path} {self.headers['Host']} [{names}] {body.decode()}".encode()
        self.send_response(418)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
server = http.server.HTTPServer(("", 3000), Handler)
print("it listens", flush=True)
server.serve_forever()
"#;

pub(crate) async fn a_program_is_waited_for_asked_and_killed(env: &Env) -> Result<()> {
    let sandbox = sandbox(env, "program")?;
    let server = sandbox.spawn(["python3", "-c", SERVER]).await?;
    check(server.wait_for_log("listens", LONG).await? == "it listens", "the line")?;
    server.wait_for_port(3000, LONG).await?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some("ping".into()));
    let mut answer = sandbox.fetch(3000, Request::new_with_init("http://app.test/a%20b?c=d", &init)?).await?;
    let said = answer.text().await?;
    check(answer.status_code() == 418 && said == "POST /a%20b?c=d app.test [] ping", said)?;
    let logs = server.logs().await?;
    check(logs.stdout.to_string() == "it listens\n", logs)?;
    server.signal(Signal::CONT).await?;
    server.kill().await?;
    check(server.wait(LONG).await? == Exit::Cancelled && server.show().await?.exit.is_some(), "the exit")
}

pub(crate) async fn a_process_that_ends_first_is_a_conflict(env: &Env) -> Result<()> {
    let process = sandbox(env, "first")?.spawn("exit 3").await?;
    let error = failure(process.wait_for_port(3000, LONG)).await?;
    check(error.code == Code::Conflict && error.reason() == Some("ended") && error.message.contains("code 3"), error)
}

pub(crate) async fn a_session_keeps_its_state(env: &Env) -> Result<()> {
    let sandbox = sandbox(env, "session")?;
    let session = sandbox.create_session(session::Create::default()).await?;
    session.exec("mkdir here; cd here; export A=1").await?;
    session
        .update(session::Update { env: [("B".to_owned(), Some("2".to_owned()))].into(), ..session::Update::default() })
        .await?;
    let told = sandbox.session(session.id()).stream("echo $PWD $A $B").await?.output().await?;
    check(told.stdout.to_string() == "/workspace/here 1 2\n", told)?;
    session.delete().await?;
    let error = failure(session.exec("true")).await?;
    check(error.code == Code::Gone, error)
}

pub(crate) async fn a_context_keeps_its_variables(env: &Env) -> Result<()> {
    let sandbox = sandbox(env, "context")?;
    let context = sandbox.create_context(code::Create::default()).await?;
    context.run("x = 20").await?;
    let output = sandbox.context(context.id()).run("x * 2 + 2").await?;
    check(output.text.as_deref() == Some("42"), output)?;
    context.restart().await?;
    let forgotten = context.stream("x").await?.output().await?;
    check(forgotten.error.as_ref().is_some_and(|error| error.name == "NameError"), forgotten)?;
    let divided = sandbox.run_code("python", "1 / 0").await?;
    check(divided.error.as_ref().is_some_and(|error| error.name == "ZeroDivisionError"), divided)?;
    context.delete().await
}

pub(crate) async fn a_socket_is_handed_over(env: &Env) -> Result<()> {
    let headers = Headers::new();
    headers.set("upgrade", "websocket")?;
    let mut init = RequestInit::new();
    init.with_headers(headers);
    let request = Request::new_with_init("http://app.test/terminal?token=secret", &init)?;
    let answer = sandbox(env, "socket")?.connect(request).await?;
    check(answer.status_code() == 101, answer.status_code())?;
    let socket = answer.websocket().ok_or_else(|| cabana::Error::new(Code::Unprocessable, "there is no socket"))?;
    let mut events = socket.events()?;
    socket.accept()?;
    socket.send_with_str(r#"{"type":"exec","id":"1","payload":{"command":"echo hello"}}"#)?;
    let mut said = Vec::new();
    while let Some(event) = events.next().await {
        let WebsocketEvent::Message(message) = event? else { break };
        let text = message.text().unwrap_or_default();
        let is_last = text.contains(r#""type":"result""#) || text.contains(r#""type":"error""#);
        said.push(text);
        if is_last {
            break;
        }
    }
    check(said.iter().any(|frame| frame.contains("hello")) && said.last().is_some_and(|frame| frame.contains("exited")), said)
}

pub(crate) async fn ports_are_exposed_and_hidden(env: &Env) -> Result<()> {
    let sandbox = sandbox(env, "ports")?;
    let exposed = sandbox.expose(3000).await?;
    check(exposed.port == 3000 && exposed.token.is_some(), exposed)?;
    sandbox.expose(ExposePort { name: Some("app".to_owned()), ..ExposePort::from(3000) }).await?;
    let all = sandbox.exposed().await?;
    check(all.ports.len() == 1 && all.ports[0].name.as_deref() == Some("app"), all)?;
    sandbox.hide(3000).await?;
    check(sandbox.exposed().await?.ports.is_empty(), "the ports")?;
    let error = failure(sandbox.fetch(49_983, Request::new("http://app.test/", Method::Get)?)).await?;
    check(error.code == Code::InvalidRequest, error)
}
