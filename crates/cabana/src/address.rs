//! Which Durable Object is a sandbox's: ids belong to their tenant, so that an id alone does not say it. Pure.

use std::{fmt, str::FromStr};

use cabana_protocol::{Error, SandboxId, Tenant};
use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

/// A sandbox's id, and whose it is. As text it is the name of the sandbox's Durable Object: the id alone for the default tenant, and with
/// the tenant's tag for any other, `sbx-a@k3x9ab`.
///
/// Two tenants of one tag share their objects. Each object knows its tenant by name: the second to ask for the same id is told that it is taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    id: SandboxId,
    /// `None`: the default tenant's.
    tag: Option<Tag>,
}

/// What stands for a tenant where a name would be too long: 6 characters of `[a-z2-7]`, 30 bits of its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tag([u8; Tag::LENGTH]);

/// Between id and tag.
const SEPARATOR: char = '@';

impl Address {
    /// The address of a tenant's sandbox.
    pub fn new(id: SandboxId, tenant: &Tenant) -> Self {
        Self { id, tag: Tag::of_other(tenant) }
    }

    /// The same by what stands for the tenant; the default tenant's own tag is good, too.
    pub(crate) fn tagged(id: SandboxId, tag: Option<Tag>) -> Self {
        Self { id, tag: tag.filter(|tag| *tag != Tag::of(&Tenant::default())) }
    }

    /// The sandbox's id within its tenant.
    pub fn id(&self) -> &SandboxId {
        &self.id
    }

    /// The tenant's tag, unless it is the default tenant.
    pub(crate) fn tag(&self) -> Option<Tag> {
        self.tag
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tag {
            None => write!(formatter, "{}", self.id),
            Some(tag) => write!(formatter, "{}{SEPARATOR}{}", self.id, tag.as_str()),
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once(SEPARATOR) {
            None => Ok(Self { id: text.parse()?, tag: None }),
            Some((id, tag)) => Ok(Self { id: id.parse()?, tag: Some(tag.parse()?) }),
        }
    }
}

impl Tag {
    /// In characters.
    pub(crate) const LENGTH: usize = 6;

    /// The tenant's, unless it is the default tenant.
    pub(crate) fn of_other(tenant: &Tenant) -> Option<Self> {
        (*tenant != Tenant::default()).then(|| Self::of(tenant))
    }

    pub(crate) fn of(tenant: &Tenant) -> Self {
        let text = BASE32_NOPAD.encode(&Sha256::digest(tenant.as_str())).to_ascii_lowercase();
        let mut tag = [0; Self::LENGTH];
        tag.copy_from_slice(&text.as_bytes()[..Self::LENGTH]);
        Self(tag)
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Tag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let tag = text.as_bytes().try_into().ok();
        let tag = tag.filter(|tag: &[u8; Self::LENGTH]| tag.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')));
        tag.map(Self).ok_or_else(|| Error::internal("not the tag of a tenant"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(id: &str, tenant: &str) -> Address {
        Address::new(id.parse().unwrap(), &tenant.parse().unwrap())
    }

    #[test]
    fn each_tenant_has_objects_of_its_own() {
        assert_eq!(address("sbx-a", "default").to_string(), "sbx-a");
        let names = ["default", "acme", "acme-2", "a"].map(|tenant| address("sbx-a", tenant).to_string());
        for (number, name) in names.iter().enumerate() {
            assert!(!names[..number].contains(name) && (name == "sbx-a" || name.len() == "sbx-a@".len() + Tag::LENGTH), "{name}");
        }
    }

    #[test]
    fn names_of_objects_there_and_back() {
        for tenant in ["default", "acme", &"t".repeat(64)] {
            let address = address("sbx-build-7", tenant);
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        for odd in
            ["", "@abcdef", "sbx-a@", "sbx-a@abcde", "sbx-a@abcdefg", "sbx-a@ABCDEF", "sbx-a@abc189", "sbx-a@abcdef@abcdef"]
        {
            assert!(odd.parse::<Address>().is_err(), "{odd}");
        }
    }

    #[test]
    fn the_default_tenants_tag_changes_nothing() {
        let plain = address("sbx-a", "default");
        assert_eq!(Address::tagged(plain.id().clone(), Some(Tag::of(&Tenant::default()))), plain);
        assert_eq!(Address::tagged(plain.id().clone(), None), plain);
    }
}
