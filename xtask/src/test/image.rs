//! The part that tests the image: its containers run the same cases as the agent alone, as it ships.
//!
//! Every case has a container for itself, with the image's user, Docker's default capabilities and seccomp profile, few processes and
//! little memory. Cases of kernels run in the image of the kind `python`. Where there can be no Docker daemon the part says why, and
//! counts nothing. So does a run that does not name the part where the images have never been built: that takes longer than all other
//! parts together.

use super::build::Built;
use super::plan::{Memory, Plan, Target};
use super::report::{Ran, Report};
use super::service::Worker;
use super::suite::Suite;
use super::{Part, Run};
use crate::artifacts::{Profile, WasmOpt};
use crate::dev::interrupt::Interrupt;
use crate::dev::stack::{Engine, Layout, Options};
use crate::docker::{Bases, Daemon, Image, WranglerDocker};
use crate::progress::{Outcome, Step};
use crate::shell;
use anyhow::{Result, ensure};

/// The cases that run in the other images, by the beginning of their names: they need no more than a POSIX shell.
const BARE: &str = "bare::";
/// What shows that the image of the kind `python` has what its description says.
const PYTHON: &str = "import ipykernel, matplotlib, numpy, pandas; print(pandas.DataFrame(numpy.eye(2)).sum().sum())";

/// Why a run without a name for the part leaves it out.
const UNBUILT: &str = "the images have not been built here yet: `cargo xtask test image` builds and tests them";

/// The cases of the whole service with Docker in place of the engine: an exec, a preview, a stop, and what the README shows.
const DOCKER: [&str; 4] = [
    "control::tour::commands_of_the_readme_work_as_written",
    "control::tour::commands_of_the_previews_page_work_as_written",
    "control::lifecycle::stopping::a_sandbox_is_started_stopped_and_restarted_by_its_owner",
    "exec::output_bytes_arrive_exactly",
];

/// The images, and the daemon that has them.
struct Images {
    daemon: Daemon,
    bases: Bases,
    built: Vec<Image>,
}

impl Run {
    /// Builds the images and runs their cases. A daemon of the run's own ends with the calling thread.
    pub(super) fn image(&self, report: &Report, built: &Built, worker: &Worker) {
        if let Some(images) = self.build_images(report) {
            self.image_cases(report, built, &images);
            self.docker_cases(report, built, &images, worker);
        }
    }

    /// Builds the images, with what that needs.
    fn build_images(&self, report: &Report) -> Option<Images> {
        let is_named = self.parts.contains(&Part::Image);
        let found = Step::run("docker daemon", |step| {
            ensure!(is_named || Daemon::has_data()?, UNBUILT);
            let daemon = Daemon::provide(step)?;
            ensure!(is_named || daemon.docker().has_image(Image::Default.tag()), UNBUILT);
            let bases = Bases::provide(&daemon, &self.root, step)?;
            let version = daemon.docker().server_version().unwrap_or_default();
            let whose = if daemon.is_own() { "started for this run" } else { "of this machine" };
            Ok((Outcome::Done(format!("{version}, {whose}; images {}", bases.describe())), (daemon, bases)))
        });
        let (daemon, bases) = match found {
            Ok(found) => found,
            Err(reason) => {
                report.leave_out("image", &reason);
                return None;
            }
        };
        let build = |name: &str, image: Image| {
            report.check(name, |step| image.build(daemon.docker(), &bases, &self.root, step)).then_some(image)
        };
        let default = build("build image", Image::Default)?;
        let others = [build("build image of python", Image::Python), build("build image on musl", Image::Musl)];
        let built = [Some(default)].into_iter().chain(others).flatten().collect();
        Some(Images { daemon, bases, built })
    }

    /// Runs the cases in containers of two sizes, those of kernels in the image that has some, and a few in all other images.
    fn image_cases(&self, report: &Report, built: &Built, images: &Images) {
        report.cases("image 256 MiB", |step| {
            let suite = self.image_suite(built, images, Image::Default, Memory::Small)?;
            let plan = Plan::new(&suite.list()?, Target::Image(Memory::Small));
            let mut tally = suite.run(&plan.parallel, step)?;
            tally.add(suite.run_serially(&plan.serial, step)?);
            Ok(Ran { tally, elsewhere: plan.elsewhere })
        });
        report.cases("image 1 GiB", |step| {
            let suite = self.image_suite(built, images, Image::Default, Memory::Large)?;
            let plan = Plan::new(&suite.list()?, Target::Image(Memory::Large));
            let mut tally = suite.run(&plan.parallel, step)?;
            tally.add(suite.run_serially(&plan.serial, step)?);
            Ok(Ran { tally, elsewhere: 0 })
        });
        if images.built.contains(&Image::Python) {
            report.check("packages of python", |_| {
                let run = ["run", "--rm", "--user", "sandbox", "--entrypoint", "python", Image::Python.tag(), "-c", PYTHON];
                let sum = shell::capture(&mut images.daemon.docker().command(run))?;
                ensure!(sum == "2.0", "pandas gives {sum}");
                Ok(())
            });
            report.cases("kernels of python", |step| {
                // Kernels and what they import need more than the smallest containers have.
                let suite = self.image_suite(built, images, Image::Python, Memory::Large)?;
                let plan = Plan::new(&suite.list()?, Target::KernelImage);
                Ok(Ran { tally: suite.run(&plan.parallel, step)?, elsewhere: 0 })
            });
        }
        for image in images.built.iter().filter(|image| **image != Image::Default) {
            report.cases(image.tag(), |step| {
                let suite = self.image_suite(built, images, *image, Memory::Small)?;
                let mut cases = Plan::new(&suite.list()?, Target::Image(Memory::Small)).parallel;
                cases.retain(|case| case.starts_with(BARE));
                Ok(Ran { tally: suite.run(&cases, step)?, elsewhere: 0 })
            });
        }
    }

    /// Runs cases against the service as `cargo xtask dev --engine docker` starts it.
    fn docker_cases(&self, report: &Report, built: &Built, images: &Images, worker: &Worker) {
        report.cases("dev --engine docker", |step| {
            let mut layout = Layout::create()?;
            let docker = images.daemon.docker();
            layout.use_docker(WranglerDocker::beside(docker, &images.bases, &self.root, layout.directory(), step)?);
            let options = Options {
                port: None,
                engine: Engine::Docker,
                profile: Profile::Dev,
                wasm_opt: WasmOpt::Run,
                log: false,
                testing: false,
                internet: false,
                kernels: None,
                variables: Vec::new(),
            };
            layout.copy_worker(&worker.tools, &worker.directory, &options)?;
            let stack = layout.start(&worker.tools, &options, &Interrupt::never())?;
            let environment = vec![
                ("CABANA_TEST_TARGET", "stack".into()),
                ("CABANA_TEST_URL", stack.url().into()),
                ("CABANA_TEST_API_KEY", stack.api_key().into()),
            ];
            let suite = self.suite(&built.integration, environment, "dev-docker")?;
            let ran = suite.run_serially(&DOCKER.map(str::to_owned), step).map(|tally| Ran { tally, elsewhere: 0 });
            stack.stop();
            ran
        });
    }

    fn image_suite<'a>(&self, built: &'a Built, images: &Images, image: Image, size: Memory) -> Result<Suite<'a>> {
        let (memory, pids) = match size {
            Memory::Small => ("256m", "256"),
            Memory::Large => ("1g", "2048"),
        };
        let docker = images.daemon.docker();
        let mut environment = vec![
            ("CABANA_TEST_TARGET", "image".into()),
            ("CABANA_TEST_DOCKER", docker.program().into()),
            ("CABANA_TEST_IMAGE", image.tag().into()),
            ("CABANA_TEST_MEMORY", memory.into()),
            ("CABANA_TEST_PIDS", pids.into()),
        ];
        environment.extend(docker.environment().into_iter().map(|(name, value)| (name, value.into())));
        self.suite(&built.integration, environment, &format!("{}-{memory}", image.tag().replace('/', "-")))
    }
}
