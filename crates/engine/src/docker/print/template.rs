//! The part of Docker's `--format` templates that wrangler uses: `{{ .A.B }}`, `{{ json .A }}`, `{{ len .A }}`.

use anyhow::{Result, bail};
use serde_json::Value;

/// Fills a template from a value.
pub(super) fn render(template: &str, value: &Value) -> Result<String> {
    let mut output = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((expression, after)) = after.split_once("}}") else {
            bail!("the template {template:?} has no end");
        };
        output.push_str(before);
        output.push_str(&evaluate(expression.trim(), value)?);
        rest = after;
    }
    output.push_str(rest);
    Ok(output)
}

fn evaluate(expression: &str, value: &Value) -> Result<String> {
    let words: Vec<&str> = expression.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["json", path] => field(path, value)?.to_string(),
        ["len", path] => length(field(path, value)?).to_string(),
        [path] => match field(path, value)? {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        },
        _ => bail!("the template {{{{{expression}}}}} is not understood"),
    })
}

fn length(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        Value::String(text) => text.len(),
        _ => 0,
    }
}

/// `.` is the value itself, `.A.B` a field of a field; a missing one is null.
fn field<'a>(path: &str, value: &'a Value) -> Result<&'a Value> {
    let Some(path) = path.strip_prefix('.') else {
        bail!("the field {path:?} does not begin with a dot");
    };
    let names = path.split('.').filter(|name| !name.is_empty());
    Ok(names.fold(value, |value, name| &value[name]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_of_wrangler_are_rendered() {
        let value = json!({
            "Os": "linux", "Architecture": "amd64", "Size": 0, "RepoDigests": [],
            "RootFS": { "Layers": ["a"] }, "SecurityOptions": [],
        });
        let check = |template, expected| assert_eq!(render(template, &value).unwrap(), expected);
        check("{{ .Os }}/{{ .Architecture }}", "linux/amd64");
        check("{{ .Size }} {{ len .RootFS.Layers }}", "0 1");
        check("{{ json .RepoDigests }}", "[]");
        check("{{json .SecurityOptions}}", "[]");
        check("{{json .Missing}}", "null");
    }

    #[test]
    fn unknown_templates_are_refused() {
        assert!(render("{{ range . }}", &json!({})).is_err());
        assert!(render("{{ .A", &json!({})).is_err());
    }
}
