//! The public surface of the libraries, as text beside them: a change of it is seen in the diff, and one that nobody has meant fails.
//!
//! The compiler describes a surface on its nightly channel only, so this one is read from the sources: what is public, with its signatures, fields,
//! methods and implementations. What macros make is not in it, nor are traits that the compiler implements by itself, such as `Send`. An item of
//! another crate is its path.

#![allow(clippy::unwrap_used, reason = "a surface that cannot be read is a failure of the case")]

mod crate_source;
mod outline;

use std::{env, fs, path::Path};

use crate_source::CrateSource;
use outline::Outline;

/// Compares a library's surface with what is committed of it, or with `CABANA_BLESS=1` writes that anew.
fn check(library: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates").join(library);
    let present = Outline::of(&CrateSource::read(&folder.join("src/lib.rs"))).to_string();
    let file = folder.join("public-api.txt");
    if env::var_os("CABANA_BLESS").is_some() {
        return fs::write(&file, present).unwrap();
    }
    let known = fs::read_to_string(&file).unwrap();
    if let Some((number, (before, after))) = difference(&known, &present) {
        panic!(
            "the surface of {library} has changed, at line {number} of {}: {before:?} is {after:?} now. Where that is meant: \
             CABANA_BLESS=1 cargo test -p xtask --test surface",
            file.display()
        );
    }
}

/// The first line that differs: its number, and both forms of it.
fn difference<'a>(known: &'a str, present: &'a str) -> Option<(usize, (&'a str, &'a str))> {
    let (mut known, mut present) = (known.lines(), present.lines());
    let pairs = std::iter::from_fn(|| match (known.next(), present.next()) {
        (None, None) => None,
        (before, after) => Some((before.unwrap_or_default(), after.unwrap_or_default())),
    });
    (1..).zip(pairs).find(|(_, (before, after))| before != after)
}

#[test]
fn the_surface_of_the_library_is_the_committed_one() {
    check("cabana");
}

#[test]
fn the_surface_of_the_client_is_the_committed_one() {
    check("client");
}

#[test]
fn the_first_line_that_differs_is_named() {
    assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    assert_eq!(difference("a\nb\n", "a\nc\n"), Some((2, ("b", "c"))));
    assert_eq!(difference("a\n", "a\nc\n"), Some((2, ("", "c"))));
}

#[test]
fn an_outline_has_what_is_public_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("lib.rs", "mod a; pub mod b; pub use a::{Shown, make}; pub use other::Thing as Other; #[cfg(test)] pub mod tests {}"),
        (
            "a.rs",
            "/// It.\n#[derive(Debug)] pub struct Shown { pub a: u8, b: u8 } struct Hidden; pub fn make(n: u8) -> Shown { Shown { a: n, b: n } } \
             impl Shown { pub fn get(&self) -> u8 { self.a } fn own(&self) {} } impl Clone for Shown { fn clone(&self) -> Self { todo!() } } \
             impl Hidden { pub fn get(&self) {} }",
        ),
        ("b.rs", "pub const N: usize = 3; pub enum Kind { #[doc = \"x\"] One(u8), Two { a: [u8; 2] } } pub(crate) fn own() {}"),
    ];
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let expected = "\
## Other
pub use other::Thing as Other;

## Shown
#[derive(Debug)]
pub struct Shown {
    pub a: u8,
    _private: _,
}
impl Clone for Shown {}
impl Shown {
    pub fn get(&self) -> u8 {}
}

## b::Kind
pub enum Kind {
    One(u8),
    Two { a: [u8; 2] },
}

## b::N
pub const N: usize = _;

## make
pub fn make(n: u8) -> Shown {}

";
    assert_eq!(Outline::of(&CrateSource::read(&folder.path().join("lib.rs"))).to_string(), expected);
}
