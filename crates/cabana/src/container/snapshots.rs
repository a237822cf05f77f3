//! Snapshots of a container's files, which workers-rs does not know.

use js_sys::{Object, Reflect};
use wasm_bindgen::JsValue;

use super::{Container, get, outcome};

impl Container {
    /// Whether the platform takes snapshots of it: only under the scheduling policy with named images.
    pub(crate) fn takes_snapshots(&self) -> bool {
        let container: &JsValue = self.0.as_ref();
        get(container, "images").is_some_and(|images| images.is_object())
            && get(container, "snapshotContainer").is_some_and(|method| method.is_function())
    }

    /// Takes a snapshot of its files while it runs; the platform's name for it, and its size in bytes.
    pub(crate) fn snapshot(&self) -> impl Future<Output = Result<(String, u64), JsValue>> + use<> {
        // The platform refuses a call without an argument.
        let taken = outcome(self.call("snapshotContainer", &[Object::new().into()]));
        async move {
            let snapshot = taken.await?;
            let id = get(&snapshot, "id").and_then(|id| id.as_string());
            let id = id.ok_or_else(|| JsValue::from_str("the platform's snapshot has no id"))?;
            let size = get(&snapshot, "size").and_then(|size| size.as_f64()).unwrap_or_default();
            Ok((id, size as u64))
        }
    }
}

/// A snapshot as a start takes it.
pub(super) fn reference(id: &str) -> Result<JsValue, JsValue> {
    let snapshot = Object::new();
    Reflect::set(&snapshot, &"id".into(), &id.into())?;
    Ok(snapshot.into())
}
