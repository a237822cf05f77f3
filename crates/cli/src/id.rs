//! Sandboxes as they are named on the command line.

use std::str::FromStr;

use cabana_client::protocol::SandboxId;

/// The id of a sandbox. A name alone is one of the default kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named(pub(crate) SandboxId);

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = if text.contains(['-', '_']) { text.parse() } else { SandboxId::new(SandboxId::DEFAULT_KIND, text) };
        id.map(Self).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::Named;

    #[test]
    fn a_name_alone_is_of_the_default_kind() {
        let id = |text: &str| text.parse::<Named>().map(|named| named.0.to_string()).ok();
        for (text, expected) in [
            ("demo", Some("sbx-demo")),
            ("sbx-demo", Some("sbx-demo")),
            ("sbx_Demo", Some("sbx-demo")),
            ("python-a-b", Some("python-a-b")),
            ("", None),
            ("-a", None),
            ("a/b", None),
            ("a b", None),
        ] {
            assert_eq!(id(text).as_deref(), expected, "{text}");
        }
    }
}
