//! The Worker's variables.

use worker::{
    Env,
    js_sys::{JSON, Reflect},
    wasm_bindgen::{JsCast, JsValue},
};

/// A variable or secret of the Worker as text; `None` where it is not set or no plain value.
pub fn variable(env: &Env, name: &str) -> Option<String> {
    let value = Reflect::get(env.unchecked_ref::<JsValue>(), &JsValue::from_str(name)).ok()?;
    let number = || value.as_f64().map(|number| number.to_string());
    value.as_string().or_else(number).or_else(|| value.as_bool().map(|boolean| boolean.to_string()))
}

/// A variable that holds JSON, as text: wrangler.jsonc may have it as an object, too.
pub(crate) fn json_variable(env: &Env, name: &str) -> Option<String> {
    let value = Reflect::get(env.unchecked_ref::<JsValue>(), &name.into()).ok().filter(|value| !value.is_undefined())?;
    let object = || JSON::stringify(&value).ok().and_then(|text| text.as_string());
    value.as_string().or_else(object)
}
