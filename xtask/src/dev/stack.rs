//! The running service: engine, wrangler, and the key to it.

use super::client::Client;
use super::database;
use super::directory::{RunDirectory, write_private};
use super::interrupt::Interrupt;
use super::kept::KeptState;
use super::port::{self, Port};
use super::ready::{FIRST_COMMAND, First};
use super::saving;
use super::service::Service;
use super::test_internet::TestInternet;
use super::test_kinds;
use crate::artifacts::{self, Profile, Programs, WasmOpt};
use crate::docker::WranglerDocker;
use crate::guard::Guard;
use crate::progress::{Outcome, Step, say};
use crate::setup::Tools;
use crate::{paths, shell};
use anyhow::{Context, Result, anyhow, bail};
use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for the engine's socket.
const ENGINE_START: Duration = Duration::from_secs(20);
/// Longest wait for the Worker's first answer; with Docker, the image is built in it.
const WORKER_START: Duration = Duration::from_secs(90);
const WORKER_START_WITH_DOCKER: Duration = Duration::from_secs(1800);
/// Runs a program again that was killed, as wrangler does with its runtime. An end that it chose itself stands.
const RESTARTING: &str = r#"while "$@"; code=$?; [ "$code" -ge 128 ]; do sleep 0.02; done; exit "$code""#;
/// How often a service that starts is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// The name under which wrangler asks the engine for the network sidecar.
const EGRESS_IMAGE: &str = "cabana/egress:local";
/// What certain tenants may have: cases of the tests run into it.
const TEST_LIMITS: &str = r#"{"test-sandboxes":{"sandboxes":3},"test-running":{"running":2},"test-snapshots":{"snapshots":2},"test-requests":{"requests_per_minute":20}}"#;
/// The web page that the tests' browsers speak for.
const TEST_ORIGIN: &str = "https://app.test";
/// How the object watches agents and the platform, and how often keys are fetched, in a run for tests, which would wait for minutes otherwise. Cases at the real values run
/// in the library, without real time.
const TEST_TIMINGS: &str =
    "CABANA_PROBE_MS=3000\nCABANA_DEAD_AFTER_MS=12000\nCABANA_PLATFORM_LIMIT_MS=5000\nCABANA_JWT_JWKS_PAUSE_MS=5000\n";
/// What the operator shares with sandboxes, for the cases that use it.
const TEST_NETWORK: &str = "SHARED_TOKEN=shared-token-of-the-operator\n\
    CABANA_NETWORK_GROUPS='{\"pair\":[\"one.invalid\",\"GET two.invalid\"]}'\n\
    CABANA_NETWORK_SECRETS='{\"shared\":{\"variable\":\"SHARED_TOKEN\",\"hosts\":[\"s63.cabana.test\"]}}'\n";
/// The longest path that a Unix socket's address holds.
const SOCKET_PATH: usize = 107;

/// What runs the sandboxes.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    /// The engine of this repository, over this machine's own files; needs no Docker and no image
    Cabana,
    /// Docker, with the image of the Dockerfile
    Docker,
}

/// How to run the service.
pub(crate) struct Options {
    /// The port, which must be free; none: the default one, or any.
    pub(crate) port: Option<u16>,
    pub(crate) engine: Engine,
    /// How agent and engine are compiled.
    pub(crate) profile: Profile,
    /// How the Worker is built.
    pub(crate) wasm_opt: WasmOpt,
    /// Whether the services' output is shown.
    pub(crate) log: bool,
    /// Whether the engine injects faults and the kinds of sandboxes of tests/sandboxes exist, as the integration cases need.
    pub(crate) testing: bool,
    /// Whether servers on this machine stand for the internet: for cases and measurements.
    pub(crate) internet: bool,
    /// The kernels of Jupyter for sandboxes of the engine of this repository, where there are some.
    pub(crate) kernels: Option<PathBuf>,
    /// Variables of the Worker, beside the key.
    pub(crate) variables: Vec<(String, String)>,
}

/// The run's directory, which is filled with what the service needs. Nothing runs but the guard, which removes it whatever happens.
pub(crate) struct Layout {
    root: PathBuf,
    directory: RunDirectory,
    guard: Guard,
    /// What runs the sandboxes in place of the engine.
    docker: Option<WranglerDocker>,
    /// The state that lasts over runs; `None`: it is in the run's directory.
    kept: Option<KeptState>,
}

/// The running service. Dropping it ends everything.
pub(crate) struct Stack {
    url: String,
    api_key: String,
    services: Vec<Service>,
    directory: RunDirectory,
    guard: Guard,
    /// Ends after everything that uses it.
    docker: Option<WranglerDocker>,
    /// Unlocked after everything that uses it has ended.
    kept: Option<KeptState>,
    _port: Port,
}

impl Layout {
    pub(crate) fn create() -> Result<Self> {
        let root = paths::repository()?;
        let directory = RunDirectory::create(&root)?;
        let guard = Guard::start(directory.path())?;
        shell::belong_to(directory.path());
        Ok(Self { root, directory, guard, docker: None, kept: None })
    }

    /// Has the run begin with what earlier runs have kept, and keep it. Another run may have it: then this one's goes with it.
    pub(crate) fn keep_state(&mut self, fresh: bool) -> Result<()> {
        self.kept = KeptState::open(&self.root, self.directory.path(), fresh)?;
        if self.kept.is_none() {
            say(
                "another `cargo xtask dev` of this checkout uses the kept state: this one begins with nothing, and keeps nothing",
            );
        }
        Ok(())
    }

    /// Builds the Worker, and the database that it needs.
    pub(crate) fn build_worker(&self, tools: &Tools, options: &Options) -> Result<()> {
        artifacts::build_worker_into(tools, &self.directory.join("worker"), options.wasm_opt)?;
        self.provide_database(tools, options)
    }

    /// Takes a Worker that was built into `worker`, and the database that it needs.
    pub(crate) fn copy_worker(&self, tools: &Tools, worker: &Path, options: &Options) -> Result<()> {
        artifacts::copy_files(worker, &self.directory.join("worker"))?;
        self.provide_database(tools, options)
    }

    fn provide_database(&self, tools: &Tools, options: &Options) -> Result<()> {
        let state = wrangler_state(self.kept.as_ref(), &self.directory);
        database::provide(tools, &self.root, &state, self.directory.path(), options.testing)
    }

    /// Takes copies of the programs: a later build does not change a run.
    pub(crate) fn copy_programs(&self, programs: &Programs) -> Result<()> {
        let bin = self.directory.join("bin");
        fs::create_dir(&bin)?;
        for program in [&programs.agent, &programs.engine] {
            let copy = bin.join(program.file_name().unwrap_or_default());
            fs::copy(program, copy).with_context(|| format!("copy {}", program.display()))?;
        }
        symlink("cabana-engine", bin.join("docker")).context("name the engine docker")
    }

    /// Finds or starts Docker, which runs the sandboxes instead of the engine. A daemon that it starts ends with the calling thread.
    pub(crate) fn provide_docker(&mut self) -> Result<()> {
        self.use_docker(WranglerDocker::provide(&self.root, self.directory.path())?);
        Ok(())
    }

    /// Has this Docker run the sandboxes instead of the engine.
    pub(crate) fn use_docker(&mut self, docker: WranglerDocker) {
        self.docker = Some(docker);
    }

    /// The run's directory, which goes with it.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Takes a Worker that was built into `worker` and is not the gateway.
    pub(crate) fn copy_example(&self, worker: &Path) -> Result<()> {
        artifacts::copy_files(worker, &self.directory.join("worker"))
    }

    /// Starts such a Worker with a configuration of its own, and waits until it can be asked.
    pub(crate) fn start_example(self, tools: &Tools, options: &Options, configuration: &Path, variables: &str) -> Result<Stack> {
        let Self { root, directory, guard, docker, kept } = self;
        let port = port::choose(options.port)?;
        let url = format!("http://127.0.0.1:{}", port.number);
        let api_key = String::new();
        // Some variables hold the port.
        let variables = variables.replace("{port}", &port.number.to_string());
        let mut stack = Stack { url, api_key, services: Vec::new(), directory, guard, docker, kept, _port: port };
        let interrupt = Interrupt::never();
        stack.start_engine(options, &interrupt)?;
        stack.run_wrangler(tools, options, &root, configuration, &variables)?;
        stack.wait_for("wrangler dev", WORKER_START, &interrupt, Stack::accepts)?;
        Ok(stack)
    }

    /// Starts everything and waits until the Worker answers.
    pub(crate) fn start(self, tools: &Tools, options: &Options, interrupt: &Interrupt) -> Result<Stack> {
        let Self { root, directory, guard, docker, kept } = self;
        let port = port::choose(options.port)?;
        let url = format!("http://127.0.0.1:{}", port.number);
        let api_key = kept.as_ref().map_or_else(generate_key, |kept| kept.key(generate_key))?;
        let mut stack = Stack { url, api_key, services: Vec::new(), directory, guard, docker, kept, _port: port };
        let limit = match options.engine {
            Engine::Cabana => {
                if let Some(kept) = &stack.kept
                    && let Err(error) = kept.prune(tools, &stack.directory.join("bin/cabana-engine"), stack.directory.path())
                {
                    say(&format!("snapshots that nothing needs are kept: {error:#}"));
                }
                stack.start_engine(options, interrupt)?;
                WORKER_START
            }
            Engine::Docker => WORKER_START_WITH_DOCKER,
        };
        stack.start_wrangler(tools, options, &root)?;
        stack.wait_for("wrangler dev", limit, interrupt, Stack::answers)?;
        Ok(stack)
    }
}

impl Stack {
    /// Where the service answers.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The key it was started with.
    pub(crate) fn api_key(&self) -> &str {
        &self.api_key
    }

    /// The run's directory: its logs are there, and anything else may be put there that is to go with it.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Builds and starts the service, for a program that leaves signals as they are: the guard ends it in any case.
    pub(crate) fn launch(tools: &Tools, options: Options) -> Result<Self> {
        port::check(options.port)?;
        let mut layout = Layout::create()?;
        match options.engine {
            Engine::Cabana => layout.copy_programs(&artifacts::build_programs(options.profile)?)?,
            Engine::Docker => layout.provide_docker()?,
        }
        layout.build_worker(tools, &options)?;
        layout.start(tools, &options, &Interrupt::never())
    }

    /// Makes a wrangler command use this service's engine.
    pub(crate) fn point_at_engine(&self, command: &mut Command) -> Result<()> {
        let host = format!("unix://{}", self.socket()?.display());
        command.env("DOCKER_HOST", host).env("WRANGLER_DOCKER_BIN", self.directory.join("bin/docker"));
        command.env("MINIFLARE_CONTAINER_EGRESS_IMAGE", EGRESS_IMAGE);
        Ok(())
    }

    /// Fails when a service has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.services.iter_mut().try_for_each(Service::check)
    }

    /// Creates a sandbox, runs the first command in it, and destroys it.
    pub(crate) fn first_command(&mut self) -> Result<First> {
        let client = self.client();
        let started = Instant::now();
        let run = || -> Result<First> {
            let sandbox = client.create()?;
            let output = client.exec(&sandbox, FIRST_COMMAND)?;
            let took = started.elapsed();
            client.destroy(&sandbox)?;
            Ok(First { output, took })
        };
        run().map_err(|error| {
            anyhow!("the service runs, but its first sandbox failed: {error:#}\nthe ends of the logs:\n{}", self.last_words())
        })
    }

    /// Where the state is that lasts over runs, if it does.
    pub(crate) fn kept(&self) -> Option<&Path> {
        self.kept.as_ref().map(KeptState::directory)
    }

    /// Stops the sandboxes whose state is kept, so that their files are, too. What cannot be saved is said.
    pub(crate) fn save_sandboxes(&mut self) {
        if self.kept.is_some() && self.check().is_ok() {
            saving::save_sandboxes(&self.client());
        }
    }

    /// Ends everything and removes the run's directory; returns when it is done.
    pub(crate) fn stop(mut self) {
        let services = &mut self.services;
        self.guard.finish(|| services.iter_mut().for_each(Service::reap));
    }

    fn start_engine(&mut self, options: &Options, interrupt: &Interrupt) -> Result<()> {
        let socket = self.socket()?;
        let engine = self.directory.join("bin/cabana-engine");
        // An engine that is killed leaves its cgroups.
        self.guard.run_at_end(&engine, "sweep")?;
        let mut serve = Command::new("sh");
        serve.args(["-c", RESTARTING, "engine"]).arg(engine);
        // The socket is this program's: connections to an engine that was killed wait for the next one. A runtime whose connection was
        // refused once gives the container up for good.
        let listener = OwnedFd::from(UnixListener::bind(&socket).with_context(|| format!("listen on {}", socket.display()))?);
        let ready = self.directory.join("engine.ready");
        serve.arg("serve").arg("--listening").arg("--socket").arg(&socket).arg("--ready-file").arg(&ready);
        serve.arg("--agent").arg(self.directory.join("bin/cabana-agent"));
        serve.arg("--state").arg(self.kept.as_ref().map_or_else(|| self.directory.join("engine"), KeptState::engine));
        serve.args((options.testing || options.internet).then_some("--faults"));
        if let Some(kernels) = &options.kernels {
            serve.arg("--kernels").arg(kernels);
        }
        // Cargo's, for this program: nothing that sandboxes should see.
        serve.env_remove("LD_LIBRARY_PATH");
        self.start_service("engine", &mut serve, listener.into(), options.log)?;
        self.wait_for("the engine", ENGINE_START, interrupt, |_| engine_warnings(&ready).is_some())?;
        for warning in engine_warnings(&ready).into_iter().flatten() {
            say(&format!(" ! {:<18} {warning}", "the engine"));
        }
        Ok(())
    }

    fn start_wrangler(&mut self, tools: &Tools, options: &Options, root: &Path) -> Result<()> {
        let (_, port) = self.url.rsplit_once(':').context("the URL has no port")?;
        // Browsers and curl take every name below localhost for this machine.
        let mut text = format!("CABANA_API_KEY={}\nCABANA_PREVIEW_DOMAIN=localhost:{port}\n", self.api_key);
        writeln!(text, "CABANA_SECRETS_KEY={}", generate_key()?)?;
        writeln!(text, "CABANA_TENANT_LIMITS='{TEST_LIMITS}'")?;
        if options.testing {
            writeln!(text, "CABANA_ALLOWED_ORIGINS={TEST_ORIGIN}")?;
            text += TEST_TIMINGS;
            text += TEST_NETWORK;
        }
        for (name, value) in &options.variables {
            writeln!(text, "{name}='{value}'")?;
        }
        let mut configuration = root.join("wrangler.jsonc");
        if options.testing {
            configuration = test_kinds::configure(root, self.directory.path())?;
        }
        self.run_wrangler(tools, options, root, &configuration, &text)
    }

    fn run_wrangler(&mut self, tools: &Tools, options: &Options, root: &Path, configuration: &Path, text: &str) -> Result<()> {
        // In a file, since the arguments of a process can be read by everyone.
        let variables = self.directory.join("variables");
        write_private(&variables, text)?;
        let (_, port) = self.url.rsplit_once(':').context("the URL has no port")?;
        let mut dev = wrangler_with(configuration, tools, root, self.directory.path());
        dev.arg("dev").arg(self.directory.join("worker/index.js"));
        dev.args(["--ip", "127.0.0.1", "--port", port, "--inspector-port", "0", "--show-interactive-dev-session=false"]);
        dev.arg("--persist-to").arg(wrangler_state(self.kept.as_ref(), &self.directory)).arg("--env-file").arg(variables);
        match &self.docker {
            Some(docker) => docker.configure(&mut dev),
            None => self.point_at_engine(&mut dev)?,
        }
        if options.internet {
            match TestInternet::create(self.directory.path(), port.parse().context("the URL's port")?)? {
                Some(internet) => dev = internet.wrap(&dev),
                None => say(
                    " ! tests             no program gets an /etc/hosts of its own here: cases with servers over HTTPS are left out",
                ),
            }
        }
        self.start_service("wrangler", &mut dev, Stdio::null(), options.log)
    }

    fn start_service(&mut self, name: &'static str, command: &mut Command, input: Stdio, show_log: bool) -> Result<()> {
        let log = self.directory.join(&format!("{name}.log"));
        let service = Service::start(name, command, input, log, &mut self.guard)?;
        if show_log {
            service.show_log()?;
        }
        self.services.push(service);
        Ok(())
    }

    fn wait_for(&mut self, what: &str, limit: Duration, interrupt: &Interrupt, is_ready: impl Fn(&Self) -> bool) -> Result<()> {
        Step::run(what, |step| {
            let started = Instant::now();
            while !is_ready(self) {
                interrupt.check()?;
                self.check()?;
                if started.elapsed() > limit {
                    bail!("{what} is not ready after {} s\n{}", limit.as_secs(), self.last_words());
                }
                step.tick("");
                thread::sleep(LOOK);
            }
            Ok((Outcome::Done("ready".to_owned()), ()))
        })
    }

    fn answers(&self) -> bool {
        let client = self.client();
        // Whoever else might answer on this port does not know the key.
        client.is_healthy() && client.is_admitted()
    }

    fn accepts(&self) -> bool {
        self.url.strip_prefix("http://").is_some_and(|address| TcpStream::connect(address).is_ok())
    }

    fn client(&self) -> Client {
        Client::new(&self.url, &self.api_key)
    }

    pub(crate) fn last_words(&self) -> String {
        self.services.iter().map(Service::last_words).collect::<Vec<_>>().join("\n")
    }

    fn socket(&self) -> Result<PathBuf> {
        let socket = self.directory.join("engine.sock");
        if socket.as_os_str().len() > SOCKET_PATH {
            bail!("{} is too long for a socket's address: set CARGO_TARGET_DIR to a shorter directory", socket.display());
        }
        Ok(socket)
    }
}

/// Where wrangler keeps what it keeps.
fn wrangler_state(kept: Option<&KeptState>, directory: &RunDirectory) -> PathBuf {
    kept.map_or_else(|| directory.join("state"), KeptState::wrangler)
}

/// What an engine that is ready says of the machine; `None` until its ready file is there and whole.
fn engine_warnings(ready: &Path) -> Option<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Ready {
        warnings: Vec<String>,
    }
    let ready: Ready = serde_json::from_slice(&fs::read(ready).ok()?).ok()?;
    Some(ready.warnings)
}

/// wrangler with the deployment's configuration, see [`wrangler_with`].
pub(crate) fn wrangler(tools: &Tools, root: &Path, scratch: &Path) -> Command {
    wrangler_with(&root.join("wrangler.jsonc"), tools, root, scratch)
}

/// wrangler with no contact to anything outside and nothing written outside `scratch`.
pub(super) fn wrangler_with(configuration: &Path, tools: &Tools, root: &Path, scratch: &Path) -> Command {
    let mut command = tools.node.command("wrangler");
    // Named, because wrangler looks for it beside the Worker's script, and cargo's target directory may be anywhere.
    command.arg("--config").arg(configuration);
    command
        .current_dir(root)
        .env("CI", "1")
        .env("WRANGLER_SEND_METRICS", "false")
        .env("WRANGLER_HIDE_BANNER", "true")
        .env("WRANGLER_LOG_PATH", scratch.join("wrangler-logs"))
        .env("WRANGLER_REGISTRY_PATH", scratch.join("registry"))
        .env("WRANGLER_CACHE_DIR", scratch.join("cache"))
        .env("XDG_CONFIG_HOME", scratch.join("config"))
        .env("TMPDIR", scratch)
        .env("CLOUDFLARE_CF_FETCH_ENABLED", "false")
        // The Worker is built already: see `build` in wrangler.jsonc.
        .env("CABANA_WORKER_BUILT", "1");
    command
}

/// A key: 128 random bits.
fn generate_key() -> Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).context("generate an API key")?;
    Ok(bytes.iter().fold("cabana_dev_".to_owned(), |key, byte| format!("{key}{byte:02x}")))
}

#[cfg(test)]
mod tests {
    use super::engine_warnings;
    use std::fs;

    #[test]
    fn warnings_of_the_engine_are_read_once_its_ready_file_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ready");
        assert_eq!(engine_warnings(&file), None);
        fs::write(&file, r#"{"socket":"s","pid":1,"#).unwrap();
        assert_eq!(engine_warnings(&file), None);
        fs::write(&file, r#"{"socket":"s","pid":1,"warnings":["no limits"]}"#).unwrap();
        assert_eq!(engine_warnings(&file), Some(vec!["no limits".to_owned()]));
    }
}
