//! A container as the Docker Engine API shows it.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::Container;
use super::spec::{NetworkMode, SIDECAR_PORT};
use super::state::State;

/// Docker's "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The answer of `GET /containers/{name}/json`. Values of the environment are left out: they hold secrets.
pub fn inspect(container: &Container) -> Value {
    let identity = container.identity();
    let state = container.state();
    let spec = &identity.spec;
    let exposed: Map<String, Value> = spec.exposed_ports.iter().map(|port| (port.clone(), json!({}))).collect();
    json!({
        "Id": identity.id,
        "Name": format!("/{}", identity.name),
        "Created": instant(identity.created),
        "Image": spec.image,
        "State": describe(&state),
        "Config": {
            "Image": spec.image,
            "Hostname": spec.hostname,
            "Cmd": spec.argv,
            "Labels": spec.labels,
            "ExposedPorts": exposed,
        },
        "HostConfig": {
            "NetworkMode": network_mode(&spec.network),
            "Memory": spec.limits.memory_bytes,
            "PidsLimit": spec.limits.pids,
            "NanoCpus": spec.limits.nano_cpus.unwrap_or(0),
        },
        "NetworkSettings": { "Ports": ports(&state) },
    })
}

/// One line of `GET /containers/json`.
pub fn summary(container: &Container) -> Value {
    let identity = container.identity();
    let created = identity.created.duration_since(SystemTime::UNIX_EPOCH);
    json!({
        "Id": identity.id,
        "Names": [format!("/{}", identity.name)],
        "Image": identity.spec.image,
        "Created": created.unwrap_or_default().as_secs(),
        "State": container.state().status(),
        "Status": container.state().status(),
        "Labels": identity.spec.labels,
        "HostConfig": { "NetworkMode": network_mode(&identity.spec.network) },
    })
}

fn network_mode(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Own => "none".to_owned(),
        NetworkMode::Container(other) => format!("container:{other}"),
    }
}

fn describe(state: &State) -> Value {
    let (pid, started, finished) = match state {
        State::Running(running) => (running.pid, Some(running.started), None),
        State::Exited(exited) => (0, Some(exited.started), Some(exited.finished)),
        State::Created | State::Removed { .. } => (0, None, None),
    };
    json!({
        "Status": state.status(),
        "Running": state.is_running(),
        "Paused": false,
        "Restarting": false,
        "Dead": matches!(state, State::Removed { .. }),
        "Pid": pid,
        "ExitCode": state.exit_code(),
        "Error": "",
        "StartedAt": started.map_or_else(|| NEVER.to_owned(), instant),
        "FinishedAt": finished.map_or_else(|| NEVER.to_owned(), instant),
    })
}

fn ports(state: &State) -> Value {
    match state {
        State::Running(running) => match running.host_port {
            Some(port) => json!({
                SIDECAR_PORT: [{ "HostIp": "127.0.0.1", "HostPort": port.to_string() }],
            }),
            None => json!({}),
        },
        _ => json!({}),
    }
}

fn instant(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time).to_string()
}
