//! How a sandbox is made, and what becomes of it.

use cabana::{
    Code, CreateSandbox, Result,
    protocol::sandbox::{CreateSnapshot, Labels, Origin, State, UpdateSandbox},
};
use worker::Env;

use crate::{check, failure, sandbox};

fn labels(value: &str) -> Labels {
    [("case".to_owned(), value.to_owned())].into()
}

fn labeled(value: &str) -> CreateSandbox {
    CreateSandbox {
        labels: labels(value),
        env: [("A".to_owned(), Some("\u{e9} b".to_owned()))].into(),
        ..CreateSandbox::default()
    }
}

pub(crate) async fn a_sandbox_is_made_on_first_use(env: &Env) -> Result<()> {
    let handle = sandbox(env, "made")?;
    check(handle.id().as_str().starts_with("sbx-made-"), handle.id())?;
    let error = failure(handle.show()).await?;
    check(error.code == Code::NotFound, error)?;
    let with = handle.clone().with(labeled("made"));
    // A body may be the first use, too.
    with.write("file", "content").await?;
    let shown = handle.show().await?;
    check(shown.labels == labels("made") && shown.state == State::Running, shown)?;
    let told = handle.exec("echo $A; cat file").await?;
    check(told.stdout.to_string() == "\u{e9} b\ncontent", told)
}

pub(crate) async fn settings_of_a_sandbox_that_is_there_stay(env: &Env) -> Result<()> {
    let handle = sandbox(env, "stay")?.with(labeled("first"));
    handle.expose(3000).await?;
    handle.clone().with(labeled("second")).exec("true").await?;
    check(handle.show().await?.labels == labels("first"), "the labels")?;
    let error = failure(handle.create(&labeled("second"))).await?;
    check(error.code == Code::Conflict, error)?;
    let change = UpdateSandbox { labels: [("case".to_owned(), Some("third".to_owned()))].into(), ..UpdateSandbox::default() };
    check(handle.update(&change).await?.labels == labels("third"), "the change")
}

pub(crate) async fn a_sandbox_is_not_made_by_what_needs_it(env: &Env) -> Result<()> {
    let handle = sandbox(env, "needs")?;
    for error in [
        failure(handle.clone().existing().exec("true")).await?,
        failure(handle.clone().existing().read("file")).await?,
        failure(handle.stop()).await?,
        failure(handle.snapshots()).await?,
        failure(handle.events()).await?,
    ] {
        check(error.code == Code::NotFound, error)?;
    }
    // Where there is nothing, nothing is to be done.
    handle.delete().await
}

pub(crate) async fn settings_that_cannot_be_are_refused(env: &Env) -> Result<()> {
    let handle = sandbox(env, "refused")?;
    let odd = CreateSandbox { sleep_after_ms: Some(1), ..CreateSandbox::default() };
    let large = CreateSandbox { env: [("A".to_owned(), Some("a".repeat(20_000)))].into(), ..CreateSandbox::default() };
    for settings in [odd, large.clone()] {
        let error = failure(handle.clone().with(settings).exec("true")).await?;
        check(error.code == Code::InvalidRequest, error)?;
    }
    let error = failure(handle.show()).await?;
    check(error.code == Code::NotFound, error)?;
    handle.create(&large).await?;
    let told = handle.exec("printf %s \"$A\" | wc -c").await?;
    check(told.stdout.to_string().trim() == "20000", told)
}

pub(crate) async fn a_snapshot_is_forked(env: &Env) -> Result<()> {
    let handle = sandbox(env, "origin")?;
    handle.write("file", "first").await?;
    let snapshot = handle.snapshot(&CreateSnapshot { name: Some("first".to_owned()) }).await?;
    let settings = CreateSandbox { from: Some(Origin { snapshot: snapshot.id.clone() }), ..CreateSandbox::default() };
    let fork = sandbox(env, "fork")?.with(settings);
    check(fork.read("file").await?.text(100).await? == "first", "the fork's file")?;
    handle.write("file", "second").await?;
    handle.restore(&snapshot.id).await?;
    check(handle.read("file").await?.text(100).await? == "first", "the restored file")?;
    let all = handle.snapshots().await?;
    check(all.snapshots.iter().any(|known| known.id == snapshot.id), all)?;
    handle.delete_snapshot(&snapshot.id).await
}

pub(crate) async fn a_deleted_sandbox_is_made_anew(env: &Env) -> Result<()> {
    let handle = sandbox(env, "anew")?;
    handle.write("file", "content").await?;
    check(handle.stop().await?.state == State::Sleeping, "the stop")?;
    check(handle.exec("cat file").await?.stdout.to_string() == "content", "the file after a sleep")?;
    check(handle.restart().await?.state == State::Running, "the restart")?;
    handle.delete().await?;
    let told = handle.exec("ls").await?;
    check(told.stdout.0.is_empty(), told)
}
