//! wrangler's configuration for the run of an example.

use super::test_kinds::make_absolute;
use anyhow::{Context, Result};
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::CstRootNode;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Writes the configuration of an example into a run's directory: as the example has it, but for the build, which is done.
pub(crate) fn configure(example: &Path, directory: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(example.join("wrangler.jsonc")).context("read the example's wrangler.jsonc")?;
    let parsed = CstRootNode::parse(&text, &ParseOptions::default()).context("the example's wrangler.jsonc")?;
    let mut configuration = parsed.to_serde_value().context("the example's wrangler.jsonc is empty")?;
    let fields: &mut serde_json::Map<String, Value> =
        configuration.as_object_mut().context("the example's wrangler.jsonc is no object")?;
    fields.remove("build");
    make_absolute(example, fields.get_mut("main"));
    for container in fields.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten() {
        for image in container["images"].as_object_mut().into_iter().flat_map(|images| images.values_mut()) {
            make_absolute(example, image.get_mut("dockerfile"));
            make_absolute(example, image.get_mut("build_context"));
        }
    }
    let file = directory.join("wrangler.jsonc");
    fs::write(&file, configuration.to_string()).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}
