//! Kinds of sandboxes, as `sandboxes/<kind>.toml` declares them.

use anyhow::{Context, Result, bail, ensure};
use cabana_protocol::network::Network;
use cabana_protocol::sandbox::{Instance, Root, check_roots};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The directory of the declarations.
const DIRECTORY: &str = "sandboxes";
/// Where an image may come from that is not built from a Dockerfile; the platform wants its digest.
const REGISTRY: &str = "registry.cloudflare.com/";
/// Longest name of a kind, which leaves a sandbox's own name 15 characters.
const MAX_NAME_LENGTH: usize = 24;
/// The longest that a sandbox may be left alone before it sleeps: what the platform takes.
const MAX_SLEEP_AFTER_MS: u64 = 6 * 60 * 60 * 1_000;

/// Every kind, by name.
pub(super) struct Kinds(pub(super) BTreeMap<String, Kind>);

/// A kind of sandbox.
pub(super) struct Kind {
    pub(super) declaration: Declaration,
    /// From the repository's root, or the image's reference.
    pub(super) image: Image,
}

/// What a kind runs.
pub(super) enum Image {
    /// A Dockerfile, from the repository's root.
    Dockerfile(String),
    /// An image in the platform's registry.
    Reference(String),
}

/// A kind's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Declaration {
    /// What `GET /v1/kinds` says of it.
    pub(super) description: String,
    /// A Dockerfile, from the repository's root. Default: the one beside the declaration, of the same name.
    dockerfile: Option<String>,
    /// An image in the platform's registry, instead.
    image: Option<String>,
    /// What a Dockerfile is given.
    #[serde(default)]
    pub(super) build_vars: BTreeMap<String, String>,
    /// How large its sandboxes are unless they ask for another size.
    #[serde(default)]
    pub(super) instance: Instance,
    /// Variables for every command of its sandboxes. They are no place for secrets: wrangler.jsonc names them.
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    /// The directories that file operations of its sandboxes reach. Default: what the image says, `/workspace`.
    pub(super) roots: Option<Vec<Root>>,
    /// The directories in which those of a sandbox may be. Default: `/workspace`, `/tmp` and `/home`.
    pub(super) allowed_roots: Option<Vec<String>>,
    /// What its sandboxes reach outside at most.
    pub(super) network: Option<Network>,
    /// Whether it has a Durable Object class of its own.
    #[serde(default)]
    class: bool,
    #[serde(default)]
    pub(super) limits: Limits,
}

/// What holds for its sandboxes unless they say otherwise.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// How long one that nobody asks anything stays up, in milliseconds.
    pub(super) sleep_after_ms: Option<u64>,
}

impl Kinds {
    /// Reads every kind's file. Files of other names are no business of ours.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let directory = root.join(DIRECTORY);
        let mut kinds = BTreeMap::new();
        for entry in fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))? {
            let file = entry?.file_name().to_string_lossy().into_owned();
            if let Some(name) = file.strip_suffix(".toml") {
                let kind = Kind::read(root, name).with_context(|| format!("{DIRECTORY}/{file}"))?;
                kinds.insert(name.to_owned(), kind);
            } else if let Some(name) = file.strip_suffix(".Dockerfile") {
                ensure!(
                    directory.join(format!("{name}.toml")).is_file(),
                    "{DIRECTORY}/{file} belongs to no {DIRECTORY}/{name}.toml"
                );
            }
        }
        check_prefixes(kinds.keys())?;
        Ok(Self(kinds))
    }

    /// Its class, if it has one of its own, by the name of the binding.
    pub(super) fn classes(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().filter(|(_, kind)| kind.declaration.class).map(|(name, _)| (binding_of(name), class_of(name)))
    }
}

impl Kind {
    fn read(root: &Path, name: &str) -> Result<Self> {
        check_name(name)?;
        let text = fs::read_to_string(root.join(DIRECTORY).join(format!("{name}.toml"))).context("read it")?;
        let declaration: Declaration = toml::from_str(&text)?;
        declaration.instance.check().map_err(|error| anyhow::anyhow!(error.message))?;
        declaration.network.iter().try_for_each(Network::check).map_err(|error| anyhow::anyhow!(error.message))?;
        let sleep = declaration.limits.sleep_after_ms.unwrap_or(1);
        ensure!((1..=MAX_SLEEP_AFTER_MS).contains(&sleep), "limits.sleep_after_ms is 1 to {MAX_SLEEP_AFTER_MS}");
        declaration.env.iter().try_for_each(|(name, value)| check_variable(name, value))?;
        if let Some(roots) = &declaration.roots {
            check_roots(roots, &["/".to_owned()]).map_err(|error| anyhow::anyhow!(error.message))?;
        }
        let image = image(root, name, &declaration)?;
        Ok(Self { declaration, image })
    }

    /// The class in which its sandboxes are.
    pub(super) fn class(&self, name: &str) -> String {
        if self.declaration.class { class_of(name) } else { "Sandbox".to_owned() }
    }

    /// The binding of a class of its own.
    pub(super) fn binding(&self, name: &str) -> Option<String> {
        self.declaration.class.then(|| binding_of(name))
    }
}

fn image(root: &Path, name: &str, declaration: &Declaration) -> Result<Image> {
    let beside = format!("{DIRECTORY}/{name}.Dockerfile");
    let own = root.join(&beside).is_file().then_some(beside);
    match (&declaration.image, declaration.dockerfile.clone().or(own)) {
        (Some(_), Some(_)) => bail!("a kind has one image: a Dockerfile, or a reference"),
        (Some(reference), None) => {
            let pinned = reference.starts_with(REGISTRY) && reference.contains("@sha256:");
            ensure!(pinned, "image: the platform takes {REGISTRY}<account>/<name>@sha256:<digest> only; a tag has no digest");
            Ok(Image::Reference(reference.clone()))
        }
        (None, Some(dockerfile)) => {
            ensure!(root.join(&dockerfile).is_file(), "there is no {dockerfile}");
            Ok(Image::Dockerfile(dockerfile))
        }
        (None, None) => bail!("it has no image: name a dockerfile or an image, or put {DIRECTORY}/{name}.Dockerfile beside it"),
    }
}

fn check_variable(name: &str, value: &str) -> Result<()> {
    ensure!(!name.is_empty() && !name.contains(['=', '\0']), "env: {name:?} is no variable's name");
    ensure!(!name.starts_with("CABANA_"), "env: {name}: names that start with CABANA_ are reserved");
    ensure!(!value.contains('\0'), "env: {name}: a variable's value has no NUL");
    Ok(())
}

fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let words = name.split('-').all(|word| !word.is_empty() && word.bytes().all(plain));
    ensure!(
        words && name.starts_with(|char: char| char.is_ascii_lowercase()),
        "{name:?}: a kind is words of [a-z0-9] and hyphens"
    );
    ensure!(name.len() <= MAX_NAME_LENGTH, "a kind's name has at most {MAX_NAME_LENGTH} characters");
    Ok(())
}

/// An id belongs to the kind that it begins with, so no kind may begin with another and a hyphen.
fn check_prefixes<'a>(names: impl Iterator<Item = &'a String> + Clone) -> Result<()> {
    for name in names.clone() {
        let shorter = names.clone().find(|other| name.strip_prefix(*other).is_some_and(|rest| rest.starts_with('-')));
        if let Some(shorter) = shorter {
            bail!("the kind {name} begins with the kind {shorter}: the ids of their sandboxes could not be told apart");
        }
    }
    Ok(())
}

/// `code-interpreter` -> `CODE_INTERPRETER_SANDBOX`
fn binding_of(kind: &str) -> String {
    format!("{}_SANDBOX", kind.replace('-', "_").to_ascii_uppercase())
}

/// `code-interpreter` -> `CodeInterpreterSandbox`
fn class_of(kind: &str) -> String {
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    kind.split('-').map(capital).collect::<String>() + "Sandbox"
}
