//! Capabilities of the sandbox's root user: those of Docker's default, except making device nodes.

use anyhow::{Context, Result};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

fn retained() -> CapabilitySet {
    CapabilitySet::AUDIT_WRITE
        | CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::KILL
        | CapabilitySet::NET_BIND_SERVICE
        | CapabilitySet::NET_RAW
        | CapabilitySet::SETFCAP
        | CapabilitySet::SETGID
        | CapabilitySet::SETPCAP
        | CapabilitySet::SETUID
        | CapabilitySet::SYS_CHROOT
}

/// Drops every other capability, for this process and all its children.
pub(super) fn drop_capabilities() -> Result<()> {
    let retained = retained();
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if !capability_is_in_bounding_set(capability).unwrap_or(false) {
            continue;
        }
        if !retained.contains(capability) {
            remove_capability_from_bounding_set(capability).context("dropping a capability")?;
        }
    }
    clear_ambient_capability_set().context("clearing ambient capabilities")?;
    let sets = CapabilitySets { effective: retained, permitted: retained, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).context("setting capabilities")
}
