//! Files of the containers of this world, and the snapshots of them. A file is the number of the command that has written it.

use std::{collections::BTreeSet, rc::Rc};

use super::World;
use crate::lifecycle::Policy;

pub(in super::super) type Files = BTreeSet<u8>;

impl World {
    /// A world whose platform takes snapshots.
    pub(in super::super) fn with_snapshots(policy: Policy) -> Rc<Self> {
        let mut world = Self::new(policy);
        Rc::get_mut(&mut world).expect("nobody has it yet").rules.snapshots = true;
        world
    }

    /// The files of the container that runs.
    pub(in super::super) fn files(&self) -> Files {
        self.container.borrow().as_ref().map(|running| running.files.clone()).unwrap_or_default()
    }

    /// A command writes its file.
    pub(super) fn write_file(&self, number: u8) {
        if let Some(running) = self.container.borrow_mut().as_mut() {
            running.files.insert(number);
        }
    }

    /// Keeps these files; says under which name.
    pub(super) fn keep(&self, files: Files) -> String {
        let mut snapshots = self.snapshots.borrow_mut();
        let id = format!("snapshot-{}", snapshots.len());
        snapshots.insert(id.clone(), files);
        id
    }

    /// The platform forgets every snapshot, those of later times too.
    pub(in super::super) fn forget_snapshots(&self) {
        self.forgotten.set(true);
    }

    /// How many snapshots were taken.
    pub(in super::super) fn snapshots_taken(&self) -> usize {
        self.snapshots.borrow().len()
    }

    /// The files that a start with this snapshot begins with; `None` where the platform does not have it.
    pub(super) fn files_of(&self, snapshot: Option<&str>) -> Option<Files> {
        match snapshot {
            None => Some(Files::new()),
            Some(_) if self.forgotten.get() => None,
            Some(id) => self.snapshots.borrow().get(id).cloned(),
        }
    }
}
