//! The measurements in the image's own settings: a container of it runs cabana-bench, so that the limits are measured there too.

use crate::docker::{Bases, Daemon, Image};
use crate::progress::{Outcome, Step};
use crate::{paths, shell};
use anyhow::Result;
use std::path::Path;

/// What is measured unless the command line names something: all that needs no program that the image lacks.
const MEASUREMENTS: [&str; 10] =
    ["start", "footprint", "exec", "throughput", "stream", "session", "stalled", "file", "small", "oom"];
/// The settings of the smallest container.
const SETTINGS: [&str; 6] = ["--memory", "256m", "--memory-swap", "256m", "--pids-limit", "256"];
/// Where the image has its agent.
const AGENT: &str = "/usr/local/bin/cabana-agent";
/// Where the program that measures is in the container, and where it may write.
const PROGRAM: &str = "/usr/local/bin/cabana-bench";
const SCRATCH: &str = "/workspace";

/// Builds the image, and runs the program in a container of it.
pub(super) fn run(program: &Path, filter: &[String]) -> Result<()> {
    let daemon = Step::run("image", |step| {
        let root = paths::repository()?;
        let daemon = Daemon::provide(step)?;
        let bases = Bases::provide(&daemon, &root, step)?;
        Image::Shipped.build(daemon.docker(), &bases, &root, step)?;
        Ok((Outcome::Done(format!("built {}", bases.describe())), daemon))
    })?;
    let mut command = daemon.docker().command(["run", "--rm"]);
    command.args(SETTINGS).arg("--volume").arg(format!("{}:{PROGRAM}:ro", program.display()));
    command.args(["--entrypoint", PROGRAM, Image::Shipped.tag(), "--agent", AGENT, "--scratch", SCRATCH]);
    if filter.is_empty() {
        command.args(MEASUREMENTS)
    } else {
        command.args(filter)
    };
    shell::stream(&mut command)
}
