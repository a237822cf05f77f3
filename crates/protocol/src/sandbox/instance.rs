//! How large a sandbox's container is.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Error, names::invalid_field, union::text_or_object};

/// How much of a machine a sandbox gets: one of the platform's sizes by its name, or a size of one's own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Instance {
    /// A size by its name.
    Named(Size),
    /// A size of one's own: 1 to 4 processors, at least 3 GiB of memory for each and at most 12 GiB in all, at most 2 GB of disk for each
    /// GiB of memory and at most 20 GB in all.
    Custom(Resources),
}

impl<'de> Deserialize<'de> for Instance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            vcpu: f64,
            memory_mib: u32,
            disk_mb: u32,
        }
        let takes = "`lite`, `standard-1`, `standard-2`, `standard-3`, `standard-4` or {\"vcpu\", \"memory_mib\", \"disk_mb\"}";
        let named = |name: String| Size::ALL.into_iter().find(|size| size.as_str() == name).map(Self::Named);
        let custom = |Fields { vcpu, memory_mib, disk_mb }| Some(Self::Custom(Resources { vcpu, memory_mib, disk_mb }));
        text_or_object(deserializer, takes, named, custom)
    }
}

/// The platform's sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Size {
    /// 1/16 of a processor, 256 MiB, 2 GB.
    #[serde(rename = "lite")]
    Lite,
    /// 1/2 of a processor, 4 GiB, 8 GB.
    #[serde(rename = "standard-1")]
    Standard1,
    /// 1 processor, 6 GiB, 12 GB.
    #[serde(rename = "standard-2")]
    Standard2,
    /// 2 processors, 8 GiB, 16 GB.
    #[serde(rename = "standard-3")]
    Standard3,
    /// 4 processors, 12 GiB, 20 GB.
    #[serde(rename = "standard-4")]
    Standard4,
}

/// What a size amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Resources {
    /// Processors.
    pub vcpu: f64,
    /// Memory, in MiB.
    pub memory_mib: u32,
    /// Disk, in MB.
    pub disk_mb: u32,
}

impl Size {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Lite, Self::Standard1, Self::Standard2, Self::Standard3, Self::Standard4];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lite => "lite",
            Self::Standard1 => "standard-1",
            Self::Standard2 => "standard-2",
            Self::Standard3 => "standard-3",
            Self::Standard4 => "standard-4",
        }
    }
}

impl Default for Instance {
    /// What the platform takes where nothing is said.
    fn default() -> Self {
        Self::Named(Size::Lite)
    }
}

impl Instance {
    /// Whether the platform has this size.
    ///
    /// Fails with `invalid_request`, saying which bound is passed.
    pub fn check(&self) -> Result<(), Error> {
        let Self::Custom(Resources { vcpu, memory_mib, disk_mb }) = *self else { return Ok(()) };
        let (memory, disk) = (f64::from(memory_mib), f64::from(disk_mb));
        let (field, takes) = if !(1.0..=4.0).contains(&vcpu) {
            ("instance.vcpu", "1 to 4; smaller sizes have names")
        } else if memory < vcpu * 3_072.0 || memory > 12_288.0 {
            ("instance.memory_mib", "at least 3,072 for each `vcpu`, and at most 12,288")
        } else if disk_mb == 0 || disk > memory / 1_024.0 * 2_000.0 || disk > 20_000.0 {
            ("instance.disk_mb", "at least 1, at most 2,000 for each 1,024 of `memory_mib`, and at most 20,000")
        } else {
            return Ok(());
        };
        Err(invalid_field(field, takes))
    }

    /// What it amounts to.
    pub fn resources(&self) -> Resources {
        let (vcpu, memory_mib, disk_mb) = match self {
            Self::Custom(resources) => return *resources,
            Self::Named(Size::Lite) => (0.0625, 256, 2_000),
            Self::Named(Size::Standard1) => (0.5, 4_096, 8_000),
            Self::Named(Size::Standard2) => (1.0, 6_144, 12_000),
            Self::Named(Size::Standard3) => (2.0, 8_192, 16_000),
            Self::Named(Size::Standard4) => (4.0, 12_288, 20_000),
        };
        Resources { vcpu, memory_mib, disk_mb }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> bool {
        serde_json::from_str::<Instance>(json).is_ok_and(|instance| instance.check().is_ok())
    }

    #[test]
    fn sizes() {
        for json in [
            r#""lite""#,
            r#""standard-4""#,
            r#"{"vcpu":1,"memory_mib":3072,"disk_mb":6000}"#,
            r#"{"vcpu":1.5,"memory_mib":6144,"disk_mb":1}"#,
            r#"{"vcpu":4,"memory_mib":12288,"disk_mb":20000}"#,
        ] {
            assert!(check(json), "{json}");
        }
    }

    #[test]
    fn what_the_platform_does_not_have() {
        for json in [
            r#""basic""#,
            r#""standard-5""#,
            r#""LITE""#,
            "1",
            "null",
            "{}",
            r#"{"vcpu":1,"memory_mib":3072}"#,
            r#"{"vcpu":0.5,"memory_mib":3072,"disk_mb":1000}"#,
            r#"{"vcpu":5,"memory_mib":12288,"disk_mb":1000}"#,
            r#"{"vcpu":2,"memory_mib":6143,"disk_mb":1000}"#,
            r#"{"vcpu":1,"memory_mib":12289,"disk_mb":1000}"#,
            r#"{"vcpu":1,"memory_mib":3072,"disk_mb":6001}"#,
            r#"{"vcpu":1,"memory_mib":3072,"disk_mb":0}"#,
            r#"{"vcpu":1,"memory_mib":-1,"disk_mb":1000}"#,
        ] {
            assert!(!check(json), "{json}");
        }
    }
}
