//! Which containers a list shows.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::container::Identity;

/// Docker's `filters` parameter of containers: labels and names. Any other filter is refused rather than ignored, since
/// clients remove the containers that a list shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filters {
    /// `name`, or `name=value`: all must match.
    labels: Vec<String>,
    /// Parts of names: one must match.
    names: Vec<String>,
}

/// Docker's clients write a list, older ones a set.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    List(Vec<String>),
    Set(BTreeMap<String, bool>),
}

impl Values {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::List(values) => values,
            Self::Set(values) => values.into_iter().filter_map(|(value, wanted)| wanted.then_some(value)).collect(),
        }
    }
}

impl Filters {
    /// Reads the parameter; empty text filters nothing.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut filters = Self::default();
        if text.is_empty() {
            return Ok(filters);
        }
        let given: BTreeMap<String, Values> = serde_json::from_str(text).map_err(|error| format!("filters: {error}"))?;
        for (kind, values) in given {
            match kind.as_str() {
                "label" => filters.labels = values.into_vec(),
                "name" => filters.names = values.into_vec(),
                other => return Err(format!("invalid filter {other:?}: label and name are known")),
            }
        }
        Ok(filters)
    }

    /// Whether a container is shown.
    pub(super) fn admit(&self, identity: &Identity) -> bool {
        let has = |label: &String| match label.split_once('=') {
            Some((name, value)) => identity.spec.labels.get(name).is_some_and(|own| own == value),
            None => identity.spec.labels.contains_key(label),
        };
        let named = |name: &String| identity.name.contains(name.trim_start_matches('/'));
        self.labels.iter().all(has) && (self.names.is_empty() || self.names.iter().any(named))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::container::Container;
    use crate::container::spec::Spec;
    use crate::image::Image;

    fn check(filters: &str, expected: bool) {
        let spec = Spec::parse(br#"{"Image":"a","Labels":{"s":"1","t":""}}"#).unwrap();
        let (container, _channels) = Container::new("box-1".to_owned(), spec, Image::new("a", BTreeSet::new()));
        let filters = Filters::parse(filters).unwrap();
        assert_eq!(filters.admit(container.identity()), expected, "{filters:?}");
    }

    #[test]
    fn labels_and_names_select_containers() {
        check("", true);
        check(r#"{"label":["s=1","t"]}"#, true);
        check(r#"{"label":{"s=1":true}}"#, true);
        check(r#"{"label":["s=2"]}"#, false);
        check(r#"{"label":["u"]}"#, false);
        check(r#"{"name":["other","box"]}"#, true);
        check(r#"{"name":["other"]}"#, false);
    }

    #[test]
    fn unknown_filters_are_refused() {
        assert!(Filters::parse(r#"{"status":["exited"]}"#).is_err());
        assert!(Filters::parse("[]").is_err());
    }
}
