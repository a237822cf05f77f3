//! `cargo xtask sync`: carries the kinds that `sandboxes/` declares into wrangler.jsonc and the Worker's classes.

mod classes;
mod configuration;
mod kind;

use crate::progress::say;
use crate::{doctor, paths};
use anyhow::{Context, Result, bail};
use kind::Kinds;
use std::fs;
use std::path::Path;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing, and fail where something would change
    #[arg(long)]
    check: bool,
    /// Let this Durable Object class go, with every sandbox in it: its kind has none any more
    #[arg(long, value_name = "CLASS")]
    delete_class: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let root = paths::repository()?;
    let changed = sync(&root, &arguments.delete_class, !arguments.check)?;
    match (changed.as_slice(), arguments.check) {
        ([], _) => say("the kinds are in step"),
        (changed, true) => bail!("{} is out of step with sandboxes/: run `cargo xtask sync`", changed.join(" and ")),
        (changed, false) => say(&format!("wrote {}", changed.join(" and "))),
    }
    Ok(())
}

/// Fails where something is out of step.
pub(crate) fn check(root: &Path) -> Result<()> {
    match sync(root, &[], false)?.as_slice() {
        [] => Ok(()),
        changed => bail!("{} is out of step with sandboxes/: run `cargo xtask sync`", changed.join(" and ")),
    }
}

/// Brings the files into step, if they are to be written, and names those that were not.
fn sync(root: &Path, deleted: &[String], write: bool) -> Result<Vec<&'static str>> {
    let kinds = Kinds::read(root)?;
    let mut changed = Vec::new();
    for name in ["wrangler.jsonc", "worker/src/classes.rs"] {
        let file = root.join(name);
        let before = fs::read_to_string(&file).unwrap_or_default();
        let after = match name {
            "wrangler.jsonc" => {
                let after = configuration::update(&before, &kinds, deleted).context("wrangler.jsonc")?;
                if let Some(refusal) = doctor::configuration::refusal(&doctor::parse(&after)?) {
                    bail!("the platform would refuse wrangler.jsonc: {refusal}");
                }
                after
            }
            _ => classes::source(&kinds),
        };
        if before != after {
            changed.push(name);
            if write {
                fs::write(&file, after).with_context(|| format!("write {}", file.display()))?;
            }
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::{check, sync};
    use jsonc_parser::ParseOptions;
    use jsonc_parser::cst::CstRootNode;
    use std::fs;
    use std::path::Path;

    /// A repository with these kinds, in step with none.
    fn repository(kinds: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for directory in ["sandboxes", "worker/src"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::write(root.path().join("wrangler.jsonc"), include_str!("sync/example.jsonc")).unwrap();
        fs::write(root.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        for (name, text) in kinds {
            fs::write(root.path().join("sandboxes").join(name), text).unwrap();
        }
        root
    }

    fn configuration(root: &Path) -> serde_json::Value {
        let text = fs::read_to_string(root.join("wrangler.jsonc")).unwrap();
        CstRootNode::parse(&text, &ParseOptions::default()).unwrap().to_serde_value().unwrap()
    }

    const DEFAULT: (&str, &str) = ("sbx.toml", "description = 'plain'\ndockerfile = 'Dockerfile'\n");

    #[test]
    fn a_kind_with_a_class_of_its_own() {
        let interpreter = "description = 'runs code'\nclass = true\n[limits]\nsleep_after_ms = 1000\n[build_vars]\nEXTRA = 'x'\n";
        let files =
            [DEFAULT, ("code-interpreter.toml", interpreter), ("code-interpreter.Dockerfile", "FROM scratch\n"), ("note.md", "")];
        let root = repository(&files);
        assert_eq!(sync(root.path(), &[], true).unwrap(), ["wrangler.jsonc", "worker/src/classes.rs"]);
        let found = configuration(root.path());
        assert_eq!(found["durable_objects"]["bindings"][2]["name"], "CODE_INTERPRETER_SANDBOX");
        assert_eq!(found["durable_objects"]["bindings"][2]["class_name"], "CodeInterpreterSandbox");
        assert_eq!(found["migrations"][1], serde_json::json!({"tag": "v2", "new_sqlite_classes": ["CodeInterpreterSandbox"]}));
        assert_eq!(found["containers"][1]["class_name"], "CodeInterpreterSandbox");
        let image = &found["containers"][1]["images"]["code-interpreter"];
        assert_eq!(image["dockerfile"], "./sandboxes/code-interpreter.Dockerfile");
        assert_eq!((&image["build_context"], &image["build_vars"]["EXTRA"]), (&".".into(), &"x".into()));
        assert_eq!(image["build_vars"]["CABANA_VERSION"], env!("CARGO_PKG_VERSION"));
        assert_eq!(found["containers"][0]["images"]["sbx"]["dockerfile"], "./Dockerfile");
        let kind = &found["vars"]["CABANA_KINDS"]["code-interpreter"];
        assert_eq!((&kind["binding"], &kind["sleep_after_ms"]), (&"CODE_INTERPRETER_SANDBOX".into(), &1000.into()));
        let classes = fs::read_to_string(root.path().join("worker/src/classes.rs")).unwrap();
        assert!(classes.contains("cabana::sandbox_class!(CodeInterpreterSandbox);"), "{classes}");
        assert_eq!(sync(root.path(), &[], true).unwrap(), [""; 0], "nothing is left to do");
        check(root.path()).unwrap();
    }

    #[test]
    fn what_others_wrote_stays() {
        let root = repository(&[DEFAULT]);
        sync(root.path(), &[], true).unwrap();
        let text = fs::read_to_string(root.path().join("wrangler.jsonc")).unwrap();
        for kept in ["// Ours.", "/* theirs */", "\"name\": \"mine\"", "\"OTHER\"", "\"MY_VARIABLE\": 7", "// the last word"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        assert!(!text.contains("\"gone\""), "an image without a kind goes: {text}");
    }

    #[test]
    fn a_class_goes_only_when_told() {
        let root = repository(&[DEFAULT, ("py.toml", "description = 'p'\ndockerfile = 'Dockerfile'\nclass = true\n")]);
        sync(root.path(), &[], true).unwrap();
        fs::remove_file(root.path().join("sandboxes/py.toml")).unwrap();
        let refused = format!("{:#}", sync(root.path(), &[], true).unwrap_err());
        assert!(refused.contains("--delete-class PySandbox"), "{refused}");
        sync(root.path(), &["PySandbox".to_owned()], true).unwrap();
        let found = configuration(root.path());
        assert_eq!(found["migrations"][1]["new_sqlite_classes"][0], "PySandbox", "what was deployed is never rewritten");
        assert_eq!(found["migrations"][2], serde_json::json!({"tag": "v3", "deleted_classes": ["PySandbox"]}));
        assert_eq!(found["containers"].as_array().unwrap().len(), 1);
        assert_eq!(found["durable_objects"]["bindings"].as_array().unwrap().len(), 2);
        check(root.path()).unwrap();
    }

    #[test]
    fn kinds_that_cannot_be_are_refused() {
        for (name, text, why) in [
            ("py.toml", "description = 'p'", "no image"),
            ("py.toml", "description = 'p'\nimage = 'x'\ndockerfile = 'Dockerfile'", "one image"),
            ("py.toml", "description = 'p'\nimage = 'python:3'", "digest"),
            ("py.toml", "description = 'p'\ndockerfile = 'missing'", "missing"),
            ("py.toml", "description = 'p'\ndockerfile = 'Dockerfile'\ninstance = 'huge'", "instance"),
            ("py.toml", "description = 'p'\ndockerfile = 'Dockerfile'\ncolour = 'red'", "colour"),
            ("py.toml", "dockerfile = 'Dockerfile'", "description"),
            ("Py.toml", "description = 'p'\ndockerfile = 'Dockerfile'", "Py"),
            ("a-very-long-name-of-a-kind.toml", "description = 'p'\ndockerfile = 'Dockerfile'", "24"),
            ("sbx-x.toml", "description = 'p'\ndockerfile = 'Dockerfile'", "begins with"),
            ("py.Dockerfile", "FROM scratch", "py.toml"),
            ("py.toml", &format!("description = '{}'\ndockerfile = 'Dockerfile'", "p".repeat(5_120)), "5120"),
        ] {
            let root = repository(&[DEFAULT, (name, text)]);
            let refused = format!("{:#}", sync(root.path(), &[], true).unwrap_err());
            assert!(refused.contains(why), "{name}: {refused}");
        }
    }
}
