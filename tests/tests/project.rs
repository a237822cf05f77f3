//! Real work: a C project as it comes, built and tested by its own commands, and a script whose answer is known.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use cabana_tests::{NDJSON, Sandbox, Target, gather, in_sandbox};
use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

/// The source tree of LZ4, which the crate lz4-sys carries.
fn source() -> PathBuf {
    let metadata =
        Command::new(env!("CARGO")).args(["metadata", "--format-version=1", "--offline"]).stderr(Stdio::inherit()).output();
    let metadata: Value = serde_json::from_slice(&metadata.unwrap().stdout).unwrap();
    let package = metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == "lz4-sys").unwrap();
    Path::new(package["manifest_path"].as_str().unwrap()).with_file_name("liblz4")
}

/// The files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

async fn upload(sandbox: &Sandbox, source: &Path, file: &Path) {
    let path = Path::new("lz4").join(file.strip_prefix(source).unwrap());
    let mode = format!("{:04o}", fs::metadata(file).unwrap().permissions().mode() & 0o777);
    let request = sandbox.file(Method::PUT, path.to_str().unwrap()).query(&[("mode", mode)]);
    sandbox.send(request.body(fs::read(file).unwrap())).await.success();
}

/// Runs a command of the project and gives what it said.
async fn make(sandbox: &Sandbox, target: &str) -> String {
    let request = json!({ "command": format!("make -j2 {target} 2>&1"), "cwd": "lz4" });
    let (stdout, _, result) = gather(sandbox.stream(NDJSON, request).await).await;
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    assert!(result.success(), "make {target}: {:?}\n{stdout}", result.exit);
    stdout
}

#[tokio::test]
async fn a_c_project_is_built_and_tested_by_its_own_commands() {
    in_sandbox(async |sandbox| {
        let source = source();
        let tree = files(&source);
        assert!(tree.len() > 200, "the tree is whole: {} files", tree.len());
        stream::iter(&tree).for_each_concurrent(8, |file| upload(sandbox, &source, file)).await;
        assert!(make(sandbox, "lz4").await.contains("lz4 build completed"));
        let tested = make(sandbox, "-C tests test-lz4-basic").await;
        assert!(tested.contains("lz4"), "{tested}");
        let built = sandbox.get("lz4/programs/lz4").await.success();
        if Target::get() == Target::Image {
            // Its compiler is not this machine's.
            return;
        }
        let outside = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").arg("-r").arg(&source).arg(outside.path().join("lz4")).status().unwrap();
        let made = Command::new("make").args(["-C", "lz4", "lz4"]).current_dir(&outside).stdout(Stdio::null()).status().unwrap();
        assert!(copied.success() && made.success());
        assert!(built == fs::read(outside.path().join("lz4/programs/lz4")).unwrap(), "the two builds differ");
    })
    .await;
}

#[tokio::test]
async fn a_script_computes_what_is_known() {
    in_sandbox(async |sandbox| {
        let script = "import hashlib\nsieve = bytearray([1]) * 1_000_001\nfor n in range(2, 1001):\n    if sieve[n]:\n        \
                      sieve[n * n :: n] = bytes(len(range(n * n, 1_000_001, n)))\nprimes = [n for n in range(2, 1_000_001) if sieve[n]]\n\
                      print(len(primes), primes[-1], sum(primes))\n";
        sandbox.put("primes.py", script).await.success();
        assert_eq!(sandbox.shell("python3 primes.py").await, "78498 999983 37550402023\n");
    })
    .await;
}
