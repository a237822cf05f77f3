//! wrangler.jsonc: the blocks that follow from the kinds. What else stands there, comments too, stays as it is.

use super::kind::{Image, Kind, Kinds};
use anyhow::{Context, Result, bail};
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstNode, CstObject, CstRootNode};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The class that every kind is in which has none of its own, and its binding.
const DEFAULT_CLASS: (&str, &str) = ("SANDBOX", "Sandbox");

/// The text with the blocks brought into step. `deleted` names the classes that may go.
///
/// Fails where a class would go that is not named.
pub(super) fn update(text: &str, kinds: &Kinds, deleted: &[String]) -> Result<String> {
    let tree = CstRootNode::parse(text, &ParseOptions::default()).context("it is no JSON with comments")?;
    let root = tree.object_value_or_create().context("it is no object")?;
    let classes: BTreeMap<String, String> =
        kinds.classes().chain([(DEFAULT_CLASS.0.to_owned(), DEFAULT_CLASS.1.to_owned())]).collect();
    let dropped = bindings(&root, &classes, deleted)?;
    containers(&root, kinds, &dropped)?;
    migrations(&root, classes.values(), &dropped)?;
    let variables = root.object_value_or_create("vars").context("vars is no object")?;
    set(&variables, "CABANA_KINDS", &description(kinds));
    Ok(tree.to_string())
}

/// Binds every class, and returns those of ours that no kind has any more.
fn bindings(root: &CstObject, classes: &BTreeMap<String, String>, deleted: &[String]) -> Result<Vec<String>> {
    let objects = root.object_value_or_create("durable_objects").context("durable_objects is no object")?;
    let list = objects.array_value_or_create("bindings").context("durable_objects.bindings is no array")?;
    let mut dropped = Vec::new();
    let mut bound = BTreeSet::new();
    for element in list.elements() {
        let (name, class) = (text_of(&element, "name"), text_of(&element, "class_name"));
        if classes.get(&name).is_some_and(|wanted| *wanted == class) {
            bound.insert(name);
        } else if name.ends_with("_SANDBOX") && class.ends_with("Sandbox") {
            if !deleted.contains(&class) {
                bail!(
                    "no kind has the class {class} any more; `cargo xtask sync --delete-class {class}` gives up all its sandboxes"
                );
            }
            element.remove();
            dropped.push(class);
        }
    }
    if bound.len() < classes.len() {
        list.ensure_multiline();
    }
    for (name, class) in classes.iter().filter(|(name, _)| !bound.contains(*name)) {
        list.append(object([("name", name.as_str().into()), ("class_name", class.as_str().into())]));
    }
    Ok(dropped)
}

/// Gives each class a container with the images of its kinds.
fn containers(root: &CstObject, kinds: &Kinds, dropped: &[String]) -> Result<()> {
    let list = root.array_value_or_create("containers").context("containers is no array")?;
    list.elements().into_iter().filter(|element| dropped.contains(&text_of(element, "class_name"))).for_each(CstNode::remove);
    let mut images: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (name, kind) in &kinds.0 {
        images.entry(kind.class(name)).or_default().insert(name.clone(), image(kind));
    }
    for (class, images) in images {
        let present = list.elements().into_iter().find(|element| text_of(element, "class_name") == class);
        match present.and_then(|element| element.as_object()) {
            Some(container) => {
                let object = container.object_value_or_set("images");
                let gone = |name: &str| !images.contains_key(name);
                object.properties().into_iter().filter(|image| image.decoded_name().is_some_and(|name| gone(&name))).for_each(
                    |image| {
                        image.remove();
                    },
                );
                images.iter().for_each(|(name, image)| set(&object, name, image));
            }
            None => {
                let images = input(&Value::Object(images));
                let policy = ("scheduling_policy", "durable_object".into());
                list.append(object([("class_name", class.into()), policy, ("images", images)]));
            }
        }
    }
    Ok(())
}

/// Adds a migration for each class that none has made yet, and one for those that go. What stands there may be deployed, and stays.
fn migrations<'a>(root: &CstObject, classes: impl Iterator<Item = &'a String>, dropped: &[String]) -> Result<()> {
    let list = root.array_value_or_create("migrations").context("migrations is no array")?;
    let mut made = BTreeSet::new();
    for migration in list.elements().iter().filter_map(CstNode::to_serde_value) {
        let names = |key: &str| migration[key].as_array().cloned().unwrap_or_default().into_iter();
        made.extend(names("new_sqlite_classes").filter_map(|name| name.as_str().map(str::to_owned)));
        names("deleted_classes").filter_map(|name| name.as_str().map(str::to_owned)).for_each(|name| {
            made.remove(&name);
        });
    }
    let add = |key: &str, class: &str| {
        let tag = format!("v{}", list.elements().len() + 1);
        list.ensure_multiline();
        list.append(object([("tag", tag.into()), (key, vec![class].into())]));
    };
    classes.filter(|class| !made.contains(*class)).for_each(|class| add("new_sqlite_classes", class));
    dropped.iter().filter(|class| made.contains(*class)).for_each(|class| add("deleted_classes", class));
    Ok(())
}

/// What wrangler is to build, or take, for a kind.
fn image(kind: &Kind) -> Value {
    let dockerfile = match &kind.image {
        Image::Reference(reference) => return json!({ "image": reference }),
        Image::Dockerfile(dockerfile) => dockerfile,
    };
    let mut variables = kind.declaration.build_vars.clone();
    // The image is another one with each version of the agent in it.
    variables.entry("CABANA_VERSION".to_owned()).or_insert_with(|| env!("CARGO_PKG_VERSION").to_owned());
    json!({ "dockerfile": format!("./{dockerfile}"), "build_context": ".", "build_vars": variables })
}

/// What the Worker is told of the kinds.
fn description(kinds: &Kinds) -> Value {
    let describe = |(name, kind): (&String, &Kind)| {
        let image = match &kind.image {
            Image::Dockerfile(image) | Image::Reference(image) => image,
        };
        let declaration = &kind.declaration;
        let mut description = json!({ "description": declaration.description, "image": image, "instance": declaration.instance });
        let optional = [
            ("binding", kind.binding(name).map(Value::from)),
            ("roots", declaration.roots.as_ref().map(|roots| json!(roots))),
            ("allowed_roots", declaration.allowed_roots.as_ref().map(|roots| json!(roots))),
            ("network", declaration.network.as_ref().map(|network| json!(network))),
            ("env", Some(json!(declaration.env)).filter(|_| !declaration.env.is_empty())),
            ("sleep_after_ms", declaration.limits.sleep_after_ms.map(Value::from)),
        ];
        for (key, value) in optional.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            description[key] = value;
        }
        (name.clone(), description)
    };
    Value::Object(kinds.0.iter().map(describe).collect())
}

/// Sets a property, unless it has the value already, whatever way it is written.
fn set(object: &CstObject, name: &str, value: &Value) {
    match object.get(name) {
        Some(property) if property.value().and_then(|node| node.to_serde_value()).as_ref() == Some(value) => {}
        Some(property) => property.set_value(input(value)),
        None => {
            object.append(name, input(value));
        }
    }
}

fn text_of(node: &CstNode, key: &str) -> String {
    node.to_serde_value().and_then(|value| Some(value.get(key)?.as_str()?.to_owned())).unwrap_or_default()
}

/// An object whose properties stand in this order.
fn object<const N: usize>(properties: [(&str, CstInputValue); N]) -> CstInputValue {
    CstInputValue::Object(properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(values) => CstInputValue::Array(values.iter().map(input).collect()),
        Value::Object(fields) => CstInputValue::Object(fields.iter().map(|(name, value)| (name.clone(), input(value))).collect()),
    }
}
