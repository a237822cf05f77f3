//! Files that callers make belong to the user whom commands run as.
//!
//! Linux lets each thread have an effective user of its own (credentials(7)), in whose name it makes files. So all that an operation
//! makes, directories on the way included, belongs to that user before anybody sees it, and no operation has to think of it. The
//! agent's capabilities stay: a file of root's in the sandbox can be read, replaced and removed as ever, and stays root's when it
//! is replaced.

use std::marker::PhantomData;

use rustix::{
    process::{Gid, Uid, getegid, geteuid},
    thread::{CapabilitySets, capabilities, set_capabilities, set_thread_res_gid, set_thread_res_uid},
};

use crate::process::Identity;

/// A user other than the agent's own, for whom files are made.
#[derive(Debug)]
pub struct AsUser {
    uid: Uid,
    gid: Gid,
    own_uid: Uid,
    own_gid: Gid,
    capabilities: CapabilitySets,
}

/// While this lives, what this thread makes belongs to the user.
#[derive(Debug)]
pub struct AsUserGuard<'a> {
    user: &'a AsUser,
    _of_this_thread: PhantomData<*const ()>,
}

impl AsUser {
    /// This user.
    ///
    /// Fails where the agent may not make files in its name.
    pub fn new(identity: &Identity) -> rustix::io::Result<Self> {
        let (own_uid, own_gid) = (geteuid(), getegid());
        let user = Self { uid: identity.uid, gid: identity.gid, own_uid, own_gid, capabilities: capabilities(None)? };
        user.enter().map(drop)?;
        Ok(user)
    }

    /// What this thread makes belongs to this user until the guard is dropped.
    pub fn enter(&self) -> rustix::io::Result<AsUserGuard<'_>> {
        let guard = AsUserGuard { user: self, _of_this_thread: PhantomData };
        set_thread_res_gid(None, self.gid, None)?;
        set_thread_res_uid(None, self.uid, None)?;
        // The kernel has taken them away along with root's number.
        set_capabilities(None, self.capabilities)?;
        Ok(guard)
    }
}

impl Drop for AsUserGuard<'_> {
    fn drop(&mut self) {
        // Neither fails: the thread's real user and group have not changed.
        let _ = set_thread_res_uid(None, self.user.own_uid, None);
        let _ = set_thread_res_gid(None, self.user.own_gid, None);
    }
}
