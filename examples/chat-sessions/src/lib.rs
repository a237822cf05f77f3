//! A sandbox for each user, and in it a shell for each conversation.

use cabana::{Code, Error, Result, Session, protocol::session::Create, request::read_body, respond};
use worker::{Context, Env, Method, Request, Response, event, kv::KvStore};

pub use cabana::Sandbox;

/// The longest command, in bytes.
const MAX_BYTES: usize = 64 << 10;

/// How long a conversation's id is kept after its last command, in seconds: 30 days.
const KEPT_SECONDS: u64 = 30 * 24 * 3600;

#[event(fetch)]
async fn fetch(request: Request, env: Env, _: Context) -> worker::Result<Response> {
    respond(answer(request, env)).await
}

/// `POST /{user}/{conversation}` runs the command in the body, and `DELETE` ends the conversation.
async fn answer(mut request: Request, env: Env) -> Result<Response> {
    let path = request.path();
    let Some((user, conversation)) = path.trim_matches('/').split_once('/') else {
        return Err(Error::new(Code::NotFound, "the path is /{user}/{conversation}"));
    };
    let chat = Chat { sandbox: Sandbox::get(&env, user)?, ids: env.kv("SESSIONS")?, key: format!("{user}/{conversation}") };
    match request.method() {
        Method::Post => {
            let command = String::from_utf8_lossy(&read_body(&mut request, MAX_BYTES).await?).into_owned();
            Ok(Response::from_json(&chat.run(&command).await?)?)
        }
        Method::Delete => {
            chat.end().await?;
            Ok(Response::empty()?.with_status(204))
        }
        _ => Err(Error::new(Code::MethodNotAllowed, "a conversation takes POST and DELETE")),
    }
}

struct Chat {
    sandbox: cabana::Handle,
    ids: KvStore,
    key: String,
}

impl Chat {
    /// Runs a command in the conversation's shell, or in a new one where that has gone with its container.
    async fn run(&self, command: &str) -> Result<cabana::ExecOutput> {
        if let Some(session) = self.known().await? {
            match session.exec(command).await {
                Err(error) if matches!(error.code, Code::Gone | Code::NotFound) => {}
                answer => return answer,
            }
        }
        let session = self.sandbox.create_session(Create::default()).await?;
        let put = self.ids.put(&self.key, session.id()).map_err(kept)?.expiration_ttl(KEPT_SECONDS);
        put.execute().await.map_err(kept)?;
        session.exec(command).await
    }

    /// Ends the shell, and forgets it.
    async fn end(&self) -> Result<()> {
        if let Some(session) = self.known().await? {
            match session.delete().await {
                Err(error) if matches!(error.code, Code::Gone | Code::NotFound) => {}
                answer => answer?,
            }
        }
        self.ids.delete(&self.key).await.map_err(kept)
    }

    async fn known(&self) -> Result<Option<Session>> {
        let id = self.ids.get(&self.key).text().await.map_err(kept)?;
        Ok(id.map(|id| self.sandbox.session(&id)))
    }
}

fn kept(error: worker::kv::KvError) -> Error {
    worker::Error::from(error).into()
}
