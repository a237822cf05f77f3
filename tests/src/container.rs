//! Containers of the image under test.
//!
//! To start one costs a second of a processor, so a container that a case has left as it should serves the next case.

use std::{
    env,
    io::Write,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::caller::Caller;

/// The port that the image's agent listens on.
const PORT: &str = "49983";
/// The memory, and the processes and threads, of a container where the environment does not say it: the smallest that there are.
const MEMORY: &str = "256m";
const PIDS: &str = "256";

/// Ends whatever runs and empties every place that a case may write to; fails where something stays.
const RESET: &str = "kill -9 -1
cd /
find /workspace /tmp /var/tmp /dev/shm -mindepth 1 -delete
find /home /root -mindepth 1 -newer /etc/hostname ! -type d -delete
chown sandbox:sandbox /workspace && chmod 755 /workspace
test -z \"$(find /workspace /tmp /var/tmp /dev/shm -mindepth 1)\"";
/// Prints how many processes there are: the agent, and the shell that counts.
const COUNT: &str = "set -- /proc/[0-9]*; echo $#";
/// How often it is looked whether a case's processes are gone, and the pause before each further look.
const LOOKS: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// Containers that wait for their next case.
static IDLE: Mutex<Vec<Container>> = Mutex::new(Vec::new());
/// What removes the containers when this program ends, however it ends.
static REMOVER: Mutex<Option<Child>> = Mutex::new(None);

/// A running container, with Docker's default capabilities and seccomp profile. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Container {
    id: String,
    /// Where its agent serves.
    pub(crate) url: String,
    /// What its agent was started with.
    variables: Vec<(String, String)>,
    /// No other case may have it.
    is_changed: AtomicBool,
}

impl Container {
    /// The secret of every agent here.
    pub(crate) const SECRET: &'static str = "a-secret-of-the-tests";

    /// One whose agent has these variables on top and answers already: a fresh one, or one that is as good as that.
    pub(crate) async fn provide(variables: &[(&str, &str)]) -> Self {
        let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let idle = |containers: &mut Vec<Self>| {
            let position = containers.iter().position(|container| container.variables == variables)?;
            Some(containers.swap_remove(position))
        };
        let found = idle(&mut IDLE.lock().unwrap_or_else(PoisonError::into_inner));
        match found {
            Some(container) => container,
            None => Self::start(variables).await,
        }
    }

    async fn start(variables: Vec<(String, String)>) -> Self {
        let image = env::var("CABANA_TEST_IMAGE").expect("CABANA_TEST_IMAGE names the image under test");
        let memory = env::var("CABANA_TEST_MEMORY").unwrap_or_else(|_| MEMORY.to_owned());
        let pids = env::var("CABANA_TEST_PIDS").unwrap_or_else(|_| PIDS.to_owned());
        let mut run = docker(&["run", "--detach", "--publish", &format!("127.0.0.1::{PORT}"), "--pids-limit", &pids]);
        // Docker leaves the loopback device without IPv6, which servers bind.
        run.args(["--sysctl", "net.ipv6.conf.all.disable_ipv6=0"]);
        // Without swap, as on Cloudflare.
        run.args(["--memory", &memory, "--memory-swap", &memory, "--env", &format!("CABANA_AGENT_SECRET={}", Self::SECRET)]);
        for (name, value) in &variables {
            run.args(["--env", &format!("{name}={value}")]);
        }
        let id = output(run.arg(image));
        remove_at_the_end(&id);
        // Owned from here on, so that a failure removes it.
        let mut container = Self { id, url: String::new(), variables, is_changed: AtomicBool::new(false) };
        let address = output(&mut docker(&["port", &container.id, PORT]));
        container.url = format!("http://{}", address.lines().next().expect("an address"));
        let caller = Caller::at(&container.url, None);
        crate::until("the agent of the container answers", async || caller.is_healthy().await).await;
        container
    }

    /// Keeps it from other cases: this one changes what no reset brings back.
    pub(crate) fn mark_changed(&self) {
        self.is_changed.store(true, Ordering::Relaxed);
    }

    /// Makes it as good as a fresh one and keeps it for another case. Removed where that cannot be done.
    pub(crate) async fn recycle(self) {
        if !self.is_changed.load(Ordering::Relaxed) && self.reset().await {
            IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        }
    }

    async fn reset(&self) -> bool {
        let caller = Caller::at(&self.url, Some(Self::SECRET.to_owned()));
        if !caller.is_healthy().await {
            // Some cases end the agent.
            return false;
        }
        let exec = async |command: &str| {
            let request = json!({ "command": ["sh", "-c", command], "user": "root", "cwd": "/" });
            caller.post("/v1/exec", request).await.json()
        };
        let succeeds = |output: &Value| output["exit"]["code"] == 0;
        if !succeeds(&exec(RESET).await) {
            return false;
        }
        let kept = [("code", "context", "delete"), ("session", "session", "delete"), ("process", "process", "remove")];
        for (family, name, verb) in kept {
            let known = caller.ask(Method::POST, &format!("/v1/{family}/list"), Some(json!({}))).await.json();
            for one in known["items"].as_array().expect("a list of items") {
                // A record that cannot be removed yet is there at the look below.
                caller.post(&format!("/v1/{family}/{verb}"), json!({ name: one[name] })).await;
            }
        }
        for _ in 0..LOOKS {
            let known = caller.post("/v1/process/list", json!({})).await.json();
            if known["items"] == json!([]) && exec(COUNT).await["stdout"] == "2\n" {
                return true;
            }
            tokio::time::sleep(PAUSE).await;
        }
        false
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", "--volumes", &self.id]).output();
    }
}

/// Runs a script with these arguments in a container of the image, in place of its agent, and gives what it prints. These options of
/// `docker run` come on top.
pub fn run_in_image(options: &[&str], script: &str, arguments: &[&str]) -> String {
    let image = env::var("CABANA_TEST_IMAGE").expect("CABANA_TEST_IMAGE names the image under test");
    let mut run = docker(&["run", "--rm", "--entrypoint", "sh"]);
    output(run.args(options).args([&image, "-c", script, "sh"]).args(arguments))
}

/// Has a container removed when this program has ended: its end closes the remover's input.
fn remove_at_the_end(id: &str) {
    const SCRIPT: &str = r#"ids=; while read -r id; do ids="$ids $id"; done; exec "$0" rm --force --volumes $ids"#;
    let mut remover = REMOVER.lock().unwrap_or_else(PoisonError::into_inner);
    let remover = remover.get_or_insert_with(|| {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT]).arg(docker(&[]).get_program()).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell starts")
    });
    writeln!(remover.stdin.as_mut().expect("a pipe"), "{id}").expect("the remover reads");
}

/// Docker's command line, by default the one on the search path.
fn docker(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CABANA_TEST_DOCKER").unwrap_or_else(|| "docker".into()));
    command.args(arguments);
    command
}

/// What a command that must succeed prints.
fn output(command: &mut Command) -> String {
    let output = command.output().expect("Docker's command line starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
