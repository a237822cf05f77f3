//! Where the file operations of a sandbox reach.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Error, names::invalid_field, union::text_or_object};

/// Most roots of one sandbox.
pub const MAX_ROOTS: usize = 16;

/// A directory that file operations reach: its path, or an object where they may only read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Root {
    /// Its absolute path.
    Path(String),
    /// A directory with its options.
    Options {
        /// Its absolute path.
        path: String,
        /// Whether file operations may only read what is there. Commands are not bound by it.
        read_only: bool,
    },
}

impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            path: String,
            #[serde(default)]
            read_only: bool,
        }
        let object =
            |Fields { path, read_only }| Some(if read_only { Self::Options { path, read_only } } else { Self::Path(path) });
        text_or_object(deserializer, "\"/path\" or {\"path\", \"read_only\"}", |path| Some(Self::Path(path)), object)
    }
}

impl Root {
    /// Its path.
    pub fn path(&self) -> &str {
        match self {
            Self::Path(path) | Self::Options { path, .. } => path,
        }
    }

    /// Whether file operations may only read it.
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Options { read_only: true, .. })
    }
}

/// Whether a sandbox can have these roots, each of which is one of `allowed` or below one.
///
/// Fails with `invalid_request`.
pub fn check_roots(roots: &[Root], allowed: &[String]) -> Result<(), Error> {
    if !(1..=MAX_ROOTS).contains(&roots.len()) {
        return Err(invalid_field("roots", &format!("1 to {MAX_ROOTS} directories")));
    }
    for (index, root) in roots.iter().enumerate() {
        let path = root.path();
        if !is_plain(path) {
            return Err(invalid_field(
                "roots",
                &format!("absolute paths without `.`, `..`, `:` and a slash at the end, got {path:?}"),
            ));
        }
        if let Some(other) = roots[..index].iter().find(|other| holds(other.path(), path) || holds(path, other.path())) {
            return Err(invalid_field(
                "roots",
                &format!("directories of which none holds another: {path:?} and {:?} overlap", other.path()),
            ));
        }
        if !allowed.iter().any(|allowed| holds(allowed, path)) {
            return Err(invalid_field("roots", &format!("directories in {} for this kind, got {path:?}", allowed.join(", "))));
        }
    }
    Ok(())
}

fn is_plain(path: &str) -> bool {
    let Some(below) = path.strip_prefix('/') else { return false };
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains([':', '\0', '\n']);
    path.len() < 4_096 && below.split('/').all(plain)
}

/// Whether the one directory is the other or holds it.
fn holds(one: &str, other: &str) -> bool {
    other.strip_prefix(one.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<(), String> {
        let roots: Vec<Root> = serde_json::from_str(json).unwrap();
        let allowed = ["/workspace", "/tmp", "/home"].map(str::to_owned);
        check_roots(&roots, &allowed).map_err(|error| error.message)
    }

    #[test]
    fn roots_are_apart_and_within_what_the_kind_allows() {
        for fine in [
            r#"["/workspace"]"#,
            r#"["/workspace","/tmp","/home/sandbox"]"#,
            r#"["/workspace/a","/workspace/b",{"path":"/home/x","read_only":true}]"#,
            r#"["/workspace","/tmp/workspace"]"#,
        ] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        for (refused, why) in [
            ("[]", "1 to 16"),
            (r#"["workspace"]"#, "absolute"),
            (r#"["/"]"#, "absolute"),
            (r#"["/workspace/"]"#, "absolute"),
            (r#"["/workspace/../etc"]"#, "absolute"),
            (r#"["/workspace:/etc"]"#, "absolute"),
            (r#"["/etc"]"#, "directories in /workspace, /tmp, /home"),
            (r#"["/workspaces"]"#, "directories in"),
            (r#"["/tmp","/tmp/a"]"#, "overlap"),
            (r#"["/tmp/a","/tmp"]"#, "overlap"),
            (r#"["/tmp","/tmp"]"#, "overlap"),
        ] {
            let error = check(refused).unwrap_err();
            assert!(error.contains(why), "{refused}: {error}");
        }
    }

    #[test]
    fn a_root_is_a_path_or_an_object() {
        for (json, written) in [
            (r#""/a""#, r#""/a""#),
            (r#"{"path":"/a"}"#, r#""/a""#),
            (r#"{"path":"/a","read_only":false}"#, r#""/a""#),
            (r#"{"path":"/a","read_only":true}"#, r#"{"path":"/a","read_only":true}"#),
        ] {
            assert_eq!(serde_json::to_string(&serde_json::from_str::<Root>(json).unwrap()).unwrap(), written);
        }
    }
}
