//! Cabana's automation: `cargo xtask <setup|dev|build|test|sync|doctor|bench|fuzz|soak>`.

mod artifacts;
mod bench;
mod dev;
mod disk;
mod docker;
mod doctor;
mod fuzz;
mod guard;
mod paths;
mod progress;
mod setup;
mod shell;
mod soak;
mod sync;
mod test;

use clap::Parser;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Builds, runs and tests Cabana")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Find or build every tool that the other commands need
    Setup,
    /// Run the whole service on this machine, with a first sandbox to show that it works
    Dev(dev::Arguments),
    /// Build the Worker into worker/build (what wrangler's build step runs)
    Build,
    /// Check format and lints, run every test, and rehearse a deployment
    Test(test::Arguments),
    /// Carry the kinds of sandboxes/ into wrangler.jsonc and the Worker
    Sync(sync::Arguments),
    /// Say what a deployment lacks, in wrangler.jsonc and in the Cloudflare account
    Doctor(doctor::Arguments),
    /// Measure how fast and small it is, beside the physical limits
    Bench(bench::Arguments),
    /// Look for inputs that break what reads them
    Fuzz(fuzz::Arguments),
    /// Run what is too long for every change: rows of the threat list at their full scale
    Soak(soak::Arguments),
    /// End what a run started once the run itself has ended
    #[command(hide = true)]
    Guard(guard::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Setup => setup::run().map(|_| ExitCode::SUCCESS),
        Command::Dev(arguments) => dev::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Build => artifacts::build_worker().map(|()| ExitCode::SUCCESS),
        Command::Test(arguments) => test::run(&arguments),
        Command::Sync(arguments) => sync::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Fuzz(arguments) => fuzz::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Soak(arguments) => soak::run(&arguments),
        Command::Guard(arguments) => guard::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        progress::say(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}
