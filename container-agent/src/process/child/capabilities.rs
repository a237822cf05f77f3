//! What a command may do beyond its user's rights, capabilities(7).

use std::str::FromStr;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities,
};

/// What Docker grants by default: enough for `sudo`, package managers and servers, and nothing that reaches beyond the container.
const ORDINARY: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP);

/// Never left to a command: with it root in the sandbox could read the agent's memory, and its secret.
const NEVER: CapabilitySet = CapabilitySet::SYS_PTRACE;

/// What commands may have beyond [`ORDINARY`], where the agent has it: `all`, or names as in `SYS_ADMIN,NET_ADMIN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptCapabilities(CapabilitySet);

impl Default for KeptCapabilities {
    fn default() -> Self {
        Self(ORDINARY)
    }
}

impl FromStr for KeptCapabilities {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut kept = ORDINARY;
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let name = word.to_ascii_uppercase();
            let name = name.strip_prefix("CAP_").unwrap_or(&name);
            kept |= match name {
                "ALL" => CapabilitySet::all(),
                name => CapabilitySet::from_name(name).ok_or_else(|| format!("{word:?} is no capability"))?,
            };
        }
        Ok(Self(kept - NEVER))
    }
}

impl KeptCapabilities {
    /// Leaves children no other capabilities, as any user and with any program; the agent keeps its own. To be called
    /// while there is one thread, which the others inherit this from. Where the agent may not (CAP_SETPCAP), it changes nothing.
    pub fn limit_children(self) {
        let refused = CapabilitySet::all() - self.0;
        for capability in refused.iter() {
            // Fails too for what this kernel does not know.
            let _ = remove_capability_from_bounding_set(capability);
        }
        let _ = clear_ambient_capability_set();
        let _ = capabilities(None)
            .and_then(|sets| set_capabilities(None, CapabilitySets { inheritable: CapabilitySet::empty(), ..sets }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_names_what_commands_keep() {
        let kept = |text: &str| text.parse::<KeptCapabilities>().map(|kept| kept.0);
        assert_eq!(kept(""), Ok(ORDINARY));
        assert_eq!(kept("sys_admin, CAP_NET_ADMIN"), Ok(ORDINARY | CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN));
        assert_eq!(kept("all"), Ok(CapabilitySet::all() - NEVER));
        assert_eq!(kept("SYS_PTRACE"), Ok(ORDINARY), "it would open the agent's memory");
        assert!(kept("SYS_ADMIN,ROOT").unwrap_err().contains("ROOT"));
    }
}
