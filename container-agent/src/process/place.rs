//! A process's place among those that run.

use std::sync::Arc;

use cabana_protocol::ProcessId;
use tokio::sync::OwnedSemaphorePermit;

use super::{Record, table::Table};

/// Leave to run.
#[derive(Debug)]
pub(super) struct Admission {
    /// Counts the processes.
    pub(super) number: u64,
    /// What it will be known by.
    pub(super) id: ProcessId,
    /// It is one of those that may run at once.
    pub(super) permit: OwnedSemaphorePermit,
}

/// The place of a process that is known. Dropping it says that the process has ended.
#[derive(Debug)]
pub(crate) struct Place {
    /// What is known of it.
    pub(crate) record: Arc<Record>,
    table: Arc<Table>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Makes a process known.
    pub(super) fn take(record: Arc<Record>, table: &Arc<Table>, permit: OwnedSemaphorePermit) -> Self {
        table.insert(Arc::clone(&record));
        Self { record, table: Arc::clone(table), _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.ended(&self.record);
    }
}
