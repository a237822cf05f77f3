//! `port.list`: who listens in the sandbox, as `/proc` tells it. `port.connect` is in [`connect`].

mod connect;
mod sockets;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use sockets::fuzz;

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use cabana_protocol::{
    Error,
    port::{List, Port, Ports, RESERVED_PORTS},
};

use crate::{
    Agent,
    dispatch::Handle,
    process::{self, Origins},
    threads::{self, Length},
};
use sockets::Listening;

/// Most addresses that are probed for one port.
const MAX_ADDRESSES: usize = 16;

impl Handle<List> for Agent {
    async fn handle(&self, _: List) -> Result<Ports, Error> {
        let agent = self.clone();
        let ports = threads::run(Length::Short, move || list(&agent.processes.origins()?)).await?;
        ports.map(|ports| Ports { ports }).map_err(|error| Error::internal(format!("cannot read the listening sockets: {error}")))
    }
}

/// The loopback addresses on which this port may be reached: those of both versions of IP, and others that a program has bound.
pub(crate) fn loopback(port: u16) -> Vec<IpAddr> {
    let bound = sockets::listening().unwrap_or_default();
    let bound = bound.into_iter().filter(|socket| socket.address.port() == port).map(|socket| socket.address.ip().to_canonical());
    let usual = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let others = bound.filter(|address| address.is_loopback() && !usual.contains(address));
    let mut addresses: Vec<_> = usual.into_iter().chain(others).collect();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

fn list(origins: &Origins) -> io::Result<Vec<Port>> {
    let listening = sockets::listening()?;
    let holders = holders()?;
    let agent = std::process::id().cast_signed();
    let is_shown = |socket: &Listening| match holders.get(&socket.inode) {
        Some(holder) => *holder != agent,
        // The network sidecar of the development engine listens from outside of the sandbox.
        None => !RESERVED_PORTS.contains(&socket.address.port()),
    };
    let mut ports: Vec<_> = listening
        .into_iter()
        .filter(is_shown)
        .map(|socket| describe(&socket, holders.get(&socket.inode).copied(), origins))
        .collect();
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

/// The holder of each socket: the lowest process number by the socket's inode. Processes that may not be looked at hold nothing.
fn holders() -> io::Result<HashMap<u64, i32>> {
    let mut pids: Vec<i32> =
        fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let mut holders = HashMap::new();
    for pid in pids {
        for link in process::descriptors(pid) {
            if let Some(inode) = link.to_str().and_then(sockets::inode) {
                holders.entry(inode).or_insert(pid);
            }
        }
    }
    Ok(holders)
}
