//! `port.list`: who listens in the sandbox, as `/proc` tells it.

mod sockets;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use sockets::fuzz;

use std::{collections::HashMap, fs, io};

use cabana_protocol::{
    Error,
    port::{List, Port, Ports},
};

use crate::{
    Agent,
    dispatch::Handle,
    process::Origins,
    threads::{self, Length},
};
use sockets::Listening;

impl Handle<List> for Agent {
    async fn handle(&self, _: List) -> Result<Ports, Error> {
        let agent = self.clone();
        let ports = threads::run(Length::Short, move || list(&agent.processes.origins()?)).await?;
        ports.map(|ports| Ports { ports }).map_err(|error| Error::internal(format!("cannot look who listens: {error}")))
    }
}

fn list(origins: &Origins) -> io::Result<Vec<Port>> {
    let listening = sockets::listening()?;
    let holders = holders()?;
    let agent = std::process::id().cast_signed();
    let others = listening.into_iter().filter(|socket| holders.get(&socket.inode) != Some(&agent));
    let mut ports: Vec<_> = others.map(|socket| describe(&socket, holders.get(&socket.inode).copied(), origins)).collect();
    ports.sort_by(|one, other| {
        (one.port, one.protocol, &one.address, one.pid).cmp(&(other.port, other.protocol, &other.address, other.pid))
    });
    ports.dedup();
    Ok(ports)
}

fn describe(socket: &Listening, holder: Option<i32>, origins: &Origins) -> Port {
    let program = holder.and_then(|pid| fs::read(format!("/proc/{pid}/comm")).ok());
    Port {
        port: socket.address.port(),
        address: socket.address.ip().to_string(),
        protocol: socket.protocol,
        pid: holder.map(i32::unsigned_abs),
        program: program.map(|name| String::from_utf8_lossy(name.trim_ascii_end()).into_owned()),
        process: holder.and_then(|pid| origins.of(pid)),
    }
}

/// Who holds which socket: the lowest process number by the socket's inode. Processes that may not be looked at hold nothing.
fn holders() -> io::Result<HashMap<u64, i32>> {
    let mut pids: Vec<i32> =
        fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let mut holders = HashMap::new();
    for pid in pids {
        for descriptor in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            if let Some(inode) = fs::read_link(descriptor.path()).ok().and_then(|link| sockets::inode(link.to_str()?)) {
                holders.entry(inode).or_insert(pid);
            }
        }
    }
    Ok(holders)
}
