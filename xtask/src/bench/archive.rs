//! A tree of many files as a tar archive, out of the agent and in, beside GNU tar on the same tree.

use super::Bench;
use super::quantity::Quantity;
use super::row::{Row, Target};
use super::samples::Samples;
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DIRECTORIES: u64 = 200;
const FILES: u64 = 20_000;
/// Bytes of all files together.
const SIZE: u64 = 1 << 30;
const RUNS: usize = 5;
/// Bytes read at once from tar: what a pipe holds.
const PIPE: usize = 64 << 10;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let tree = Tree::make(bench.scratch.path())?;
    let mut rows = tree.out(bench)?;
    rows.extend(tree.back(bench)?);
    tree.remove()?;
    Ok(rows)
}

/// A tree, and the archive that GNU tar makes of it.
struct Tree {
    files: PathBuf,
    archive: PathBuf,
    /// Where it is extracted.
    copy: PathBuf,
}

impl Tree {
    fn make(scratch: &Path) -> Result<Self> {
        let at = |name: &str| scratch.join(name);
        let tree = Self { files: at("tree"), archive: at("tree.tar"), copy: at("copy-of-tree") };
        let content = vec![b'x'; usize::try_from(SIZE / FILES)?];
        for number in 0..FILES {
            let directory = tree.files.join(format!("directory-{}", number % DIRECTORIES));
            fs::create_dir_all(&directory).context("make the tree")?;
            fs::write(directory.join(format!("file-{number}")), &content).context("fill the tree")?;
        }
        let mut archive = File::create(&tree.archive).context("create an archive")?;
        tree.tar(|bytes| Ok(archive.write_all(bytes)?))?;
        Ok(tree)
    }

    fn remove(self) -> Result<()> {
        fs::remove_file(self.archive)?;
        fs::remove_dir_all(self.files).context("remove the tree")
    }

    /// Has GNU tar make an archive of it. To /dev/null it would not read the files at all.
    fn tar(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let tar = Command::new("tar").arg("-C").arg(&self.files).args(["-c", "."]).stdout(Stdio::piped()).spawn();
        let mut tar = tar.context("start tar")?;
        let (mut output, mut buffer) = (tar.stdout.take().context("tar has no output")?, vec![0; PIPE]);
        while let count @ 1.. = output.read(&mut buffer)? {
            take(&buffer[..count])?;
        }
        ensure!(tar.wait()?.success(), "tar has failed");
        Ok(())
    }

    fn out(&self, bench: &Bench) -> Result<Vec<Row>> {
        let agent = bench.agent()?;
        let mut connection = agent.connect()?;
        let before = agent.resident()?;
        let (mut fetched, mut bare) = (Samples::default(), Samples::default());
        for _ in 0..RUNS {
            let answer = fetched.time(|| connection.get("/v1/archive?path=tree"))?;
            ensure!(answer.length > SIZE / FILES * FILES, "{} bytes are not all of it", answer.length);
            bare.time(|| self.tar(|_| Ok(())))?;
        }
        let growth = agent.peak()?.saturating_sub(before);
        Ok(rows("tar out, 1 GiB in 20,000 files", &fetched, &bare, "GNU tar through a pipe", growth))
    }

    fn back(&self, bench: &Bench) -> Result<Vec<Row>> {
        let agent = bench.agent()?;
        let mut connection = agent.connect()?;
        let before = agent.resident()?;
        let (mut sent, mut bare) = (Samples::default(), Samples::default());
        for _ in 0..RUNS {
            sent.time(|| connection.put_file("/v1/archive?path=copy-of-tree", &self.archive))?;
            self.remove_copy()?;
            fs::create_dir(&self.copy)?;
            bare.time(|| self.extract())?;
            self.remove_copy()?;
        }
        let growth = agent.peak()?.saturating_sub(before);
        Ok(rows("tar in, 1 GiB in 20,000 files", &sent, &bare, "GNU tar from a file", growth))
    }

    /// Has GNU tar extract the archive.
    fn extract(&self) -> Result<()> {
        let tar = Command::new("tar").arg("-C").arg(&self.copy).arg("-xf").arg(&self.archive).status().context("start tar")?;
        ensure!(tar.success(), "tar has failed");
        Ok(())
    }

    fn remove_copy(&self) -> Result<()> {
        let held: u64 = fs::read_dir(&self.copy)?.count().try_into()?;
        ensure!(held == DIRECTORIES, "{held} of {DIRECTORIES} directories were extracted");
        fs::remove_dir_all(&self.copy).context("remove the copy")
    }
}

fn rows(name: &'static str, agent: &Samples, bare: &Samples, peer: &'static str, growth: u64) -> Vec<Row> {
    let rate = |time| Quantity::rate(SIZE, time);
    let fast = Target::AtLeast(Quantity::megabytes_per_second(300));
    vec![
        Row::new(name, rate(agent.p50())).p95(rate(agent.p95())).against(peer, rate(bare.p50())).target(fast),
        Row::new("  memory it takes meanwhile", Quantity::Size(growth)).target(Target::AtMost(Quantity::mebibytes(16))),
    ]
}
