//! `ctx.container`: the one file that knows the platform's container.
//!
//! workers-rs' `ContainerStartupOptions` loses the fields that are set, and knows neither images nor an exit's message; the
//! options are therefore built here as a plain object.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use cabana_protocol::sandbox::{Instance, Resources};
use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use worker::{Fetcher, State, wasm_bindgen_futures::JsFuture};

/// Where the agent listens inside every sandbox.
pub(crate) const AGENT_PORT: u16 = 49983;

/// Ports that nothing is ever asked on: they occupy the runtime's connection pool, see [`Container::disable_connection_pool`].
pub(crate) const POOL_PORTS: RangeInclusive<u16> = 49984..=49991;

/// The container that belongs to a Durable Object.
#[derive(Debug)]
pub(crate) struct Container(worker::Container);

/// What a container is started with.
pub(crate) struct Startup<'a> {
    /// Which image, see [`Container::image`].
    pub(crate) image: Option<JsValue>,
    /// How large it is; `None`: as the platform likes.
    pub(crate) instance: Option<Instance>,
    /// Whether it reaches the internet.
    pub(crate) internet: bool,
    /// Its environment.
    pub(crate) env: BTreeMap<&'a str, &'a str>,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Its program had done all it had to.
    Well,
    /// Otherwise; in the platform's words.
    Failed(String),
}

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
    pub(crate) fn start(&self, startup: &Startup<'_>) -> worker::Result<()> {
        let env = Object::new();
        for (name, value) in &startup.env {
            Reflect::set(&env, &JsValue::from_str(name), &JsValue::from_str(value))?;
        }
        let options = Object::new();
        Reflect::set(&options, &"enableInternet".into(), &startup.internet.into())?;
        Reflect::set(&options, &"env".into(), &env)?;
        if let Some(image) = &startup.image {
            Reflect::set(&options, &"image".into(), image)?;
        }
        if let Some(instance) = startup.instance {
            Reflect::set(&options, &"instance".into(), &size(instance)?)?;
        }
        let container: &JsValue = self.0.as_ref();
        let start: Function = Reflect::get(container, &"start".into())?.dyn_into()?;
        start.call1(container, &options)?;
        // Each start empties the pool.
        self.disable_connection_pool();
        Ok(())
    }

    /// Has it outlast the object's time in memory by so long. It must run; the platform forgets this with the object, so it is said
    /// again when the object comes back.
    pub(crate) async fn outlast(&self, time: Duration) -> worker::Result<()> {
        let container: &JsValue = self.0.as_ref();
        let set: Function = Reflect::get(container, &"setInactivityTimeout".into())?.dyn_into()?;
        let noted: Promise = set.call1(container, &JsValue::from_f64(time.as_secs_f64() * 1_000.0))?.dyn_into()?;
        JsFuture::from(noted).await.map(drop).map_err(worker::Error::from)
    }

    /// Waits until it has ended. The question cannot be taken back, and keeps the object in memory until it is answered.
    pub(crate) async fn exited(&self) -> Exit {
        match self.0.wait_for_exit().await {
            Ok(()) => Exit::Well,
            Err(error) => Exit::Failed(message(&error)),
        }
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) -> worker::Result<()> {
        const SIGTERM: i32 = 15;
        self.0.signal(SIGTERM)
    }

    /// Ends it, whatever it does. Does nothing where none runs.
    pub(crate) async fn end(&self) -> worker::Result<()> {
        self.0.destroy(None).await
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

/// What the platform says, without the prefix that names the kind of exception.
pub(crate) fn message(error: &worker::Error) -> String {
    match error {
        worker::Error::UnknownJsError { message, .. } => message.clone(),
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
