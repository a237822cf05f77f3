//! How far a sandbox is on its way to be what its project wants, as it is stored.

use std::rc::Rc;

use cabana_protocol::{
    Code, Error,
    project::ProjectName,
    sandbox::{Setup, SetupState},
};

use crate::{lifecycle::Instant, sandbox::life::Life};

impl Life {
    /// When the sandbox was made; `None` where there is none.
    pub(super) fn made_at(&self) -> Option<Instant> {
        self.record.borrow().as_ref().map(|record| record.lifecycle.created_at)
    }

    /// Makes it a sandbox of a project.
    pub(super) fn join(self: &Rc<Self>, project: &ProjectName) -> Result<(), Error> {
        if let Some(record) = self.record.borrow_mut().as_mut() {
            record.project = Some(project.to_string());
        }
        self.set_up(|_| {})
    }

    /// Notes how far it is.
    pub(super) fn set_up(self: &Rc<Self>, change: impl FnOnce(&mut Setup)) -> Result<(), Error> {
        let mut slot = self.record.borrow_mut();
        let Some(record) = slot.as_mut() else { return Ok(()) };
        change(record.setup.get_or_insert_default());
        self.store(record)?;
        drop(slot);
        self.list();
        Ok(())
    }

    /// Notes that nobody goes on with what was under way when the object left memory.
    pub(in crate::sandbox) fn give_up_setup(self: &Rc<Self>) -> Result<(), Error> {
        let state = self.record.borrow().as_ref().and_then(|record| record.setup.as_ref()).map(|setup| setup.state);
        if !matches!(state, Some(SetupState::Cloning | SetupState::Running)) {
            return Ok(());
        }
        let ended = || Some(Error::new(Code::Interrupted, "the sandbox's object ended meanwhile"));
        self.set_up(|setup| *setup = Setup { state: SetupState::Failed, error: ended(), ..setup.clone() })
    }
}
