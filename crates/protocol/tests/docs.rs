//! The documentation agrees with the code: generated tables, links, names of source files. `CABANA_BLESS=1 cargo test -p cabana-protocol`
//! writes the tables.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use cabana_protocol::{Code, Operation, operations, table};
use schemars::{JsonSchema, schema_for};

/// Pages at the repository's root; all others are in `docs`.
const ROOT_PAGES: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];

/// Directories that hold source files.
const SOURCES: [&str; 7] = ["container-agent", "crates", "fuzz", "sandboxes", "tests", "worker", "xtask"];

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Each page with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let root = repository();
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = ROOT_PAGES.iter().map(|name| root.join(name)).chain(docs);
    pages.map(|page| (page.clone(), fs::read_to_string(page).unwrap())).collect()
}

/// Compares the lines between a page's two marks with `table`, or writes them.
fn check_table(page: &str, name: &str, table: &str) {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let path = repository().join(page);
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{page} has no mark {begin}"));
    let (kept, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{page} has no mark {end}"));
    if std::env::var_os("CABANA_BLESS").is_some() {
        fs::write(&path, [before, &begin, table, &end, after].concat()).unwrap();
    } else {
        assert!(kept == table, "CABANA_BLESS=1 cargo test -p cabana-protocol writes the table of {page}:\n{table}");
    }
}

/// An operation's line of the table. Its description is the first paragraph of its documentation, without line breaks.
fn line<O: Operation + JsonSchema>() -> String {
    let descriptor = table::find(O::NAME).unwrap();
    let schema = schema_for!(O);
    let description = schema.get("description").and_then(|description| description.as_str()).unwrap();
    let summary = description.split("\n\n").next().unwrap().replace('\n', " ");
    let fields = schema.get("properties").and_then(|fields| fields.as_object()).cloned().unwrap_or_default();
    let required = schema.get("required").and_then(|names| names.as_array()).cloned().unwrap_or_default();
    let names = |optional: bool| {
        let names = fields.keys().filter(move |name| required.iter().any(|one| one == name.as_str()) != optional);
        names.map(move |name| if optional { format!("`{name}`?") } else { format!("`{name}`") }).collect::<Vec<_>>()
    };
    let fields = [names.clone()(false), names(true)].concat().join(" ");
    let streams = if descriptor.streaming { "yes" } else { "" };
    format!("| `{}` | {fields} | {streams} | {summary} |\n", O::NAME)
}

macro_rules! lines {
    (calls: [$($call:ty),* $(,)?], streams: [$($stream:ty),* $(,)?] $(,)?) => {
        [$(line::<$stream>(),)* $(line::<$call>(),)*].concat()
    };
}

#[test]
fn operations_page_lists_every_operation() {
    let table = format!("| operation | request | streams | what it does |\n| --- | --- | --- | --- |\n{}", operations!(lines));
    check_table("docs/operations.md", "operations", &table);
}

#[test]
fn api_page_lists_every_error_code() {
    let schema = schema_for!(Code);
    let codes = schema.get("oneOf").and_then(|codes| codes.as_array()).unwrap();
    let lines = codes.iter().map(|code| {
        let (name, description) = (code["const"].as_str().unwrap(), code["description"].as_str().unwrap().replace('\n', " "));
        let (status, meaning) = description.split_once(": ").unwrap_or_else(|| panic!("{name}: no status in {description}"));
        let parsed: Code = serde_json::from_value(code["const"].clone()).unwrap();
        assert_eq!(status, parsed.status().to_string(), "{name}");
        let (first, rest) = meaning.split_at(1);
        let retryable = if parsed.retryable() { "yes" } else { "" };
        format!("| `{name}` | {status} | {retryable} | {}{rest} |\n", first.to_uppercase())
    });
    let table = format!("| code | status | retryable | meaning |\n| --- | --- | --- | --- |\n{}", lines.collect::<String>());
    check_table("docs/api.md", "codes", &table);
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = |char: &char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_');
    heading.trim().to_lowercase().chars().filter(kept).map(|char| if char == ' ' { '-' } else { char }).collect()
}

/// A page's text without its blocks of code.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

#[test]
fn links_of_the_documentation_lead_to_files_and_headings() {
    let mut checked = 0;
    for (page, text) in pages() {
        let text = prose(&text);
        let links = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        for link in links.filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link} leads to no file", page.display());
            if let Some(heading) = heading {
                let target = prose(&fs::read_to_string(&target).unwrap());
                let mut headings = target.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#'));
                assert!(headings.any(|found| anchor(found) == heading), "{}: {link} leads to no heading", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 0, "no page has a link");
}

/// Adds every file below a directory, as its path within the repository.
fn collect(root: &Path, directory: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            files.push(format!("/{}", path.strip_prefix(root).unwrap().display()));
        }
    }
}

#[test]
fn source_files_named_in_the_documentation_exist() {
    let root = repository();
    let mut files = Vec::new();
    SOURCES.iter().for_each(|directory| collect(&root, &root.join(directory), &mut files));
    let mut checked = 0;
    for (page, text) in pages() {
        let text = prose(&text);
        for name in text.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs") && !name.contains(['<', ' '])) {
            // CONTRIBUTING names a family and its part, which are examples.
            if ["family.rs", "family/part.rs", "mod.rs"].contains(&name) {
                continue;
            }
            let end = format!("/{name}");
            assert!(files.iter().any(|file| file.ends_with(&end)), "{}: there is no file {name}", page.display());
            checked += 1;
        }
    }
    assert!(checked > 0, "no page names a source file");
}
