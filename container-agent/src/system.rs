//! `system.stats` and `system.info`: how much of the sandbox is used, and what it is. Read anew for each request, on a thread that
//! may block: nothing of it is worth keeping.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod info;
mod memory;
mod processors;

use std::{io, path::Path};

use cabana_protocol::{
    Error,
    system::{Cpu, Info, Space, Stats, System, Usage},
};

use crate::{
    Agent,
    dispatch::Handle,
    threads::{self, Length},
};

impl Handle<Stats> for Agent {
    async fn handle(&self, _: Stats) -> Result<Usage, Error> {
        look(self, usage).await
    }
}

impl Handle<Info> for Agent {
    async fn handle(&self, _: Info) -> Result<System, Error> {
        look(self, |agent| Ok(info::read(agent))).await
    }
}

async fn look<T: Send + 'static>(agent: &Agent, look: impl FnOnce(&Agent) -> io::Result<T> + Send + 'static) -> Result<T, Error> {
    let agent = agent.clone();
    let looked = threads::run(Length::Short, move || look(&agent)).await?;
    looked.map_err(|error| Error::internal(format!("cannot read the system's state: {error}")))
}

fn usage(agent: &Agent) -> io::Result<Usage> {
    let (processes, used) = processors::spent()?;
    Ok(Usage {
        cpu: Cpu { used_ms: u64::try_from(used.as_millis()).unwrap_or(u64::MAX), count: processors::count()? },
        memory: memory::read()?,
        disk: disk(agent.fs.roots().first())?,
        processes,
        uptime_ms: u64::try_from(agent.started.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// The memory of the sandbox, or of the machine where the sandbox has no limit.
pub(crate) fn memory_bytes() -> Option<u64> {
    memory::read().ok().map(|space| space.total_bytes)
}

fn disk(path: &Path) -> io::Result<Space> {
    let disk = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Ok(Space { used_bytes: bytes(disk.f_blocks.saturating_sub(disk.f_bfree)), total_bytes: bytes(disk.f_blocks) })
}
