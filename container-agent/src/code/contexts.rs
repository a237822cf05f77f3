//! All contexts: creating and finding them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cabana_protocol::{
    Code, Error,
    code::{self, Create, DEFAULT_LANGUAGE, language},
    names::{invalid_field, quoted},
};
use serde_json::json;

use super::{
    context::{Context, Ends, Settings},
    history::History,
    kernel::Launch,
    owner::Owner,
    prelude,
    starter::Starter,
};
use crate::{
    Limits, limits,
    memory::Memory,
    process::{Processes, check_name},
};

/// Longest name of a language.
const LANGUAGE_BYTES: usize = 64;

/// All contexts.
#[derive(Debug)]
pub struct Contexts {
    limit: usize,
    created: AtomicU64,
    starter: Starter,
    memory: Memory,
    /// Those that live, by their number. Locked for a look-up at a time, never across an await.
    known: Mutex<BTreeMap<u64, Arc<Context>>>,
}

/// The context of a run.
pub(super) struct Chosen {
    pub(super) context: Arc<Context>,
    /// The run has made it.
    pub(super) created: bool,
    /// What the kernel is still to change.
    pub(super) settings: Settings,
}

impl Contexts {
    /// None yet; their kernels will be among these processes, and some of these languages are kept at hand.
    pub fn new(processes: &Arc<Processes>, limits: &Limits, memory: Memory, warm: Vec<String>) -> Self {
        Self {
            limit: limits.contexts,
            created: AtomicU64::new(0),
            starter: Starter::new(Arc::clone(processes), limits, warm),
            memory,
            known: Mutex::default(),
        }
    }

    /// Starts the kernels that are kept at hand.
    pub fn warm(&self) {
        self.starter.warm();
    }

    /// Those that live, by their creation.
    pub(super) fn list(&self) -> Vec<Arc<Context>> {
        self.with(|known| known.values().cloned().collect())
    }

    /// The context of this name, or of this id.
    ///
    /// Fails with `gone` for one that has ended, or is of another incarnation of the sandbox, else with `not_found`.
    pub(super) fn find(&self, key: &str) -> Result<Arc<Context>, Error> {
        if let Some(context) = self.named(key) {
            return Ok(context);
        }
        let shown: String = key.chars().take(64).collect();
        let own_incarnation = self.starter.processes().incarnation();
        let parts = key.rsplit_once("-c").and_then(|(incarnation, number)| Some((incarnation, number.parse::<u64>().ok()?)));
        match parts {
            Some((own, number)) if own == own_incarnation && (1..=self.created.load(Ordering::Relaxed)).contains(&number) => {
                let gone = || Error::new(Code::Gone, format!("context {shown:?} has ended; create a new one")).because("ended");
                self.with(|known| known.get(&number).cloned()).ok_or_else(gone)
            }
            Some((other, _)) if other != own_incarnation && other.len() == own_incarnation.len() => {
                let message =
                    format!("context {shown:?} was lost when the sandbox restarted, with all variables; create a new one");
                Err(Error::new(Code::Gone, message).because("lost"))
            }
            _ => Err(Error::not_found(format!("there is no context {shown:?}")).because("no_such_context")),
        }
    }

    fn named(&self, name: &str) -> Option<Arc<Context>> {
        self.with(|known| known.values().find(|context| context.name.as_deref() == Some(name)).cloned())
    }

    /// Makes a context, or finds the one of its name, and waits until its kernel answers. Dropping the future ends a new one again.
    ///
    /// Fails with `conflict` where the context of this name has other settings, and where no kernel can be started.
    pub(super) async fn create(&self, request: Create) -> Result<Arc<Context>, Error> {
        let Create { language, name, cwd, env, user } = request;
        let launch = Launch { language: checked_language(language.as_deref())?, cwd, env, user };
        name.as_deref().map_or(Ok(()), check_name)?;
        let (context, is_new) = self.find_or_insert(name, launch)?;
        let abandoned = is_new.then(|| context.end.clone().drop_guard());
        context.ready().await?;
        if let Some(abandoned) = abandoned {
            abandoned.disarm();
        }
        Ok(context)
    }

    fn find_or_insert(&self, name: Option<String>, launch: Launch) -> Result<(Arc<Context>, bool), Error> {
        self.with(|known| {
            let named = name.as_deref().and_then(|name| known.values().find(|context| context.name.as_deref() == Some(name)));
            match named {
                None => self.insert(known, name, launch, false).map(|context| (context, true)),
                Some(context) => {
                    let differing = differing(&context.launch, &launch);
                    if differing.is_empty() { Ok((Arc::clone(context), false)) } else { Err(exists(&context.id, &differing)) }
                }
            }
        })
    }

    /// The context in which a run is to take place; the language's own, where the run names none.
    ///
    /// Fails with `not_found`, `gone`, `invalid_request`, `too_many_requests`.
    pub(super) fn choose(&self, request: &code::Run) -> Result<Chosen, Error> {
        let home = self.starter.processes().home();
        let settings =
            Settings { cwd: request.cwd.as_ref().map(|cwd| home.join(cwd)), env: request.env.clone().into_iter().collect() };
        if let Some(key) = &request.context {
            let context = self.find(key)?;
            let wanted = request.language.as_deref().map(language);
            if wanted.is_some_and(|wanted| wanted != context.launch.language) {
                let message =
                    format!("context {:?} is of {}, and the request says otherwise", context.id, context.launch.language);
                return Err(Error::invalid_request(message).because("language"));
            }
            return Ok(Chosen { context, created: false, settings });
        }
        let language = checked_language(request.language.as_deref())?;
        self.with(|known| {
            let own = known.iter().find(|(_, context)| context.is_default && context.launch.language == language);
            match own.map(|(number, context)| (*number, Arc::clone(context))) {
                Some((_, context)) if !context.has_ended() => return Ok(Chosen { context, created: false, settings }),
                // Its kernel has ended, and a new one knows nothing of it.
                Some((number, context)) => {
                    context.end.cancel();
                    known.remove(&number);
                }
                None => {}
            }
            // In a language of which nothing is known, only a new kernel can be given settings.
            let by_code = prelude::code(&language, &Settings::default()).is_some();
            let (cwd, env) = if by_code { Default::default() } else { (request.cwd.clone(), request.env.clone()) };
            let settings = if by_code { settings } else { Settings::default() };
            let context = self.insert(known, None, Launch { language, cwd, env, user: None }, true)?;
            Ok(Chosen { context, created: true, settings })
        })
    }

    fn insert(
        &self,
        known: &mut BTreeMap<u64, Arc<Context>>,
        name: Option<String>,
        launch: Launch,
        is_default: bool,
    ) -> Result<Arc<Context>, Error> {
        if known.len() >= self.limit {
            return Err(limits::reached(self.limit, "contexts exist already; delete one"));
        }
        let number = self.created.fetch_add(1, Ordering::Relaxed) + 1;
        let id = format!("{}-c{number}", self.starter.processes().incarnation());
        let (context, ends) = Context::new(id, name, launch, is_default, History::new(self.memory.account()));
        known.insert(number, Arc::clone(&context));
        self.own(&context, ends);
        Ok(context)
    }

    fn own(&self, context: &Arc<Context>, ends: Ends) {
        let owner = Owner::new(Arc::clone(context), self.starter.clone());
        self.starter.processes().tasks().spawn(owner.run(ends));
    }

    fn with<T>(&self, look: impl FnOnce(&mut BTreeMap<u64, Arc<Context>>) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, context| !context.is_gone());
        look(&mut known)
    }
}

/// The language that is meant.
///
/// Fails with `invalid_request`.
fn checked_language(asked: Option<&str>) -> Result<String, Error> {
    let language = language(asked.unwrap_or(DEFAULT_LANGUAGE));
    let fit = |char: char| char.is_alphanumeric() || "._-+# ".contains(char);
    if (1..=LANGUAGE_BYTES).contains(&language.len()) && language.chars().all(fit) {
        return Ok(language);
    }
    Err(invalid_field("language", "the name of a language, 1 to 64 characters"))
}

/// The settings in which a request differs from a context.
fn differing(known: &Launch, wanted: &Launch) -> Vec<&'static str> {
    [
        ("language", known.language != wanted.language),
        ("cwd", known.cwd != wanted.cwd),
        ("env", known.env != wanted.env),
        ("user", known.user != wanted.user),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(field, _)| field)
    .collect()
}

fn exists(id: &str, differing: &[&str]) -> Error {
    let message = format!("context {id:?} has this name, and other settings: {}", quoted(differing, "and"));
    Error::new(Code::Conflict, message).with_details(json!({ "reason": "exists", "context": id, "differs": differing }))
}
