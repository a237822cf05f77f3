//! Sandboxes by OpenSSH's own programs: `cabana setup ssh`, then `ssh`, `scp` and `sftp`.

use std::{fs, path::PathBuf, process::Stdio};

use cabana_tests::{CommandLine, Ran, Sandbox, in_sandbox, require, until};

use super::id;

mod connections;

/// OpenSSH with settings of its own.
struct Ssh {
    cabana: CommandLine,
    host: String,
}

impl Ssh {
    async fn set_up(cabana: CommandLine, sandbox: &Sandbox) -> Option<Self> {
        let found = std::env::split_paths(&std::env::var_os("PATH")?).any(|path| path.join("ssh").exists()).then_some(());
        require("ssh", found, "install openssh-client")?;
        let ssh = Self { host: format!("{}.cabana", id(sandbox)), cabana };
        assert_eq!(ssh.cabana.run(&["setup", "ssh", "--config", &ssh.config()]).await.code, Some(0));
        Some(ssh)
    }

    async fn of_service(sandbox: &Sandbox) -> Option<Self> {
        Self::set_up(CommandLine::of_service(), sandbox).await
    }

    fn config(&self) -> String {
        self.path("ssh_config").to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.cabana.home().join(name)
    }

    /// Runs one of its programs to its end. `HOST` in a word stands for the sandbox.
    async fn run(&self, program: &'static str, words: &[&str], stdin: &[u8]) -> Ran {
        let config = self.config();
        let words: Vec<String> = ["-F", &config].iter().chain(words).map(|word| word.replace("HOST", &self.host)).collect();
        self.cabana.run_program(program, &words.iter().map(String::as_str).collect::<Vec<_>>(), stdin.to_vec()).await
    }

    async fn ssh(&self, command: &str) -> Ran {
        self.run("ssh", &["HOST", command], b"").await
    }
}

/// Bytes of no pattern.
fn bytes(length: u32) -> Vec<u8> {
    (0..length / 4).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

#[tokio::test]
async fn a_command_has_its_own_exit_output_and_input() {
    in_sandbox(async |sandbox| {
        let Some(ssh) = Ssh::of_service(sandbox).await else { return };
        for code in [0, 1, 2, 126, 127, 128, 200, 254, 255] {
            let ran = ssh.ssh(&format!("printf out; printf err >&2; exit {code}")).await;
            assert_eq!((ran.code, ran.stdout.as_slice(), ran.stderr.as_str()), (Some(code), b"out".as_slice(), "err"), "{code}");
        }
        let killed = ssh.ssh("kill -9 $$").await;
        assert_eq!(killed.code, Some(255), "{killed:?}");
        let sent = bytes(3 << 20);
        let ran = ssh.run("ssh", &["HOST", "cat; printf end"], &sent).await;
        assert!(ran.code == Some(0) && ran.stdout == [&sent[..], b"end"].concat(), "{} bytes, {}", ran.stdout.len(), ran.stderr);
        // The exit comes after all of the output.
        let ran = ssh.ssh("head -c 20000000 /dev/zero; exit 9").await;
        assert_eq!((ran.code, ran.stdout.len()), (Some(9), 20_000_000), "{}", ran.stderr);
        let ran = ssh.run("ssh", &["-o", "SetEnv LC_CASE=yes LD_CASE=no", "HOST", "echo \"$LC_CASE-$LD_CASE\""], b"").await;
        assert_eq!(ran.text(), "yes-\n");
    })
    .await;
}

#[tokio::test]
async fn every_exit_code_of_a_shared_connection_is_exact_and_a_stalled_session_delays_no_other() {
    in_sandbox(async |sandbox| {
        let Some(ssh) = Ssh::of_service(sandbox).await else { return };
        let control = format!("ControlPath={}", ssh.path("c").display());
        let master = ["-o", &control, "-o", "ControlMaster=yes", "-o", "ControlPersist=yes", "-f", "-N", "HOST"];
        assert_eq!(ssh.run("ssh", &master, b"").await.code, Some(0));
        // Its output is not read.
        let mut stalled = ssh.cabana.program("ssh", &["-F", &ssh.config(), "-o", &control, &ssh.host, "cat /dev/zero"]);
        let mut stalled = stalled.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        until("it runs", async || sandbox.count_processes("[c]at /dev/zero").await > 0).await;
        let codes: Vec<i32> = (0..=255).collect();
        for codes in codes.chunks(19) {
            let runs = codes.iter().map(async |code| {
                let ran = ssh.run("ssh", &["-o", &control, "HOST", &format!("echo {code}; exit {code}")], b"").await;
                assert_eq!((ran.code, ran.stdout), (Some(*code), format!("{code}\n").into_bytes()), "{}", ran.stderr);
            });
            futures_util::future::join_all(runs).await;
        }
        stalled.kill().unwrap();
        stalled.wait().unwrap();
        until("what was hung up has ended", async || sandbox.count_processes("[c]at /dev/zero").await == 0).await;
        assert_eq!(ssh.run("ssh", &["-o", &control, "-O", "exit", "HOST"], b"").await.code, Some(0));
    })
    .await;
}

#[tokio::test]
async fn a_terminal_has_a_size_that_follows_and_the_exit_of_its_shell() {
    in_sandbox(async |sandbox| {
        let Some(ssh) = Ssh::of_service(sandbox).await else { return };
        let config = ssh.config();
        let mut terminal = ssh.cabana.program_on_terminal("ssh", &["-F", &config, &ssh.host], 101, 37);
        terminal.type_text("stty size; tty; echo \"TERM=$TERM\"\r");
        let shown = terminal.wait_for("TERM=xterm-256color");
        assert!(shown.contains("37 101") && shown.contains("/dev/pts/"), "{shown}");
        terminal.resize(90, 20);
        terminal.type_text("until [ \"$(stty size)\" = '20 90' ]; do sleep 0.1; done; echo re''sized\r");
        terminal.wait_for("resized");
        terminal.type_text("exit 42\r");
        assert_eq!(terminal.finish().1, Some(42));
    })
    .await;
}

#[tokio::test]
async fn a_terminal_begins_with_the_keys_and_modes_of_the_clients() {
    in_sandbox(async |sandbox| {
        let Some(ssh) = Ssh::of_service(sandbox).await else { return };
        for command in ["", "sh"] {
            let script = format!("stty erase ^H -ixon; exec ssh -F {} -t {} {command}", ssh.config(), ssh.host);
            let mut terminal = ssh.cabana.program_on_terminal("sh", &["-c", &script], 80, 24);
            terminal.type_text("echo $(stty -a | grep -o 'erase = ^.;\\|-ixon')\r");
            terminal.wait_for("erase = ^H; erase = ^W; -ixon");
            terminal.type_text("exit 7\r");
            assert_eq!(terminal.finish().1, Some(7));
        }
    })
    .await;
}

#[tokio::test]
async fn files_pass_by_scp_and_sftp_exactly() {
    in_sandbox(async |sandbox| {
        let Some(ssh) = Ssh::of_service(sandbox).await else { return };
        let root = sandbox.shell("pwd").await.trim().to_owned();
        let (local, back, sent) = (ssh.path("local.bin"), ssh.path("back.bin"), bytes(24 << 20));
        fs::write(&local, &sent).unwrap();
        let remote = format!("HOST:{root}/remote.bin");
        for words in [[local.to_str().unwrap(), &remote], [&remote, back.to_str().unwrap()]] {
            let ran = ssh.run("scp", &[&["-q", "-p"], &words[..]].concat(), b"").await;
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        }
        assert!(fs::read(&back).unwrap() == sent);
        let batch = format!(
            "mkdir {root}/d\nput {0} {root}/d/a\nchmod 600 {root}/d/a\nrename {root}/d/a {root}/d/b\nput {0} {root}/d/a\n\
             rename {root}/d/a {root}/d/b\nln -s b {root}/d/l\nls -l {root}/d\ndf {root}\nget {root}/d/l {1}\nrm {root}/d/l\n-get {root}/none {1}\n",
            local.display(),
            back.display()
        );
        fs::remove_file(&back).unwrap();
        let ran = ssh.run("sftp", &["-q", "-b", "-", "-R", "256", "HOST"], batch.as_bytes()).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(fs::read(&back).unwrap() == sent);
        assert_eq!(sandbox.shell("ls d; stat -c %s d/b").await, format!("b\n{}\n", sent.len()));
        let missing = ssh.run("scp", &["-q", "HOST:/no/such/file", back.to_str().unwrap()], b"").await;
        assert!(missing.code == Some(1) && missing.stderr.contains("No such file"), "{missing:?}");
    })
    .await;
}
