//! The byte lanes.

use cabana::{ArchiveFormat, Body, Code, Result, Upload};
use futures_util::{StreamExt, TryStreamExt, stream};
use worker::Env;

use crate::{check, failure, sandbox};

pub(crate) async fn content_of_any_size_goes_there_and_back(env: &Env) -> Result<()> {
    let sandbox = sandbox(env, "content")?;
    let pieces = stream::iter(0..64u8).map(|number| Ok(vec![number; 64 << 10]));
    let written = sandbox.write("large", Body::stream(pieces)).await?;
    check(written.created && written.size_bytes == 64 * (64 << 10), &written)?;
    let read = sandbox.read("large").await?;
    check((read.length(), read.etag().as_ref()) == (Some(written.size_bytes), Some(&written.etag)), &read)?;
    let mut next = 0usize;
    let right: Vec<bool> = read
        .into_stream()?
        .map_ok(|piece| piece.into_iter().all(|byte| (usize::from(byte) == next / (64 << 10), next += 1).0))
        .try_collect()
        .await?;
    check(right.iter().all(|right| *right) && next as u64 == written.size_bytes, next)?;

    sandbox.upload("script", "#!/bin/sh\necho \u{e9}\n", Upload { mode: Some("0755".parse()?), ..Upload::default() }).await?;
    let ran = sandbox.exec(["./script"]).await?;
    check(ran.stdout.to_string() == "\u{e9}\n", ran)?;
    check(sandbox.read("script").await?.text(100).await? == "#!/bin/sh\necho \u{e9}\n", "text")?;
    let long = failure(sandbox.read("large").await?.bytes(1_000)).await?;
    check(long.code == Code::PayloadTooLarge, long)?;
    let missing = failure(sandbox.read("missing")).await?;
    check(missing.code == Code::NotFound, missing)
}

pub(crate) async fn a_file_that_has_changed_is_not_continued(env: &Env) -> Result<()> {
    let sandbox = sandbox(env, "changed")?;
    let first = sandbox.write("file", "0123456789").await?;
    let rest = sandbox.download("file", 4, Some(&first.etag)).await?;
    check(rest.text(100).await? == "456789", "the rest")?;
    sandbox.write("file", "other").await?;
    let error = failure(sandbox.download("file", 4, Some(&first.etag))).await?;
    check(error.code == Code::PreconditionFailed, error)
}

pub(crate) async fn a_tree_moves_from_one_sandbox_to_another(env: &Env) -> Result<()> {
    let (from, to) = (sandbox(env, "from")?, sandbox(env, "to")?);
    from.exec("mkdir -p tree/deep && echo leaf > tree/deep/leaf && ln -s deep tree/link").await?;
    let archive = from.archive("tree", ArchiveFormat::Gzip).await?;
    to.exec("mkdir copy").await?;
    to.extract("copy", archive).await?;
    let found = to.exec("cat copy/link/leaf").await?;
    check(found.stdout.to_string() == "leaf\n", found)
}
