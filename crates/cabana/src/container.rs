//! `ctx.container`: the one file that knows the platform's container.
//!
//! workers-rs' `ContainerStartupOptions` loses the fields that are set, and knows neither images nor an exit's message; the
//! options are therefore built here as a plain object.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Duration,
};

use cabana_protocol::sandbox::{Instance, Resources};
use js_sys::{Array, Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use worker::{Fetcher, State, wasm_bindgen_futures::JsFuture};

mod snapshots;

/// Where the agent listens inside every sandbox.
pub(crate) const AGENT_PORT: u16 = 49983;

/// Ports that nothing is ever asked on: they occupy the runtime's connection pool, see [`Container::disable_connection_pool`].
pub(crate) const POOL_PORTS: RangeInclusive<u16> = 49984..=49991;

/// The container that belongs to a Durable Object.
#[derive(Debug)]
pub(crate) struct Container(worker::Container);

/// Why a kind cannot be started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownKind {
    /// The kinds that there are.
    pub(crate) known: Vec<String>,
}

impl Container {
    /// The container of the object whose state this is; `None` where its class has none in wrangler.jsonc.
    pub(crate) fn of(state: &State) -> Option<Self> {
        let container = state.container().map(Self)?;
        if container.running() {
            container.disable_connection_pool();
        }
        Some(container)
    }

    /// Gives each request a connection of its own.
    ///
    /// The runtime keeps connections to a port open and sends the next request on them. An answer without a body (204, 304, any answer to
    /// HEAD) that is the first on its connection breaks that connection: the next request fails with "Container port connection closed
    /// unexpectedly", though the program in the container has carried it out (workerd 1.20261117, see docs/runtime-faults.md). Nothing tells
    /// the object which requests are hit, so none of them could be repeated safely.
    ///
    /// The pool admits the first four ports that are asked for in a container's life; all others get a connection for each request. So
    /// ports that nobody uses take those places, before the first request. Twice as many are named as there are places today.
    fn disable_connection_pool(&self) {
        for port in POOL_PORTS {
            // A place that is not taken costs reuse of connections, not correctness of this call.
            let _ = self.0.get_tcp_port(port);
        }
    }

    /// Whether the platform says that it runs.
    pub(crate) fn running(&self) -> bool {
        self.0.running()
    }

    /// The kinds that it has an image for; none under a scheduling policy without named images.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let images = get(self.0.as_ref(), "images").filter(JsValue::is_object);
        // Own properties only: `constructor` is no image.
        let names = images.map(|images| Object::keys(images.unchecked_ref::<Object>()).iter().collect::<Vec<_>>());
        names.unwrap_or_default().iter().filter_map(JsValue::as_string).collect()
    }

    /// The image reference of a kind; `None` under a scheduling policy without named images, where there is but one image.
    pub(crate) fn image(&self, kind: &str) -> Result<Option<JsValue>, UnknownKind> {
        let images = get(self.0.as_ref(), "images").filter(JsValue::is_object);
        let Some(images) = images else {
            return Ok(None);
        };
        let known = self.kinds();
        match get(&images, kind) {
            Some(image) if known.iter().any(|name| name == kind) => Ok(Some(image)),
            _ => Err(UnknownKind { known }),
        }
    }

    /// Starts it. Returns at once; [`Self::exited`] tells when and why it ended.
    pub(crate) fn start(
        &self,
        image: Option<&JsValue>,
        snapshot: Option<&str>,
        instance: Option<Instance>,
        internet: bool,
        env: &BTreeMap<&str, String>,
    ) -> Result<(), JsValue> {
        let variables = Object::new();
        for (name, value) in env {
            Reflect::set(&variables, &JsValue::from_str(name), &JsValue::from_str(value))?;
        }
        let options = Object::new();
        Reflect::set(&options, &"enableInternet".into(), &internet.into())?;
        Reflect::set(&options, &"env".into(), &variables)?;
        match (snapshot, image) {
            // It brings its image with it.
            (Some(snapshot), _) => drop(Reflect::set(&options, &"containerSnapshot".into(), &snapshots::reference(snapshot)?)?),
            (None, Some(image)) => drop(Reflect::set(&options, &"image".into(), image)?),
            (None, None) => {}
        }
        if let Some(instance) = instance {
            Reflect::set(&options, &"instance".into(), &size(instance)?)?;
        }
        self.call("start", &[options.into()])?;
        // Each start empties the pool.
        self.disable_connection_pool();
        Ok(())
    }

    /// Has the platform hand every request that leaves it over HTTP or HTTPS, on their usual ports and on these, to this entrypoint, in place of
    /// an earlier one. Ports of earlier calls stay.
    pub(crate) fn intercept(
        &self,
        entrypoint: &JsValue,
        ports: &BTreeSet<u16>,
    ) -> impl Future<Output = Result<(), JsValue>> + use<> {
        let mut targets = vec![("interceptOutboundHttp", "*".to_owned()), ("interceptOutboundHttps", "*".to_owned())];
        for port in ports {
            // The platform reads names of HTTP on port 80 alone, and matches others by address.
            targets.push(("interceptOutboundHttp", format!("0.0.0.0/0:{port}")));
            targets.push(("interceptOutboundHttp", format!("[::/0]:{port}")));
            targets.push(("interceptOutboundHttps", format!("*:{port}")));
        }
        // All are called at once, ahead of a start that follows.
        let call = |(method, target): (&str, String)| settled(self.call(method, &[target.into(), entrypoint.clone()]));
        let calls: Vec<_> = targets.into_iter().map(call).collect();
        async move {
            for call in calls {
                call.await?;
            }
            Ok(())
        }
    }

    /// Sets how long it may stay idle once the object is evicted.
    pub(crate) fn set_inactivity_timeout(&self, span: Duration) -> impl Future<Output = Result<(), JsValue>> + use<> {
        settled(self.call("setInactivityTimeout", &[JsValue::from_f64(span.as_secs_f64() * 1_000.0)]))
    }

    /// Waits until it has ended; fails with the platform's words where its program has failed, or nothing is known of it.
    pub(crate) fn exited(&self) -> impl Future<Output = Result<(), JsValue>> + use<> {
        settled(self.call("monitor", &[]))
    }

    /// Ends it, whatever it does. Does nothing where none runs.
    pub(crate) fn destroy(&self) -> impl Future<Output = Result<(), JsValue>> + use<> {
        settled(self.call("destroy", &[]))
    }

    // Not by the methods of workers-rs: an exception that they do not expect would be a panic, which takes down every request beside this one.
    fn call(&self, method: &str, arguments: &[JsValue]) -> Result<JsValue, JsValue> {
        let container: &JsValue = self.0.as_ref();
        let function: Function = Reflect::get(container, &method.into())?.dyn_into()?;
        Reflect::apply(&function, container, &arguments.iter().collect::<Array>())
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) -> worker::Result<()> {
        const SIGTERM: i32 = 15;
        self.0.signal(SIGTERM)
    }

    /// Where HTTP requests reach the agent.
    pub(crate) fn agent(&self) -> worker::Result<Fetcher> {
        self.port(AGENT_PORT)
    }

    /// Where HTTP requests reach what listens on a port.
    pub(crate) fn port(&self, port: u16) -> worker::Result<Fetcher> {
        self.0.get_tcp_port(port)
    }
}

/// What became of a call that answers with a promise.
fn settled(called: Result<JsValue, JsValue>) -> impl Future<Output = Result<(), JsValue>> + use<> {
    let outcome = outcome(called);
    async move { outcome.await.map(drop) }
}

/// The same, with what it answers.
fn outcome(called: Result<JsValue, JsValue>) -> impl Future<Output = Result<JsValue, JsValue>> + use<> {
    let promise = called.map(|answer| JsFuture::from(Promise::resolve(&answer)));
    async move { promise?.await }
}

/// What the platform says, without the prefix that names the kind of exception.
pub(crate) fn words(error: JsValue) -> String {
    match worker::Error::from(error) {
        worker::Error::UnknownJsError { message, .. } => message,
        other => other.to_string(),
    }
}

/// A size as the platform takes it.
fn size(instance: Instance) -> Result<JsValue, JsValue> {
    let Resources { vcpu, memory_mib, disk_mb } = match instance {
        Instance::Named(size) => return Ok(size.as_str().into()),
        Instance::Custom(resources) => resources,
    };
    let object = Object::new();
    Reflect::set(&object, &"vcpu".into(), &vcpu.into())?;
    Reflect::set(&object, &"memoryMib".into(), &memory_mib.into())?;
    Reflect::set(&object, &"diskMb".into(), &disk_mb.into())?;
    Ok(object.into())
}

fn get(object: &JsValue, key: &str) -> Option<JsValue> {
    Reflect::get(object, &JsValue::from_str(key)).ok().filter(|value| !value.is_undefined())
}
