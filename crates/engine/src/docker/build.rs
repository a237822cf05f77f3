//! `docker build`: checks a Dockerfile and registers its image.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result};
use hyper::Method;

use super::arguments::Build;
use super::{NOTICE, query, send};
use crate::client::Client;
use crate::image::dockerfile;

pub(super) async fn build(engine: Option<&Client>, build: Build) -> Result<()> {
    let text = read_dockerfile(&build)?;
    let arguments = build_arguments(&build.build_arg);
    let ports = dockerfile::exposed_ports(&text, &arguments)?;
    eprintln!("{NOTICE}");
    match engine {
        Some(engine) => {
            let arguments = serde_json::to_string(&arguments)?;
            let path = format!("/build?{}", query(&[("t", &build.tag), ("buildargs", &arguments)]));
            send(engine, Method::POST, &path, text).await?;
            eprintln!("cabana-engine: registered {} with ports {ports:?}", build.tag);
        }
        None => {
            eprintln!("cabana-engine: no engine is named by DOCKER_HOST; the Dockerfile was checked, no image was registered")
        }
    }
    Ok(())
}

fn read_dockerfile(build: &Build) -> Result<String> {
    match &build.file {
        Some(path) if path.as_os_str() == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("the Dockerfile on standard input")?;
            Ok(text)
        }
        path => {
            let path = path.clone().unwrap_or_else(|| build.context.join("Dockerfile"));
            std::fs::read_to_string(&path).with_context(|| path.display().to_string())
        }
    }
}

/// `NAME=value`; a bare `NAME` takes its value from the environment, as docker does.
fn build_arguments(given: &[String]) -> BTreeMap<String, String> {
    given
        .iter()
        .filter_map(|argument| match argument.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => Some((argument.clone(), std::env::var(argument).ok()?)),
        })
        .collect()
}
