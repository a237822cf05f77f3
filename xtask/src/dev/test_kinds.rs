//! Kinds of sandboxes that only integration cases use: each Dockerfile of tests/sandboxes is one, of the same name. And a second database, so
//! that the directory is shared.
//!
//! wrangler.jsonc, which deployments use, does not have them. A run for tests has a configuration of its own in its directory.

use anyhow::{Context, Result};
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::CstRootNode;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Where their Dockerfiles are, from the repository's root.
const DIRECTORY: &str = "tests/sandboxes";

/// The kind whose sandboxes reach no more than one host.
const FENCED: &str = "fenced";

/// The binding of the second database.
pub(super) const SECOND_DATABASE: &str = "DIRECTORY_2";

/// Writes wrangler's configuration with these kinds into a run's directory.
pub(super) fn configure(root: &Path, directory: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(root.join("wrangler.jsonc")).context("read wrangler.jsonc")?;
    let parsed = CstRootNode::parse(&text, &ParseOptions::default()).context("wrangler.jsonc")?;
    let mut configuration = parsed.to_serde_value().context("wrangler.jsonc is empty")?;
    for path in ["/main", "/d1_databases/0/migrations_dir"] {
        make_absolute(root, configuration.pointer_mut(path));
    }
    for container in configuration["containers"].as_array_mut().into_iter().flatten() {
        for image in container["images"].as_object_mut().into_iter().flat_map(|images| images.values_mut()) {
            make_absolute(root, image.get_mut("dockerfile"));
            make_absolute(root, image.get_mut("build_context"));
        }
    }
    let mut second = configuration["d1_databases"][0].clone();
    (second["binding"], second["database_name"]) = (json!(SECOND_DATABASE), json!("cabana-directory-2"));
    configuration["d1_databases"].as_array_mut().context("wrangler.jsonc has no d1_databases")?.push(second);
    for (name, dockerfile) in kinds(root)? {
        configuration["containers"][0]["images"][&name] = json!({ "build_context": root, "dockerfile": dockerfile });
        let env = json!({ "KIND": name, "OF_THE_KIND": "kind" });
        let mut kind = json!({ "description": "of the tests", "image": dockerfile, "instance": "standard-1", "env": env });
        if name == FENCED {
            kind["network"] = json!({ "allow": ["kind.invalid"] });
        }
        configuration["vars"]["CABANA_KINDS"][&name] = kind;
    }
    let file = directory.join("wrangler.jsonc");
    fs::write(&file, configuration.to_string()).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}

/// The kinds' names and Dockerfiles.
fn kinds(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let directory = root.join(DIRECTORY);
    let entries = fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let named = |path: PathBuf| Some((path.file_name()?.to_str()?.strip_suffix(".Dockerfile")?.to_owned(), path));
    Ok(paths.filter_map(named).collect())
}

/// wrangler reads paths from where its configuration is.
pub(super) fn make_absolute(root: &Path, path: Option<&mut Value>) {
    if let Some(path) = path
        && let Some(text) = path.as_str()
    {
        *path = json!(root.join(text));
    }
}

#[cfg(test)]
mod tests {
    use super::configure;
    use crate::paths;
    use serde_json::Value;
    use std::fs;
    use std::path::Path;

    #[test]
    fn a_run_for_tests_has_the_kinds_of_the_deployment_and_those_of_the_tests() {
        let root = paths::repository().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = configure(&root, directory.path()).unwrap();
        let configuration: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let databases = configuration["d1_databases"].as_array().unwrap();
        assert_eq!([0, 1].map(|number| &databases[number]["binding"]), ["DIRECTORY", "DIRECTORY_2"]);
        assert_eq!(databases[0]["migrations_dir"], databases[1]["migrations_dir"]);
        for name in ["sbx", "tight"] {
            let dockerfile = configuration["containers"][0]["images"][name]["dockerfile"].as_str().unwrap();
            assert!(Path::new(dockerfile).is_absolute() && Path::new(dockerfile).is_file(), "{dockerfile}");
            assert!(configuration["vars"]["CABANA_KINDS"][name]["image"].is_string(), "{name}");
        }
    }
}
