//! Kernels that are installed: their specifications, and which one runs a language.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

use cabana_protocol::{Code, Error, code::language};
use serde::Deserialize;
use serde_json::json;

/// Most bytes of a specification.
const MAX_SPEC_BYTES: u64 = 256 << 10;

/// Most specifications that are looked at.
const MAX_SPECS: usize = 64;

/// Where an image may have them, whatever its variables are.
const SYSTEM: [&str; 2] = ["/usr/local/share/jupyter", "/usr/share/jupyter"];

/// The specification of a kernel.
#[derive(Debug, Clone)]
pub(super) struct KernelSpec {
    /// Its name.
    pub(super) name: String,
    /// Its language.
    pub(super) language: String,
    /// Where it is, with what belongs to it.
    directory: PathBuf,
    content: Content,
}

/// What stands in a `kernel.json`.
#[derive(Debug, Clone, Deserialize)]
struct Content {
    argv: Vec<String>,
    #[serde(default)]
    language: String,
    #[serde(default)]
    interrupt_mode: String,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

/// How a kernel is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InterruptMode {
    /// By SIGINT.
    Signal,
    /// By a message.
    Message,
}

type Environment = BTreeMap<OsString, OsString>;

impl KernelSpec {
    /// The kernels that a command with these variables would find; of several of one name, the first. Blocks.
    pub(super) fn list(env: &Environment) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for data in data_directories(env) {
            for spec in read_directory(&data.join("kernels")) {
                if found.len() < MAX_SPECS && found.iter().all(|known| known.name != spec.name) {
                    found.push(spec);
                }
            }
        }
        found
    }

    /// The kernel for a language, or of this name. Blocks.
    ///
    /// Fails with `unprocessable`, and says what is installed and how to add one.
    pub(super) fn find(wanted: &str, env: &Environment) -> Result<Self, Error> {
        let specs = Self::list(env);
        match choose(&specs, wanted) {
            Some(index) => Ok(specs.into_iter().nth(index).expect("one of them was chosen")),
            None => Err(missing(wanted, &specs)),
        }
    }

    /// Its command line, where the connection is described in this file.
    pub(super) fn argv(&self, connection_file: &Path) -> Vec<String> {
        let (file, resources) = (connection_file.to_string_lossy(), self.directory.to_string_lossy());
        let prefix = self.prefix().unwrap_or(Path::new("/usr")).to_string_lossy().into_owned();
        let fill = |word: &String| {
            word.replace("{connection_file}", &file).replace("{resource_dir}", &resources).replace("{prefix}", &prefix)
        };
        let mut argv: Vec<_> = self.content.argv.iter().map(fill).collect();
        // A bare name is a program of the environment that has brought the kernel: its Python, for instance.
        if let (Some(program), Some(prefix)) = (argv.first_mut(), self.prefix()) {
            let own = prefix.join("bin").join(program.as_str());
            if !program.contains('/') && own.is_file() {
                *program = own.to_string_lossy().into_owned();
            }
        }
        argv
    }

    /// These variables with its own on top, which may name others.
    pub(super) fn environment(&self, mut env: Environment) -> Environment {
        for (name, value) in &self.content.env {
            let value = expand(value, &env);
            env.insert(name.into(), value);
        }
        env
    }

    /// How it is interrupted.
    pub(super) fn interrupt_mode(&self) -> InterruptMode {
        // SIGINT ends Deno's kernel, whose own installer does not say so.
        let is_deno = self.program().starts_with("deno");
        if self.content.interrupt_mode == "message" || is_deno { InterruptMode::Message } else { InterruptMode::Signal }
    }

    /// Whether it takes Unix sockets: kernels in Python share the code that does, and others end at the sight of them.
    pub(super) fn takes_ipc(&self) -> bool {
        self.program().starts_with("python")
    }

    /// Whether it shows what is written to its process's descriptors itself, and repeats it there: kernels in Python do.
    pub(super) fn captures_output(&self) -> bool {
        self.takes_ipc()
    }

    /// Code that prints a sentinel, for a kernel that may report idle before it has published all output.
    ///
    /// Deno publishes printed text in order, from a task of its own. A cell may have replaced `console`, hence the function below it. The
    /// expression's value is the last value, which therefore stays.
    pub(super) fn flush(&self, sentinel: &str) -> Option<String> {
        self.program().starts_with("deno").then(|| format!("(Deno[Deno.internal].core.print({sentinel:?}), _)"))
    }

    fn program(&self) -> &str {
        let program = self.content.argv.first().map_or("", String::as_str);
        program.rsplit('/').next().unwrap_or_default()
    }

    /// The directory that has `share` and `bin`, where it is below one.
    fn prefix(&self) -> Option<&Path> {
        let data = self.directory.parent()?.parent()?;
        (data.ends_with("share/jupyter")).then(|| data.parent()?.parent()).flatten()
    }
}

/// Where kernels may be, as Jupyter looks for them, and beside the programs on the search path: an environment of Python has its own.
fn data_directories(env: &Environment) -> Vec<PathBuf> {
    let variable = |name: &str| env.get(OsStr::new(name)).filter(|value| !value.is_empty());
    let mut directories: Vec<PathBuf> =
        variable("JUPYTER_PATH").map(|list| std::env::split_paths(list).collect()).unwrap_or_default();
    let path = variable("PATH").map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
    let beside = |bin: &PathBuf| bin.ends_with("bin").then(|| Some(bin.parent()?.join("share/jupyter"))).flatten();
    let user = variable("JUPYTER_DATA_DIR").map(PathBuf::from).or_else(|| {
        let data = variable("XDG_DATA_HOME").map(PathBuf::from);
        data.or_else(|| variable("HOME").map(|home| Path::new(home).join(".local/share"))).map(|data| data.join("jupyter"))
    });
    // What an active environment has comes before the user's, as with Jupyter.
    let virtual_environment = variable("VIRTUAL_ENV").map(|prefix| Path::new(prefix).join("share/jupyter"));
    directories.extend(virtual_environment.into_iter().chain(user));
    directories.extend(path.iter().filter_map(beside).chain(SYSTEM.map(PathBuf::from)));
    let mut seen = BTreeSet::new();
    directories.retain(|directory| directory.is_absolute() && seen.insert(directory.clone()));
    directories
}

/// The specifications of a directory, by their names.
fn read_directory(directory: &Path) -> Vec<KernelSpec> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut specs: Vec<_> = entries.take(MAX_SPECS).filter_map(|entry| read_spec(&entry.ok()?.path())).collect();
    specs.sort_by(|one, other| one.name.cmp(&other.name));
    specs
}

fn read_spec(directory: &Path) -> Option<KernelSpec> {
    let name = directory.file_name()?.to_str()?.to_lowercase();
    let fit = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || "._-".contains(char);
    if !name.chars().all(fit) {
        return None;
    }
    let file = fs::File::open(directory.join("kernel.json")).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let content: Content = serde_json::from_reader(io::Read::take(file, MAX_SPEC_BYTES)).ok()?;
    let language = language(if content.language.is_empty() { &name } else { &content.language });
    (!content.argv.is_empty()).then(|| KernelSpec { name, language, directory: directory.to_owned(), content })
}

/// Which of these runs what is wanted: the one of that name, or else of that language. TypeScript's runs JavaScript too.
fn choose(specs: &[KernelSpec], wanted: &str) -> Option<usize> {
    let by_name = |name: &str| specs.iter().position(|spec| spec.name == name);
    let by_language = |language: &str| specs.iter().position(|spec| spec.language == language);
    let usual = match wanted {
        "python" => by_name("python3"),
        "javascript" | "typescript" => by_name("deno"),
        _ => None,
    };
    let typescript = || (wanted == "javascript").then(|| by_language("typescript")).flatten();
    usual.or_else(|| by_name(wanted)).or_else(|| by_language(wanted)).or_else(typescript)
}

fn missing(wanted: &str, specs: &[KernelSpec]) -> Error {
    let installed: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let shown: String = wanted.chars().take(64).collect();
    let how = match wanted {
        "python" => "run `pip install ipykernel`, or use a sandbox of the kind \"python\"",
        "javascript" | "typescript" => "install Deno and run `deno jupyter --install`, or use a sandbox of the kind \"python\"",
        "bash" => "run `pip install bash_kernel && python3 -m bash_kernel.install`",
        _ => "install a kernel of Jupyter for it: its kernel.json must lie below one of Jupyter's directories",
    };
    let have = if installed.is_empty() { "none is installed".to_owned() } else { format!("installed: {}", installed.join(", ")) };
    Error::new(Code::Unprocessable, format!("there is no kernel for {shown:?} ({have}); {how}"))
        .with_details(json!({ "reason": "no_kernel", "language": shown, "installed": installed }))
}

/// A value with `${NAME}` replaced.
fn expand(value: &str, env: &Environment) -> OsString {
    let mut expanded = OsString::new();
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once("${") {
        let Some((name, after)) = behind.split_once('}') else { break };
        expanded.push(before);
        expanded.push(env.get(OsStr::new(name)).map_or(OsStr::new(""), OsString::as_os_str));
        rest = after;
    }
    expanded.push(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(data: &Path, name: &str, spec: &str) {
        let directory = data.join("kernels").join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("kernel.json"), spec).unwrap();
    }

    fn environment(pairs: &[(&str, &Path)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).into(), value.as_os_str().to_owned())).collect()
    }

    #[test]
    fn kernels_are_found_by_language_or_name_where_jupyter_would_find_them() {
        let directory = tempfile::tempdir().unwrap();
        let (first, prefix) = (directory.path().join("first"), directory.path().join("env"));
        let data = prefix.join("share/jupyter");
        install(&first, "my-python", r#"{"argv": ["python", "-m", "mine"], "language": "python"}"#);
        install(
            &data,
            "python3",
            r#"{"argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"], "language": "python"}"#,
        );
        install(&data, "deno", r#"{"argv": ["deno", "jupyter"], "language": "typescript"}"#);
        install(&data, "broken", "{");
        install(&data, "empty", r#"{"argv": []}"#);
        fs::create_dir_all(prefix.join("bin")).unwrap();
        fs::write(prefix.join("bin/python"), "").unwrap();
        let env = environment(&[("JUPYTER_PATH", &first), ("PATH", &prefix.join("bin"))]);
        let names: Vec<_> = KernelSpec::list(&env).into_iter().map(|spec| spec.name).collect();
        assert!(names.starts_with(&["my-python".to_owned(), "deno".to_owned(), "python3".to_owned()]), "{names:?}");
        for (wanted, expected) in
            [("python", "python3"), ("javascript", "deno"), ("typescript", "deno"), ("my-python", "my-python")]
        {
            assert_eq!(KernelSpec::find(wanted, &env).unwrap().name, expected, "{wanted}");
        }
        let python = KernelSpec::find("python", &env).unwrap();
        let argv = python.argv(Path::new("/run/k/connection"));
        assert_eq!(argv[0], prefix.join("bin/python").to_string_lossy());
        assert_eq!(argv[4], "/run/k/connection");
        assert_eq!((python.interrupt_mode(), python.takes_ipc()), (InterruptMode::Signal, true));
        let deno = KernelSpec::find("typescript", &env).unwrap();
        assert_eq!((deno.argv(Path::new("/f"))[0].as_str(), deno.interrupt_mode()), ("deno", InterruptMode::Message));
    }

    #[test]
    fn a_missing_kernel_is_named_with_what_is_installed_and_how_to_add_it() {
        let directory = tempfile::tempdir().unwrap();
        install(directory.path(), "only-one-here", r#"{"argv": ["x"], "language": "x"}"#);
        let env = environment(&[("JUPYTER_PATH", directory.path())]);
        let error = KernelSpec::find("cobol", &env).unwrap_err();
        assert_eq!(error.code, Code::Unprocessable);
        assert!(error.message.contains("cobol") && error.message.contains("only-one-here"), "{}", error.message);
        assert_eq!(error.details.unwrap()["reason"], "no_kernel");
    }

    #[test]
    fn variables_of_a_kernel_may_name_others() {
        let env = Environment::from([("HOME".into(), "/home/ada".into())]);
        for (value, expected) in
            [("${HOME}/lib", "/home/ada/lib"), ("${NONE}x${HOME}", "x/home/ada"), ("${open", "${open"), ("$HOME", "$HOME")]
        {
            assert_eq!(expand(value, &env), expected, "{value}");
        }
    }
}
