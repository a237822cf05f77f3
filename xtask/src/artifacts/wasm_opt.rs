//! Whether and how the Worker's wasm goes through wasm-opt.

use std::path::Path;
use std::process::Command;

/// Whether it does, and so how it is compiled before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WasmOpt {
    /// Larger, and ready a minute sooner.
    Skip,
    /// As it is deployed.
    Run,
}

impl WasmOpt {
    /// Cargo's profile for the Worker.
    pub(super) fn profile(self) -> &'static str {
        match self {
            Self::Skip => "worker-dev",
            Self::Run => "worker",
        }
    }
}

/// Makes worker-build use this wasm-opt through a script that keeps what it made last in `kept`.
pub(super) fn keep_output(build: &mut Command, root: &Path, wasm_opt: &Path, kept: &Path) {
    build
        .env("WASM_OPT_BIN", root.join("xtask/src/artifacts/wasm-opt.sh"))
        .env("CABANA_WASM_OPT", wasm_opt)
        .env("CABANA_WASM_OPT_LOCK", root.join("package-lock.json"))
        .env("CABANA_WASM_OPT_KEPT", kept);
}

#[cfg(test)]
mod tests {
    use super::keep_output;
    use crate::paths;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::Command;

    /// Stands for wasm-opt: writes its input in capitals, and a line for each time it runs.
    const STAND_IN: &str = "#!/bin/sh\necho ran >> \"$0.runs\"\ntr a-z A-Z < \"$1\" > \"$3\"\n";

    /// What comes of an input.
    fn optimize(directory: &Path, input: &str) -> String {
        let (from, to) = (directory.join("in.wasm"), directory.join("out.wasm"));
        fs::write(&from, input).unwrap();
        let _ = fs::remove_file(&to);
        let mut build = Command::new("sh");
        keep_output(&mut build, &paths::repository().unwrap(), &directory.join("wasm-opt"), &directory.join("kept"));
        build.args(["-c", "exec \"$WASM_OPT_BIN\" \"$@\"", "sh"]).arg(&from).arg("-o").arg(&to).arg("-O");
        assert!(build.status().unwrap().success());
        fs::read_to_string(to).unwrap()
    }

    #[test]
    fn an_unchanged_input_is_optimized_once() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("wasm-opt");
        fs::write(&program, STAND_IN).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        for (input, output, runs) in [("one", "ONE", 1), ("one", "ONE", 1), ("two", "TWO", 2), ("one", "ONE", 3)] {
            assert_eq!(optimize(directory.path(), input), output);
            let counted = fs::read_to_string(directory.path().join("wasm-opt.runs")).unwrap().lines().count();
            assert_eq!(counted, runs, "{input}");
        }
        assert_eq!(fs::read_dir(directory.path().join("kept")).unwrap().count(), 1);
    }
}
