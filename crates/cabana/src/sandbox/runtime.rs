//! The platform of a real object: its container, its clock, its alarm, its tenant's quotas.

use std::{rc::Rc, time::Duration};

use cabana_protocol::{
    Code, Error, SandboxId, Tenant,
    exec::Command,
    names::excluded_field,
    network::NetworkLayers,
    sandbox::{Instance, LifeEvent, Root, State as LifeState},
};
use futures_util::{FutureExt, future::LocalBoxFuture};
use js_sys::{Function, Promise, Reflect, global};
use worker::{
    Delay, State,
    wasm_bindgen::{JsCast, JsValue},
    wasm_bindgen_futures::JsFuture,
};

use super::{
    platform::{Call, Launch, Platform},
    probe::probe,
    quiesce::quiesce,
    record::{NetworkRecord, encode},
    sql::Sql,
    store, supervisor,
};
use crate::{
    Address, Handle, clock,
    config::Config,
    container::{Container, words},
    create::unknown_kind,
    egress::Egress,
    fault::Exit,
    handle::DEFAULT_BINDING,
    hooks::{HookTable, Turn},
    lifecycle::{Instant, Probe},
    log,
    tenant::{admission::Admission, place::Place},
};

/// How long after the decision an object is reset: what it has written and answered is to get through.
const RESET_AFTER: Duration = Duration::from_secs(1);

/// The variable by which the agent learns the sandbox's variables, as JSON: among the container's own, one that is not to be there
/// could not be named, and some would mean something to the agent itself.
const ENV_VARIABLE: &str = "CABANA_SANDBOX_ENV";

/// The variables by which the agent learns its roots.
fn root_variables(roots: &[Root]) -> [(&'static str, String); 2] {
    let join = |roots: Vec<&str>| roots.join(":");
    let read_only = roots.iter().filter(|root| root.is_read_only()).map(Root::path).collect();
    [("CABANA_ROOTS", join(roots.iter().map(Root::path).collect())), ("CABANA_READ_ONLY_ROOTS", join(read_only))]
}

pub(super) type Store = store::Store<Sql>;
pub(super) type Supervisor = supervisor::Supervisor<Runtime, Sql>;
pub(super) type Lease = supervisor::Lease<Runtime, Sql>;
pub(super) type Activity = supervisor::Activity<Runtime, Sql>;

/// What a Durable Object has to do with.
pub(super) struct Runtime {
    state: State,
    /// The same, for what workers-rs does not know.
    handle: JsValue,
    container: Option<Container>,
    config: Result<Config, Error>,
    admission: Rc<Admission>,
    /// `None` where the class has none.
    hooks: Option<HookTable>,
}

impl Runtime {
    pub(super) fn new(state: State, config: Result<Config, Error>, admission: Rc<Admission>, hooks: Option<HookTable>) -> Self {
        let inner = state._inner();
        let handle = AsRef::<JsValue>::as_ref(&inner).clone();
        let state = State::from(inner);
        let container = Container::of(&state);
        Self { state, handle, container, config, admission, hooks }
    }

    /// The platform's handle on the object.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Which sandbox it is, as the object's name says.
    pub(super) fn address(&self) -> Result<Address, Error> {
        self.state.id().name().unwrap_or_default().parse()
    }

    /// The container. Fails with `not_implemented` where the class has none in wrangler.jsonc.
    pub(super) fn container(&self) -> Result<&Container, Error> {
        let missing = "the Durable Object class has no container: add it to `containers` in wrangler.jsonc";
        self.container.as_ref().ok_or_else(|| Error::new(Code::NotImplemented, missing))
    }

    /// The kind of a sandbox of this id, and its size; `None`: as the platform likes.
    ///
    /// Fails with `invalid_request` where there is no such kind, or there are no sizes to choose from.
    pub(super) fn kind_of(&self, id: &SandboxId, wanted: Option<Instance>) -> Result<(String, Option<Instance>), Error> {
        let kinds = &self.config.as_ref().map_err(Clone::clone)?.kinds;
        let container = self.container()?;
        let images = container.kinds();
        let declared = kinds.iter().map(|(name, _)| name);
        let kind = id.kind_among(declared.chain(images.iter().map(String::as_str)));
        let image = container.image(kind).map_err(|unknown| unknown_kind(kind, unknown.known.iter().map(String::as_str)))?;
        if image.is_none() && wanted.is_some() {
            return Err(excluded_field("instance", "cannot be chosen: the size of these containers is fixed in wrangler.jsonc"));
        }
        let usual = image.and_then(|_| kinds.get(kind)).map(|kind| kind.instance);
        Ok((kind.to_owned(), wanted.or(usual)))
    }

    fn launch(&self, launch: &Launch) -> Result<(), String> {
        let config = self.config.as_ref().map_err(|error| error.message.clone())?;
        let container = self.container().map_err(|error| error.message)?;
        let image = container.image(&launch.kind).map_err(|_| format!("there is no kind {:?} any more", launch.kind))?;
        let has_rules = launch.network.has_rules();
        let internet = config.internet && launch.network.internet();
        let kind = config.kinds.get(&launch.kind);
        let mut variables = config.variables_of(&launch.kind);
        variables.extend(launch.variables.clone());
        let mut env = launch.env.clone();
        if let Some(roots) = launch.roots.as_ref().or_else(|| kind?.roots.as_ref()) {
            env.extend(root_variables(roots));
        }
        env.insert(ENV_VARIABLE, encode(&variables).map_err(|error| error.message)?);
        container.start(image.as_ref(), launch.snapshot.as_deref(), launch.instance, internet && !has_rules, &env).map_err(words)
    }
}

impl Platform for Runtime {
    fn now(&self) -> Instant {
        clock::now()
    }

    fn sleep(&self, span: Duration) -> LocalBoxFuture<'static, ()> {
        // Not before the first poll: most of what has a limit is over by then.
        async move { Delay::from(span).await }.boxed_local()
    }

    fn spawn(&self, work: LocalBoxFuture<'static, ()>) {
        self.state.wait_until(work);
    }

    fn reset(&self, why: &str) {
        if let Err(error) = schedule_reset(&self.handle, why) {
            log::error(None, &format!("the object cannot be reset: {}", words(error)));
        }
    }

    fn running(&self) -> bool {
        self.container.as_ref().is_some_and(Container::running)
    }

    fn start(&self, launch: &Launch) -> Result<(), String> {
        self.launch(launch)
    }

    fn exited(&self) -> LocalBoxFuture<'static, Exit> {
        let Some(container) = &self.container else { return async { Exit::Evicted }.boxed_local() };
        let exited = container.exited();
        async move { exited.await.map_or_else(|error| Exit::parse(words(error)), |()| Exit::Succeeded) }.boxed_local()
    }

    fn terminate(&self) -> Result<(), String> {
        self.container.as_ref().map_or(Ok(()), |container| container.terminate().map_err(|error| error.to_string()))
    }

    fn destroy(&self) -> Call {
        let Some(container) = &self.container else { return async { Ok(()) }.boxed_local() };
        let destroyed = container.destroy();
        async move { destroyed.await.map_err(words) }.boxed_local()
    }

    fn set_inactivity_timeout(&self, span: Duration) -> Call {
        let Some(container) = &self.container else { return async { Ok(()) }.boxed_local() };
        let set = container.set_inactivity_timeout(span);
        async move { set.await.map_err(words) }.boxed_local()
    }

    fn layers(&self, kind: &str, network: &NetworkRecord) -> NetworkLayers {
        let config = self.config.as_ref().ok();
        let mut kind = config.and_then(|config| config.kinds.get(kind)?.network.clone());
        if config.is_some_and(|config| !config.internet) {
            // There is nothing to judge, and so nothing that a start must check.
            kind.get_or_insert_default().internet = Some(false);
        }
        NetworkLayers { kind, project: network.project.clone(), sandbox: network.wanted.clone() }
    }

    fn set_rules(&self, tenant: &Tenant, network: &NetworkLayers) -> Call {
        // What is judged is let out by the Worker, and nothing leaves a deployment without internet.
        let config = self.config.as_ref().ok().filter(|config| config.internet);
        let (Some(container), Ok(address), Some(config)) = (&self.container, self.address(), config) else {
            return async { Ok(()) }.boxed_local();
        };
        let entrypoint = Egress::new(address.id().clone(), tenant.clone(), network.clone()).entrypoint(&self.handle);
        let set = entrypoint.map(|entrypoint| container.intercept(&entrypoint, &network.ports(&config.groups)));
        async move { set.map_err(words)?.await.map_err(words) }.boxed_local()
    }

    fn quiesce(&self, secret: &str, before: Option<Command>) -> Call {
        match self.container.as_ref().map(Container::agent) {
            Some(Ok(port)) => quiesce(port, secret.to_owned(), before).boxed_local(),
            _ => async { Err("there is no container".to_owned()) }.boxed_local(),
        }
    }

    fn sync(&self) -> Call {
        let synced = sync_storage(&self.handle).map(JsFuture::from);
        async move { synced.map_err(words)?.await.map(drop).map_err(words) }.boxed_local()
    }

    fn snapshot(&self) -> LocalBoxFuture<'static, Result<(String, u64), String>> {
        let Some(container) = &self.container else { return async { Err("there is no container".to_owned()) }.boxed_local() };
        let taken = container.snapshot();
        async move { taken.await.map_err(words) }.boxed_local()
    }

    fn probe(&self, secret: &str, limit: Duration) -> LocalBoxFuture<'static, Probe> {
        match self.container.as_ref().map(Container::agent) {
            Some(Ok(port)) => probe(port, secret.to_owned(), limit).boxed_local(),
            _ => async { Probe::Unreachable }.boxed_local(),
        }
    }

    fn acquire_running(&self, tenant: &Tenant) -> LocalBoxFuture<'static, Result<(), Error>> {
        let (admission, tenant) = (Rc::clone(&self.admission), tenant.clone());
        async move { admission.take(Place::Running, &tenant).await }.boxed_local()
    }

    fn release(&self, place: Place, tenant: &Tenant) {
        self.state.wait_until(self.admission.give(place, tenant.clone()));
    }

    fn moved(&self, from: LifeState, event: &LifeEvent) {
        let (Some(hooks), Some(turn)) = (self.hooks, Turn::of(from, event)) else { return };
        let (env, binding) = self.admission.way();
        // The alarm comes by no binding.
        let binding = if binding.is_empty() { DEFAULT_BINDING } else { &binding };
        let work = self
            .address()
            .and_then(|address| Handle::new(env, binding, address))
            .map(|sandbox| hooks.run(turn, env.clone(), sandbox));
        self.state.wait_until(async move {
            let outcome = match work {
                Ok(work) => work.await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = outcome {
                log::error(None, &format!("a hook of the sandbox's class failed: {}", error.message));
            }
        });
    }

    fn alarm(&self) -> LocalBoxFuture<'static, Result<Option<Instant>, Error>> {
        let storage = self.state.storage();
        async move {
            let alarm = storage.get_alarm().await.map_err(storage_failed)?;
            Ok(alarm.and_then(|at| u64::try_from(at).ok()).map(Instant))
        }
        .boxed_local()
    }

    fn set_alarm(&self, at: Option<Instant>) -> LocalBoxFuture<'static, Result<(), Error>> {
        let storage = self.state.storage();
        let now = self.now();
        async move {
            let set = match at {
                Some(at) => storage.set_alarm(i64::try_from(at.0.saturating_sub(now.0)).unwrap_or(i64::MAX)).await,
                None => storage.delete_alarm().await,
            };
            set.map_err(storage_failed)
        }
        .boxed_local()
    }
}

/// Has the runtime abort the object from a timer of its own. `abort()` ends the execution of whatever calls it: called from here, it would leave
/// this module, which all objects of the isolate share, in the middle of something.
fn schedule_reset(state: &JsValue, why: &str) -> Result<(), JsValue> {
    let abort: Function = Reflect::get(state, &"abort".into())?.dyn_into()?;
    let set_timeout: Function = Reflect::get(&global(), &"setTimeout".into())?.dyn_into()?;
    let abort = abort.bind1(state, &why.into());
    set_timeout.call2(&JsValue::UNDEFINED, &abort, &JsValue::from_f64(RESET_AFTER.as_secs_f64() * 1_000.0)).map(drop)
}

fn sync_storage(state: &JsValue) -> Result<Promise, JsValue> {
    let storage = Reflect::get(state, &"storage".into())?;
    let sync: Function = Reflect::get(&storage, &"sync".into())?.dyn_into()?;
    Ok(Promise::resolve(&sync.call0(&storage)?))
}

fn storage_failed(error: worker::Error) -> Error {
    Error::internal(format!("the sandbox's storage failed: {error}"))
}
