//! The files of the examples, as they are in a folder of their own.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// An example of `examples/`.
#[derive(Debug)]
pub(super) struct Example {
    pub(super) name: &'static str,
    manifest: &'static str,
    configuration: &'static str,
    /// Those that are written as they are.
    others: [(&'static str, &'static str); 2],
}

macro_rules! examples {
    ($($name:literal),* $(,)?) => {
        /// Every example.
        pub(super) const EXAMPLES: &[Example] = &[$(Example {
            name: $name,
            manifest: include_str!(concat!("../../../../../examples/", $name, "/Cargo.toml")),
            configuration: include_str!(concat!("../../../../../examples/", $name, "/wrangler.jsonc")),
            others: [
                ("README.md", include_str!(concat!("../../../../../examples/", $name, "/README.md"))),
                ("src/lib.rs", include_str!(concat!("../../../../../examples/", $name, "/src/lib.rs"))),
            ],
        },)*];
    };
}

examples!("hello", "run-code", "chat-sessions", "ci", "coding-agent", "previews", "two-kinds");

/// Where the library and the agent come from.
#[derive(Debug)]
pub(super) enum Source {
    /// This version on crates.io.
    Version(&'static str),
    /// A git repository.
    Git(String),
    /// A checkout of Cabana, by its absolute path.
    Checkout(PathBuf),
}

/// A Dockerfile of the repository, the name that it gets, and the line at which its last stage begins.
const DOCKERFILES: [(&str, &str, &str, &str); 2] = [
    ("../../Dockerfile", "Dockerfile", include_str!("../../../../../Dockerfile"), "FROM ${BASE_IMAGE}\n"),
    (
        "../../sandboxes/python.Dockerfile",
        "python.Dockerfile",
        include_str!("../../../../../sandboxes/python.Dockerfile"),
        "FROM ${PYTHON_IMAGE}\n",
    ),
];

/// The library in an example's manifest.
const DEPENDENCY: &str = "cabana = { path = \"../../crates/cabana\" }\n";

/// The build context in an example's configuration, and its Dockerfiles below that.
const CONTEXT: &str = "\"build_context\": \"../..\"";

/// What a manifest outside this repository needs.
const STANDALONE: &str = r#"
# A workspace of its own, wherever the folder is.
[workspace]

# The Worker is to be small: it is sent to every place that it runs at.
[profile.release]
opt-level = "z"
lto = "fat"
codegen-units = 1
panic = "abort"
"#;

/// What is built, fetched or secret.
const IGNORED: &str = "/build\n/node_modules\n/target\n.dev.vars*\n.wrangler\n";

impl Source {
    /// A checkout of Cabana. Fails where the folder is none.
    pub(super) fn checkout(path: &Path) -> Result<Self> {
        let path = path.canonicalize().with_context(|| format!("find {}", path.display()))?;
        ensure!(path.join("crates/cabana/Cargo.toml").is_file(), "{} is no checkout of Cabana", path.display());
        Ok(Self::Checkout(path))
    }

    fn dependency(&self) -> Result<String> {
        Ok(match self {
            Self::Version(version) => format!("cabana = {version:?}\n"),
            Self::Git(url) => format!("cabana = {{ git = {url:?} }}\n"),
            Self::Checkout(path) => format!("cabana = {{ path = {:?} }}\n", text(&path.join("crates/cabana"))?),
        })
    }

    /// Where `cargo install` finds the agent.
    fn agent(&self) -> String {
        match self {
            Self::Version(version) => format!("--version {version} cabana-agent"),
            Self::Git(url) => format!("--git {url} cabana-agent"),
            // Its images are the checkout's own.
            Self::Checkout(_) => String::new(),
        }
    }
}

impl Example {
    /// The files by their paths.
    pub(super) fn files(&self, source: &Source) -> Result<Vec<(&'static str, String)>> {
        ensure!(self.manifest.contains(DEPENDENCY), "the example's Cargo.toml does not name the library");
        let mut files = vec![(".gitignore", IGNORED.to_owned())];
        files.push(("Cargo.toml", self.manifest.replace(DEPENDENCY, &source.dependency()?) + STANDALONE));
        let mut configuration = self.configuration.to_owned();
        if let Source::Checkout(path) = source {
            configuration = configuration.replace(CONTEXT, &format!("\"build_context\": {:?}", text(path)?));
        } else {
            configuration = configuration.replace(CONTEXT, "\"build_context\": \".\"");
        }
        for (path, name, dockerfile, last_stage) in DOCKERFILES {
            let named = format!("\"dockerfile\": \"{path}\"");
            if !configuration.contains(&named) {
                continue;
            }
            if let Source::Checkout(checkout) = source {
                let path = checkout.join(path.trim_start_matches("../"));
                configuration = configuration.replace(&named, &format!("\"dockerfile\": {:?}", text(&path)?));
            } else {
                configuration = configuration.replace(&named, &format!("\"dockerfile\": \"./{name}\""));
                files.push((name, standalone(dockerfile, last_stage, source)?));
            }
        }
        files.push(("wrangler.jsonc", configuration));
        files.extend(self.others.map(|(name, content)| (name, content.to_owned())));
        Ok(files)
    }
}

/// A Dockerfile that needs no checkout: cargo fetches the agent.
fn standalone(dockerfile: &str, last_stage: &str, source: &Source) -> Result<String> {
    let odd = "a Dockerfile of this program has another form than it knows";
    let (arguments, rest) = dockerfile.split_once("FROM ${RUST_IMAGE} AS agent\n").context(odd)?;
    let (_, rest) = rest.split_once(last_stage).context(odd)?;
    // Those of the stage that is replaced; the comment before it stays true of the new one.
    let is_of_the_build =
        |line: &&str| line.starts_with("ARG AGENT_PROFILE") || line.starts_with("# How Cargo compiles the agent.");
    let arguments: String = arguments.lines().filter(|line| !is_of_the_build(line)).map(|line| format!("{line}\n")).collect();
    let agent = source.agent();
    Ok(format!(
        r#"{arguments}FROM ${{RUST_IMAGE}} AS agent
RUN if command -v apk >/dev/null; then apk add --no-cache git musl-dev; fi
# With an explicit target, flags for the agent stay away from build scripts and macros, which cannot be linked statically.
RUN RUSTFLAGS="-C target-feature=+crt-static" \
    cargo install --locked --root /agent --target "$(rustc -vV | sed -n 's/^host: //p')" {agent} && \
    cp /agent/bin/cabana-agent /cabana-agent

{last_stage}{rest}"#
    ))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no text", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{EXAMPLES, Source};
    use std::{collections::BTreeMap, fs, path::Path};

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().parent().unwrap()
    }

    /// The lines of one text that are not among those of the other.
    fn more(one: &str, other: &str) -> Vec<String> {
        one.lines().filter(|line| !other.lines().any(|known| known == *line)).map(str::to_owned).collect()
    }

    #[test]
    fn what_is_written_is_what_the_tests_build() {
        let folders = fs::read_dir(root().join("examples")).unwrap().flatten();
        let mut folders: Vec<_> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
        let mut names: Vec<_> = EXAMPLES.iter().map(|example| example.name).collect();
        folders.sort();
        names.sort_unstable();
        assert_eq!(names, folders);
        for example in EXAMPLES {
            let files: BTreeMap<_, _> = example.files(&Source::Version("0.1.0")).unwrap().into_iter().collect();
            let folder = root().join("examples").join(example.name);
            for name in ["README.md", "src/lib.rs"] {
                assert_eq!(files[name], fs::read_to_string(folder.join(name)).unwrap(), "{} {name}", example.name);
            }
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            assert_eq!(more(&manifest, &files["Cargo.toml"]), ["cabana = { path = \"../../crates/cabana\" }"]);
            assert!(files["Cargo.toml"].contains("\ncabana = \"0.1.0\"\n") && files["Cargo.toml"].contains("[workspace]"));
            let configuration = fs::read_to_string(folder.join("wrangler.jsonc")).unwrap();
            let changed = more(&configuration, &files["wrangler.jsonc"]);
            let is_of_an_image = |line: &String| line.contains("build_context") || line.contains("dockerfile");
            assert!(changed.iter().all(is_of_an_image), "{changed:?}");
            assert!(!files["wrangler.jsonc"].contains("../"), "{}", files["wrangler.jsonc"]);
        }
    }

    #[test]
    fn images_are_built_without_a_checkout() {
        for (source, agent) in [
            (Source::Version("0.1.0"), "--version 0.1.0 cabana-agent"),
            (Source::Git("https://h/c".into()), "--git https://h/c cabana-agent"),
        ] {
            for example in EXAMPLES {
                let files: BTreeMap<_, _> = example.files(&source).unwrap().into_iter().collect();
                let dockerfiles: Vec<_> = files.iter().filter(|(name, _)| name.ends_with("Dockerfile")).collect();
                assert!(!dockerfiles.is_empty(), "{}", example.name);
                for (name, text) in dockerfiles {
                    assert!(files["wrangler.jsonc"].contains(&format!("\"./{name}\"")), "{} {name}", example.name);
                    assert!(text.contains(agent) && text.contains("COPY --from=agent /cabana-agent"), "{text}");
                    assert!(!text.contains("COPY . .") && !text.contains("AGENT_PROFILE"), "{text}");
                    assert_eq!(text.matches("\nFROM ").count(), 2, "{text}");
                }
            }
        }
    }

    #[test]
    fn a_checkout_is_named_by_its_own_paths() {
        assert!(Source::checkout(Path::new("/tmp")).is_err());
        let source = Source::checkout(root()).unwrap();
        let example = EXAMPLES.iter().find(|example| example.name == "two-kinds").unwrap();
        let files: BTreeMap<_, _> = example.files(&source).unwrap().into_iter().collect();
        let root = root().canonicalize().unwrap();
        for path in ["Dockerfile", "sandboxes/python.Dockerfile"] {
            assert!(
                files["wrangler.jsonc"].contains(&format!("\"dockerfile\": {:?}", root.join(path).to_str().unwrap())),
                "{path}"
            );
            assert!(!files.contains_key(path));
        }
        assert!(
            files["Cargo.toml"].contains(&format!("cabana = {{ path = {:?} }}", root.join("crates/cabana").to_str().unwrap()))
        );
    }
}
