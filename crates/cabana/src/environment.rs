//! The variables of a sandbox's commands, layer by layer. Pure.

use std::collections::BTreeMap;

use cabana_protocol::{
    Error,
    variables::{ImageVariables, Origin, Variable, VariableChanges, VariableList},
};
use serde_json::json;

/// The most that the names and values of a sandbox's own variables may take: they are handed to its agent as one of the container's.
const MAX_BYTES: usize = 64 << 10;

/// What the names of variables hold whose values are not shown.
const SECRET_NAMES: [&str; 6] = ["KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL", "AUTH"];

/// Changes of the image's variables, each layer on top of those before it.
pub(crate) struct Layers<'a>(pub(crate) [(Origin, &'a VariableChanges); 3]);

impl Layers<'_> {
    /// All of them as one.
    pub(crate) fn merged(&self) -> VariableChanges {
        self.0.iter().flat_map(|(_, changes)| changes.iter()).map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// What callers are shown of them, on top of the image's where these are known.
    pub(crate) fn describe(&self, image: Option<ImageVariables>) -> VariableList {
        let has_image = image.is_some();
        let image = image.map(|image| image.env).unwrap_or_default();
        let mut shown: BTreeMap<String, (Origin, String)> =
            image.into_iter().map(|(name, value)| (name, (Origin::Image, value))).collect();
        for (origin, changes) in self.0 {
            for (name, value) in changes {
                match value {
                    Some(value) => shown.insert(name.clone(), (origin, value.clone())),
                    None => shown.remove(name),
                };
            }
        }
        let show = |(name, (origin, value)): (String, (Origin, String))| {
            let value = Some(value).filter(|_| !is_secret(origin, &name));
            Variable { name, value, origin }
        };
        VariableList { items: shown.into_iter().map(show).collect(), has_image }
    }
}

/// A sandbox's own variables after a change.
///
/// Fails with `invalid_request` where they become too many.
pub(crate) fn change(env: &VariableChanges, changes: Option<VariableChanges>) -> Result<VariableChanges, Error> {
    let changed = changes.map_or_else(VariableChanges::new, |changes| env.clone().into_iter().chain(changes).collect());
    check_size(&changed)?;
    Ok(changed)
}

/// Fails with `invalid_request` where these are too many for one sandbox.
pub(crate) fn check_size(env: &VariableChanges) -> Result<(), Error> {
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len)).sum();
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let message = format!("`env`: the variables of a sandbox take at most {MAX_BYTES} bytes, these take {bytes}");
    Err(Error::invalid_request(message).with_details(json!({ "reason": "limit", "field": "env", "limit_bytes": MAX_BYTES })))
}

/// A caller who may look at a sandbox need not know the values that its owner or its project has set.
fn is_secret(origin: Origin, name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    origin >= Origin::Project || SECRET_NAMES.iter().any(|part| upper.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(pairs: &[(&str, Option<&str>)]) -> VariableChanges {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
    }

    #[test]
    fn each_layer_comes_on_top_of_those_before() {
        let kind = changes(&[("A", Some("kind")), ("B", Some("kind")), ("C", Some("kind")), ("API_KEY", Some("kind"))]);
        let project = changes(&[("B", Some("project")), ("C", None), ("D", Some("project"))]);
        let sandbox = changes(&[("D", None), ("E", Some("")), ("F", None)]);
        let layers = Layers([(Origin::Kind, &kind), (Origin::Project, &project), (Origin::Sandbox, &sandbox)]);
        let merged = [
            ("A", Some("kind")),
            ("B", Some("project")),
            ("C", None),
            ("D", None),
            ("E", Some("")),
            ("F", None),
            ("API_KEY", Some("kind")),
        ];
        assert_eq!(layers.merged(), changes(&merged));
        let image = ["A", "F", "G", "GH_TOKEN"].map(|name| (name.to_owned(), "image".to_owned())).into();
        let shown = layers.describe(Some(ImageVariables { env: image }));
        let shown: Vec<_> = shown.items.iter().map(|one| (one.name.as_str(), one.value.as_deref(), one.origin)).collect();
        let expected = [
            ("A", Some("kind"), Origin::Kind),
            ("API_KEY", None, Origin::Kind),
            ("B", None, Origin::Project),
            ("E", None, Origin::Sandbox),
            ("G", Some("image"), Origin::Image),
            ("GH_TOKEN", None, Origin::Image),
        ];
        assert_eq!(shown, expected);
        assert!(!layers.describe(None).has_image);
    }

    #[test]
    fn a_change_names_some_variables_and_null_forgets_all() {
        let env = changes(&[("A", Some("1")), ("B", Some("1"))]);
        let some = change(&env, Some(changes(&[("A", None), ("C", Some("2"))]))).unwrap();
        assert_eq!(some, changes(&[("A", None), ("B", Some("1")), ("C", Some("2"))]));
        assert_eq!(change(&env, None).unwrap(), VariableChanges::new());
        let large = "x".repeat(MAX_BYTES - 3);
        assert!(change(&env, Some(changes(&[("C", Some(&large))]))).is_err(), "together they are too many");
        assert!(change(&VariableChanges::new(), Some(changes(&[("C", Some(&large))]))).is_ok());
    }
}
