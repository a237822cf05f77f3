//! Containers on the command line.

use anyhow::{Context, Result};
use hyper::Method;
use serde_json::json;

use super::arguments::List;
use super::{encode, print, query, send};
use crate::client::Client;

pub(super) async fn list(engine: &Client, list: &List) -> Result<()> {
    let filters = container_filters(list.filter.as_deref())?;
    let all = list.all.to_string();
    let path = format!("/containers/json?{}", query(&[("all", &all), ("filters", &filters)]));
    let containers = send(engine, Method::GET, &path, "").await?.json();
    for container in containers.as_array().into_iter().flatten() {
        let name = container["Names"][0].as_str().unwrap_or_default();
        let row = json!({
            "ID": container["Id"], "Names": name.trim_start_matches('/'),
            "Image": container["Image"], "Status": container["Status"],
        });
        println!("{}", print::row(&row, &["ID", "Image", "Status", "Names"], list)?);
    }
    Ok(())
}

pub(super) async fn remove(engine: &Client, containers: &[String], force: bool) -> Result<()> {
    for container in containers {
        let path = format!("/containers/{}?force={force}", encode(container));
        send(engine, Method::DELETE, &path, "").await?;
        println!("{container}");
    }
    Ok(())
}

pub(super) async fn stop(engine: &Client, containers: &[String]) -> Result<()> {
    for container in containers {
        let path = format!("/containers/{}/stop", encode(container));
        send(engine, Method::POST, &path, "").await?;
        println!("{container}");
    }
    Ok(())
}

/// `label=name=value` or `name=part`, as the engine reads it.
fn container_filters(filter: Option<&str>) -> Result<String> {
    let Some(filter) = filter else {
        return Ok(String::new());
    };
    let (kind, value) = filter.split_once('=').with_context(|| format!("the filter {filter:?} has no value"))?;
    Ok(json!({ kind: [value] }).to_string())
}
