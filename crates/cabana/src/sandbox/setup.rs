//! Making a sandbox ready for its project: the clone, then the project's script, each once.
//!
//! How far it is, is stored. Whoever asks again goes on from there, one at a time; what nobody waits for any more ends, as any operation
//! does that loses its caller.

use std::{rc::Rc, time::Duration};

use cabana_protocol::{
    Code, Error, Streaming,
    audit::SUMMARY_HEADER,
    decode_own,
    exec::{Command, Exec, ExecResult, Exit},
    git::{Clone, Cloned, Credentials},
    header,
    line::Line,
    project::{Definition, ProjectName},
    sandbox::{Sandbox, Setup, SetupEvent, SetupState},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use worker::{Request, Response, web_sys::AbortSignal};

use super::{
    object::Object,
    runtime::Activity,
    stream::{Form, open_lines},
};
use crate::{RequestId, clock::now, handle::Lines, lifecycle::Instant, log, reply, request::read_body};

/// Largest plan, in bytes: more than a project and a request can hold.
const MAX_BODY_BYTES: usize = 256 << 10;

/// How long the JSON form waits for the end before its answer begins. A hop on the way may notice only by writing that the caller is gone,
/// or take silence for death.
const MOMENT: Duration = Duration::from_secs(5);

/// What the Worker asks for.
#[derive(Serialize, Deserialize)]
pub(crate) struct SetUp {
    /// The project's name.
    pub(crate) project: ProjectName,
    /// What it is.
    pub(crate) definition: Definition,
    /// What the repository's host is told, this once.
    pub(crate) credentials: Option<Credentials>,
    /// Whether the sandbox was made for this.
    pub(crate) new: bool,
}

/// Makes the sandbox ready, and says how it goes.
///
/// Fails with `conflict` where it belongs to another project, or is being made ready.
pub(super) async fn answer(object: &Rc<Object>, mut request: Request, request_id: &RequestId) -> Result<Response, Error> {
    let form = Form::accepted(&request).next().unwrap_or(Form::Json);
    let odd = |_| Error::internal("what is to be set up cannot be understood");
    let plan: SetUp = decode_own(&read_body(&mut request, MAX_BODY_BYTES).await?).map_err(odd)?;
    let status = if plan.new { 201 } else { 200 };
    let about = header::encode(&plan.project).unwrap_or_default();
    let told = |response| reply::with_header(response, SUMMARY_HEADER, &about);
    let mut preparation = Preparation::begin(object, plan, request.inner().signal(), request_id)?;
    let begun = now();
    while form == Form::Json && now().since(begun) < MOMENT {
        if let Some(Line::Result(sandbox)) = preparation.step().await? {
            return Ok(told(reply::json(status, &sandbox, request_id)));
        }
    }
    let lines = stream::unfold(preparation, move |mut preparation| async move {
        let said = preparation.next().await?;
        Some((frame(form, said), preparation))
    });
    Ok(told(form.respond(lines, request_id)?.with_status(status)))
}

/// A piece of a streamed answer. In JSON, which allows spaces at the beginning, one stands for each thing that is not the end; a failure
/// breaks the answer off, as there is no status left to tell it by.
fn frame(form: Form, said: Result<Option<Said>, Error>) -> worker::Result<Vec<u8>> {
    let encoded = match (form, said) {
        (Form::Json, Ok(Some(Line::Result(sandbox)))) => {
            serde_json::to_string(&sandbox).map(|json| format!("{json}\n").into_bytes())
        }
        (Form::Json, Ok(_)) => Ok(b" ".to_vec()),
        (Form::Json, Err(error)) => return Err(worker::Error::RustError(error.message)),
        (_, Ok(None)) => Ok(form.silence().to_vec()),
        (_, Ok(Some(line))) => line.encode().map(|line| form.frame(&line)),
        (_, Err(error)) => Said::Error(error).encode().map(|line| form.frame(&line)),
    };
    Ok(encoded?)
}

type Said = Line<SetupEvent, Sandbox>;

/// One run through what is left to do. Dropping it ends what it is at.
struct Preparation {
    object: Rc<Object>,
    plan: SetUp,
    caller: AbortSignal,
    request_id: RequestId,
    /// When the sandbox was made, which tells it from a later one of its name.
    sandbox: Option<Instant>,
    phase: Phase,
    _activity: Activity,
}

enum Phase {
    Begin,
    Wake,
    Decide,
    Clone(Lines),
    Script(Lines),
    Done,
    Over,
}

impl Preparation {
    fn begin(object: &Rc<Object>, plan: SetUp, caller: AbortSignal, request_id: &RequestId) -> Result<Self, Error> {
        let conflict = |message: &str, reason: &str| Error::new(Code::Conflict, message).because(reason);
        let project = object.store.record()?.project.clone();
        if project.as_ref().is_some_and(|project| project != plan.project.as_str()) {
            return Err(conflict("the sandbox belongs to another project", "other_project"));
        }
        let sandbox = object.made_at();
        if object.setting_up.replace(sandbox) == sandbox {
            return Err(conflict("the sandbox is being made ready, for another request", "busy"));
        }
        // From here on the mark goes with the preparation.
        let (object, request_id, _activity) = (Rc::clone(object), request_id.clone(), object.supervisor.begin());
        let preparation = Self { object, plan, caller, request_id, sandbox, phase: Phase::Begin, _activity };
        preparation.object.join(&preparation.plan)?;
        Ok(preparation)
    }

    /// The next thing to say, or the error that is the end; `None` where nothing was done for a while. Nothing after the end.
    async fn next(&mut self) -> Option<Result<Option<Said>, Error>> {
        if matches!(self.phase, Phase::Over) { None } else { Some(self.step().await) }
    }

    /// The same before the end. A failure is noted.
    async fn step(&mut self) -> Result<Option<Said>, Error> {
        let outcome = self.go_on().await;
        if let Err(error) = &outcome {
            self.phase = Phase::Over;
            report(self.fail(error.clone()));
        }
        outcome
    }

    async fn go_on(&mut self) -> Result<Option<Said>, Error> {
        loop {
            match &mut self.phase {
                Phase::Begin => {
                    self.phase = Phase::Wake;
                    return Ok(Some(Line::Event(SetupEvent::Created { sandbox: Box::new(self.object.store.describe(now())?) })));
                }
                // A container that is new has lost what was done in the one before, and only then it shows.
                Phase::Wake => {
                    drop(self.object.supervisor.ready().await?);
                    self.object.tell_variables().await?;
                    self.phase = Phase::Decide;
                }
                Phase::Decide => self.phase = self.decide().await?,
                Phase::Clone(lines) => match lines.next::<Clone>().await? {
                    None => return Ok(None),
                    Some(Line::Event(event)) => return Ok(Some(Line::Event(SetupEvent::Clone { event }))),
                    Some(Line::Error(error)) => return Err(error),
                    Some(Line::Result(cloned)) => self.cloned(cloned)?,
                },
                Phase::Script(lines) => match lines.next::<Exec>().await? {
                    None => return Ok(None),
                    Some(Line::Event(event)) => return Ok(Some(Line::Event(SetupEvent::Setup { event }))),
                    Some(Line::Error(error)) => return Err(error),
                    Some(Line::Result(result)) => self.ran(&result)?,
                },
                Phase::Done => {
                    self.reach(SetupState::Done)?;
                    self.phase = Phase::Over;
                    return Ok(Some(Line::Result(self.object.store.describe(now())?)));
                }
                Phase::Over => return Ok(None),
            }
        }
    }

    /// What is to be done next, begun.
    async fn decide(&mut self) -> Result<Phase, Error> {
        let setup = self.object.store.describe(now())?.setup.unwrap_or_default();
        let script = self.plan.definition.setup.as_deref();
        match (setup.state, setup.path, script) {
            (SetupState::Done, ..) | (_, Some(_), None) => Ok(Phase::Done),
            (_, None, _) => {
                self.reach(SetupState::Cloning)?;
                self.start(&self.clone_request()).await.map(Phase::Clone)
            }
            (_, Some(path), Some(script)) => {
                self.reach(SetupState::Running)?;
                let command = Command::Shell(script.to_owned());
                let timeout_ms = self.plan.definition.setup_timeout_ms;
                let script = Exec { cwd: Some(path), timeout_ms, ..Exec::new(command) };
                self.start(&script).await.map(Phase::Script)
            }
        }
    }

    async fn start<O: Streaming>(&self, operation: &O) -> Result<Lines, Error> {
        open_lines(&self.object.supervisor, operation, &self.caller, &self.request_id).await
    }

    fn clone_request(&self) -> Clone {
        let Definition { url, branch, depth, path, .. } = self.plan.definition.clone();
        let (path, credentials) = (path.map(|path| path.as_str().into()), self.plan.credentials.clone());
        Clone { url, path, branch, depth, credentials, filter: None, timeout_ms: None }
    }

    fn cloned(&mut self, cloned: Cloned) -> Result<(), Error> {
        self.phase = Phase::Decide;
        self.note(|setup| setup.path = Some(cloned.path.to_string()))
    }

    fn ran(&mut self, result: &ExecResult) -> Result<(), Error> {
        self.phase = Phase::Done;
        let error = match result.exit {
            Some(Exit::Exited { code: 0 }) => return Ok(()),
            Some(Exit::Lost) => Error::new(Code::Interrupted, "the container ended meanwhile"),
            Some(Exit::Cancelled) => Error::new(Code::Interrupted, "the setup was ended meanwhile"),
            _ => Error::new(Code::Unprocessable, "the project's setup did not succeed"),
        };
        Err(error.with_details(json!({ "exit": result.exit })))
    }

    fn reach(&self, state: SetupState) -> Result<(), Error> {
        self.note(|setup| *setup = Setup { state, error: None, ..setup.clone() })
    }

    fn fail(&self, error: Error) -> Result<(), Error> {
        self.note(|setup| *setup = Setup { state: SetupState::Failed, error: Some(error), ..setup.clone() })
    }

    /// Notes how far the sandbox is, unless it was destroyed meanwhile.
    fn note(&self, change: impl FnOnce(&mut Setup)) -> Result<(), Error> {
        if self.object.made_at() == self.sandbox { self.object.set_up(change) } else { Ok(()) }
    }
}

impl Drop for Preparation {
    fn drop(&mut self) {
        if self.object.setting_up.get() == self.sandbox {
            self.object.setting_up.set(None);
        }
        if !matches!(self.phase, Phase::Over) {
            report(self.fail(Error::new(Code::Interrupted, "whoever waited for it went away")));
        }
    }
}

impl Object {
    /// When the sandbox was made; `None` where there is none.
    fn made_at(&self) -> Option<Instant> {
        self.store.record().ok().map(|record| record.lifecycle.created_at)
    }

    /// Makes it a sandbox of a project, whose variables it takes where nothing was set up by others yet.
    fn join(&self, plan: &SetUp) -> Result<(), Error> {
        self.store.update(now(), |record| {
            record.project = Some(plan.project.to_string());
            if record.setup.get_or_insert_default().state == SetupState::Pending {
                record.project_env = plan.definition.env.clone();
                record.network.project = plan.definition.network.clone();
            }
            Ok(())
        })?;
        self.outbox.deliver();
        Ok(())
    }

    /// Notes how far it is.
    fn set_up(&self, change: impl FnOnce(&mut Setup)) -> Result<(), Error> {
        if self.store.is_empty() {
            return Ok(());
        }
        self.store.update(now(), |record| {
            change(record.setup.get_or_insert_default());
            Ok(())
        })?;
        self.outbox.deliver();
        Ok(())
    }

    /// Notes that nobody goes on with what was under way when the object left memory.
    pub(super) fn give_up_setup(&self) -> Result<(), Error> {
        let state = self.store.record().ok().and_then(|record| record.setup.as_ref().map(|setup| setup.state));
        if !matches!(state, Some(SetupState::Cloning | SetupState::Running)) {
            return Ok(());
        }
        let ended = Error::new(Code::Interrupted, "the sandbox's object ended meanwhile");
        self.set_up(|setup| *setup = Setup { state: SetupState::Failed, error: Some(ended), ..setup.clone() })
    }
}

fn report(outcome: Result<(), Error>) {
    if let Err(error) = outcome {
        log::error(None, &format!("the progress of a setup was not stored: {}", error.message));
    }
}
