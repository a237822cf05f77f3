//! Images on the command line.

use anyhow::{Context, Result};
use hyper::Method;
use serde_json::json;

use super::arguments::{Format, List};
use super::{NOTICE, encode, print, query, send};
use crate::client::Client;

pub(super) async fn pull(engine: &Client, image: &str) -> Result<()> {
    eprintln!("{NOTICE}");
    let path = format!("/images/create?{}", query(&[("fromImage", image)]));
    send(engine, Method::POST, &path, "").await?;
    Ok(())
}

pub(super) async fn tag(engine: &Client, source: &str, target: &str) -> Result<()> {
    let path = format!("/images/{}/tag?{}", encode(source), query(&[("repo", target)]));
    send(engine, Method::POST, &path, "").await?;
    Ok(())
}

/// Prints the image; without a format as a list of one, as docker does.
pub(super) async fn inspect(engine: &Client, image: &str, format: &Format) -> Result<()> {
    let path = format!("/images/{}/json", encode(image));
    let image = send(engine, Method::GET, &path, "").await?.json();
    match &format.format {
        Some(_) => print::print(&image, format),
        None => print::print(&json!([image]), format),
    }
}

pub(super) async fn remove(engine: Option<&Client>, images: &[String]) -> Result<()> {
    let Some(engine) = engine else {
        eprintln!("cabana-engine: no engine is named by DOCKER_HOST; there is no image to remove");
        return Ok(());
    };
    for image in images {
        let path = format!("/images/{}", encode(image));
        send(engine, Method::DELETE, &path, "").await?;
        println!("Untagged: {image}");
    }
    Ok(())
}

pub(super) async fn list(engine: Option<&Client>, list: &List) -> Result<()> {
    let Some(engine) = engine else {
        return Ok(());
    };
    let images = send(engine, Method::GET, "/images/json", "").await?.json();
    let pattern = match list.filter.as_deref() {
        None => None,
        Some(filter) => {
            Some(filter.strip_prefix("reference=").with_context(|| format!("only reference=… filters images, not {filter:?}"))?)
        }
    };
    for image in images.as_array().into_iter().flatten() {
        let reference = image["RepoTags"][0].as_str().unwrap_or_default();
        let (repository, tag) = reference.rsplit_once(':').unwrap_or((reference, ""));
        if pattern.is_some_and(|pattern| !matches(pattern, repository)) {
            continue;
        }
        let row = json!({ "Repository": repository, "Tag": tag, "ID": image["Id"], "Size": image["Size"] });
        println!("{}", print::row(&row, &["Repository", "Tag", "ID"], list)?);
    }
    Ok(())
}

/// Docker's `reference` filter, as far as wrangler uses it: a literal, or a prefix before `*`.
fn matches(pattern: &str, repository: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => repository.starts_with(prefix),
        None => repository == pattern,
    }
}
