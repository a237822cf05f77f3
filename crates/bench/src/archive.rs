//! A tree of many files as a tar archive, out of the agent and in, beside GNU tar on the same tree.

use crate::Bench;
use crate::quantity::Quantity;
use crate::row::Row;
use crate::samples::Samples;
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

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let tree = Tree::create(bench.scratch.path())?;
    let rows = [tree.measure_download(bench)?, tree.measure_upload(bench)?].concat();
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
    fn create(scratch: &Path) -> Result<Self> {
        let path = |name: &str| scratch.join(name);
        let tree = Self { files: path("tree"), archive: path("tree.tar"), copy: path("copy-of-tree") };
        let content = vec![b'x'; usize::try_from(SIZE / FILES)?];
        for number in 0..FILES {
            let directory = tree.files.join(format!("directory-{}", number % DIRECTORIES));
            fs::create_dir_all(&directory).context("create the tree")?;
            fs::write(directory.join(format!("file-{number}")), &content).context("fill the tree")?;
        }
        let mut archive = File::create(&tree.archive).context("create an archive")?;
        tree.pack(|bytes| Ok(archive.write_all(bytes)?))?;
        Ok(tree)
    }

    fn remove(self) -> Result<()> {
        fs::remove_file(self.archive)?;
        fs::remove_dir_all(self.files).context("remove the tree")
    }

    fn measure_download(&self, bench: &Bench) -> Result<Vec<Row>> {
        let agent = bench.start_agent()?;
        let mut connection = agent.connect()?;
        let before = agent.resident_bytes()?;
        let (mut fetched, mut bare) = (Samples::default(), Samples::default());
        for _ in 0..RUNS {
            let body = fetched.time(|| connection.get("/v1/archive?path=tree"))?;
            ensure!(body.length() > SIZE / FILES * FILES, "an archive of {} bytes lacks files", body.length());
            bare.time(|| self.pack(|_| Ok(())))?;
        }
        let growth = agent.growth_since(before)?;
        Ok(rows("tar out, 1 GiB in 20,000 files", &fetched, &bare, "GNU tar through a pipe", growth))
    }

    fn measure_upload(&self, bench: &Bench) -> Result<Vec<Row>> {
        let agent = bench.start_agent()?;
        let mut connection = agent.connect()?;
        let before = agent.resident_bytes()?;
        let (mut sent, mut bare) = (Samples::default(), Samples::default());
        for _ in 0..RUNS {
            sent.time(|| connection.put_file("/v1/archive?path=copy-of-tree", &self.archive))?;
            self.remove_copy()?;
            fs::create_dir(&self.copy)?;
            bare.time(|| self.extract())?;
            self.remove_copy()?;
        }
        let growth = agent.growth_since(before)?;
        Ok(rows("tar in, 1 GiB in 20,000 files", &sent, &bare, "GNU tar from a file", growth))
    }

    /// Makes GNU tar write an archive to a pipe. To /dev/null it would not read the files at all.
    fn pack(&self, mut consume: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let tar = Command::new("tar").arg("-C").arg(&self.files).args(["-c", "."]).stdout(Stdio::piped()).spawn();
        let mut tar = tar.context("start tar")?;
        let (mut output, mut buffer) = (tar.stdout.take().context("tar has no output")?, vec![0; PIPE]);
        while let count @ 1.. = output.read(&mut buffer)? {
            consume(&buffer[..count])?;
        }
        ensure!(tar.wait()?.success(), "tar failed");
        Ok(())
    }

    fn extract(&self) -> Result<()> {
        let tar = Command::new("tar").arg("-C").arg(&self.copy).arg("-xf").arg(&self.archive).status().context("start tar")?;
        ensure!(tar.success(), "tar failed");
        Ok(())
    }

    fn remove_copy(&self) -> Result<()> {
        let extracted: u64 = fs::read_dir(&self.copy)?.count().try_into()?;
        ensure!(extracted == DIRECTORIES, "{extracted} of {DIRECTORIES} directories were extracted");
        fs::remove_dir_all(&self.copy).context("remove the copy")
    }
}

fn rows(name: &'static str, agent: &Samples, bare: &Samples, baseline: &'static str, growth: u64) -> Vec<Row> {
    let throughput = |duration| Quantity::throughput(SIZE, duration);
    vec![
        Row::new(name, throughput(agent.p50()))
            .p95(throughput(agent.p95()))
            .baseline(baseline, throughput(bare.p50()))
            .at_least(Quantity::megabytes_per_second(300)),
        Row::new("  memory it takes meanwhile", Quantity::Size(growth)).at_most(Quantity::mebibytes(16)),
    ]
}
