//! Fuzzing of globs.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use super::*;

/// A glob, a line break, and a path: it is refused as it must be, or matches what a plain reading of it matches. Quoted letter by letter,
/// the path matches itself.
pub fn glob(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let (glob, path) = (&bytes[..end], &bytes[end + 1..]);
    // Paths come from directories: they have names and nothing else.
    if path.split(|byte| *byte == b'/').any(<[u8]>::is_empty) {
        return;
    }
    let matches = |glob: &str| Globs::new(&[glob]).map(|globs| globs.matches(Path::new(OsStr::from_bytes(path))));
    if let Some(quoted) = quoted(path) {
        assert_eq!(matches(&quoted), Ok(true), "{quoted}");
    }
    let Ok(glob) = std::str::from_utf8(glob) else { return };
    match (matches(glob), plain(glob)) {
        (Ok(matched), Some(names)) => {
            let path: Vec<_> = path.split(|byte| *byte == b'/').collect();
            assert_eq!(matched, match_path(&names, &path), "{glob}");
        }
        (Err(error), plain) => {
            assert_eq!(error.code, cabana_protocol::Code::InvalidRequest);
            assert!(plain.is_none() || glob.len() > MAX_GLOB_BYTES, "{glob}: {error}");
        }
        (Ok(_), None) => {}
    }
}

/// A glob that means nothing but this path.
fn quoted(path: &[u8]) -> Option<String> {
    let quoted: String = std::str::from_utf8(path)
        .ok()?
        .chars()
        .flat_map(|letter| match letter {
            '/' => vec!['/'],
            _ => vec!['\\', letter],
        })
        .collect();
    (quoted.len() <= MAX_GLOB_BYTES).then_some(quoted)
}

/// The names of a glob that has no classes, no choices and nothing quoted.
fn plain(glob: &str) -> Option<Vec<&[u8]>> {
    let whole = glob.strip_prefix('/').unwrap_or(glob);
    let mut names: Vec<_> = whole.split('/').map(str::as_bytes).collect();
    if whole.contains(['[', ']', '{', '}', '\\']) || names.iter().any(|name| name.is_empty()) {
        return None;
    }
    if !glob.contains('/') {
        names.insert(0, b"**");
    }
    Some(names)
}

/// Two stars stand for any names, in the end for one at least.
fn match_path(names: &[&[u8]], path: &[&[u8]]) -> bool {
    match names.split_first() {
        None => path.is_empty(),
        Some((name, [])) if *name == b"**" => !path.is_empty(),
        Some((name, rest)) if *name == b"**" => (0..=path.len()).any(|skipped| match_path(rest, &path[skipped..])),
        Some((name, rest)) => path.split_first().is_some_and(|(first, below)| match_name(name, first) && match_path(rest, below)),
    }
}

fn match_name(glob: &[u8], name: &[u8]) -> bool {
    match glob.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|skipped| match_name(rest, &name[skipped..])),
        Some((b'?', rest)) => !name.is_empty() && match_name(rest, &name[1..]),
        Some((letter, rest)) => name.first() == Some(letter) && match_name(rest, &name[1..]),
    }
}
