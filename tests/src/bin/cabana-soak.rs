//! Runs one row of `cargo xtask soak`; see `cabana_tests::soak`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cabana_tests::soak::main()
}
