//! What branches, revisions and remotes may be called. None can be taken for an option.

use axum::http::Uri;
use cabana_protocol::{Error, file::FilePath, names::invalid_field};

/// Longest name of a branch or remote, in bytes.
const NAME_BYTES: usize = 244;

/// Longest revision, in bytes.
const REVISION_BYTES: usize = 1_024;

/// Longest URL, in bytes.
const URL_BYTES: usize = 2_048;

/// A branch's name, by the rules of git-check-ref-format(1), from this field.
pub(super) fn branch<'a>(name: &'a str, field: &str) -> Result<&'a str, Error> {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let refused = |char: char| char.is_ascii_control() || " ~^:?*[\\".contains(char);
    let allowed = name.len() <= NAME_BYTES
        && !name.starts_with('-')
        && name.split('/').all(part)
        && !name.contains(refused)
        && !name.ends_with('.')
        && !["..", "@{"].iter().any(|sequence| name.contains(sequence))
        && !["@", "HEAD"].contains(&name);
    if allowed {
        Ok(name)
    } else {
        Err(Error::invalid_request(format!("invalid branch name {name:?}, see git-check-ref-format(1)")).of_field(field))
    }
}

/// A revision from this field, as gitrevisions(7) has it. Whether it exists is git's to say.
pub(super) fn revision<'a>(text: &'a str, field: &str) -> Result<&'a str, Error> {
    let fit =
        (1..=REVISION_BYTES).contains(&text.len()) && !text.starts_with('-') && !text.contains(|char: char| char.is_control());
    if fit { Ok(text) } else { Err(invalid_field(field, "a revision of 1 to 1,024 bytes without a leading dash")) }
}

/// A remote's name or URL.
pub(super) fn remote(text: &str) -> Result<&str, Error> {
    if text.contains("://") {
        return origin(text).map(|_| text).map_err(|error| error.of_field("remote"));
    }
    branch(text, "remote").map_err(|_| Error::invalid_request(format!("invalid name of a remote: {text:?}")).of_field("remote"))
}

/// The scheme, host and port of a URL that may be given to git.
///
/// Fails with `invalid_request`, without repeating a URL that may hold a password.
pub(super) fn origin(url: &str) -> Result<String, Error> {
    let refused = |why| Err(Error::invalid_request(format!("the URL {why}")).of_field("url"));
    let Some(uri) = Some(url).filter(|url| url.len() <= URL_BYTES).and_then(|url| url.parse::<Uri>().ok()) else {
        return refused("is invalid or has more than 2,048 bytes");
    };
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return refused("must begin with http:// or https://");
    };
    if authority.as_str().contains('@') {
        return refused("contains credentials: pass them in the field `credentials`");
    }
    // Among others the asterisk, by which settings would be for many hosts.
    let fit = |char: char| char.is_ascii_alphanumeric() || "-._:[]".contains(char);
    if authority.host().is_empty() || authority.host().starts_with('-') || !authority.as_str().chars().all(fit) {
        return refused("has an invalid host");
    }
    Ok(format!("{scheme}://{authority}"))
}

/// Where a clone goes that names no directory: the URL's last segment.
pub(super) fn directory(url: &str) -> Result<FilePath, Error> {
    let path = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let path = path.strip_suffix("/.git").unwrap_or(path).trim_end_matches('/');
    let name = path.splitn(4, '/').nth(3).and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let name = name.strip_suffix(".git").unwrap_or(name);
    match name {
        "" | "." | ".." => {
            Err(Error::invalid_request("the URL does not end in a name for the directory; set `path`").of_field("path"))
        }
        name => Ok(name.into()),
    }
}

/// Paths as arguments.
///
/// Fails with `invalid_request` for one that is not UTF-8, empty, or holds a NUL.
pub(super) fn paths(paths: &[FilePath]) -> Result<Vec<String>, Error> {
    let text = |path: &FilePath| std::str::from_utf8(path.as_bytes()).ok().map(str::to_owned);
    let fit = |text: &String| !text.is_empty() && !text.contains('\0');
    let refused = || invalid_field("paths", "paths in UTF-8 that are not empty and have no NUL byte");
    paths.iter().map(|path| text(path).filter(fit).ok_or_else(refused)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_named_as_git_allows() {
        for name in ["main", "feature/x", "a.b", "\u{e9}", "a@b", "1", "x-"] {
            assert!(branch(name, "branch").is_ok(), "{name}");
        }
        for name in [
            "",
            "-x",
            "--upload-pack=x",
            ".x",
            "a/.x",
            "x.lock",
            "a/",
            "/a",
            "a//b",
            "a..b",
            "a b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[",
            "a\\b",
            "a\nb",
            "a\x7f",
            "x.",
            "@",
            "a@{1}",
            "HEAD",
            &*"x".repeat(245),
        ] {
            assert!(branch(name, "branch").is_err(), "{name:?}");
        }
    }

    #[test]
    fn revisions_are_no_options() {
        for (text, fit) in
            [("HEAD~2", true), ("v1.0^{}", true), (":/fix", true), ("", false), ("-p", false), ("a\nb", false), ("a\0", false)]
        {
            assert_eq!(revision(text, "commit").is_ok(), fit, "{text:?}");
        }
    }

    #[test]
    fn only_web_addresses_without_credentials_are_taken() {
        for (url, expected) in [
            ("https://example.com/a/b.git", Some("https://example.com")),
            ("http://127.0.0.1:8080/x", Some("http://127.0.0.1:8080")),
            ("https://[::1]:1/x", Some("https://[::1]:1")),
            ("https://me:pw@example.com/x", None),
            ("https://token@example.com/x", None),
            ("https://*.com/x", None),
            ("https://-oProxyCommand=x/y", None),
            ("ssh://-oProxyCommand=x/y", None),
            ("ext::sh -c id", None),
            ("file:///etc", None),
            ("git@example.com:a/b", None),
            ("git://example.com/a", None),
            ("/etc", None),
            ("--upload-pack=x", None),
            ("https://", None),
            ("https:///x", None),
            ("https://a b/c", None),
            ("https://a/b\nc", None),
            ("", None),
            (&*format!("https://a/{}", "x".repeat(2_048)), None),
        ] {
            assert_eq!(origin(url).ok().as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn a_clone_is_named_after_its_url() {
        for (url, expected) in [
            ("https://h/a/b.git", Some("b")),
            ("https://h/a/b/", Some("b")),
            ("https://h/b/.git/", Some("b")),
            ("https://h/b?x=/y", Some("b")),
            ("https://h", None),
            ("https://h/", None),
            ("https://h/..", None),
            ("https://h/.git", None),
        ] {
            assert_eq!(directory(url).ok().map(|path| path.to_string()).as_deref(), expected, "{url}");
        }
    }
}
