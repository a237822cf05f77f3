//! Files and trees into a sandbox and out of it.

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::Path,
};

use cabana_tests::{BreakingProxy, CommandLine, Sandbox, in_sandbox};

use super::id;

/// Bytes that no compression makes few.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(length).collect()
}

#[tokio::test]
async fn files_keep_their_bytes_modes_and_names() {
    in_sandbox(async |sandbox| {
        let (cabana, id) = (CommandLine::of_service(), id(sandbox));
        let local = |name: &str| cabana.home().join(name);
        for (name, content) in [("plain", b"one\n".to_vec()), ("empty", Vec::new()), ("\u{e9} \"odd\" $name", noise(9 << 20))] {
            fs::write(local(name), &content).unwrap();
            fs::set_permissions(local(name), fs::Permissions::from_mode(0o750)).unwrap();
            let to = format!("{id}:new/{name}");
            assert_eq!(cabana.run(&["cp", &format!("./{name}"), &to]).await.code, Some(0));
            assert_eq!(sandbox.get(&format!("new/{name}")).await.bytes, content);
            assert_eq!(cabana.run(&["cp", &to, "back"]).await.code, Some(0));
            assert_eq!(fs::read(local("back")).unwrap(), content);
            assert_eq!(fs::metadata(local("back")).unwrap().mode() & 0o777, 0o750);
        }
        // Into a directory that exists, a file keeps its name.
        assert_eq!(cabana.run(&["cp", "plain", &format!("{id}:new")]).await.code, Some(0));
        assert_eq!(sandbox.get("new/plain").await.bytes, b"one\n");
        // A name that is not UTF-8.
        let odd = cabana.home().join(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
        fs::write(&odd, "odd").unwrap();
        let status = cabana.command(&["cp"]).arg(&odd).arg(format!("{id}:new")).status().unwrap();
        assert!(status.success());
        assert_eq!(sandbox.shell(r"cat new/$'\xff\xfe'").await, "odd");
    })
    .await;
}

#[tokio::test]
async fn pipes_are_copied_as_they_come() {
    in_sandbox(async |sandbox| {
        let (cabana, id) = (CommandLine::of_service(), id(sandbox));
        let content = noise(5 << 20);
        let to = format!("{id}:piped");
        assert_eq!(cabana.run_with(&["cp", "-", &to], content.clone()).await.code, Some(0));
        let ran = cabana.run(&["cp", &to, "-"]).await;
        assert!(ran.code == Some(0) && ran.stdout == content);
        sandbox.shell("mkdir tree; echo a > tree/a").await;
        let archive = cabana.run(&["cp", &format!("{id}:tree"), "-"]).await.stdout;
        assert_eq!(cabana.run_with(&["exec", "-i", &id, "tar", "xO", "./a", "a"], archive).await.stdout, b"a\n");
    })
    .await;
}

#[tokio::test]
async fn trees_keep_links_modes_and_empty_directories() {
    in_sandbox(async |sandbox| {
        let (cabana, id) = (CommandLine::of_service(), id(sandbox));
        let tree = cabana.home().join("tree");
        fs::create_dir_all(tree.join("deep/empty")).unwrap();
        fs::write(tree.join("deep/script"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(tree.join("deep/script"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(tree.join("large"), noise(5 << 20)).unwrap();
        symlink("deep/script", tree.join("link")).unwrap();
        symlink("nowhere", tree.join("broken")).unwrap();
        for number in 0..500 {
            fs::write(tree.join(format!("deep/{number}")), number.to_string()).unwrap();
        }
        assert_eq!(cabana.run(&["cp", "tree", &format!("{id}:copy")]).await.code, Some(0));
        let script = "cd copy; stat -c %a deep/script; readlink link broken; [ -d deep/empty ] && ls deep | wc -l; cat deep/499; wc -c < large";
        assert_eq!(sandbox.shell(script).await, "755\ndeep/script\nnowhere\n502\n4995242880\n");
        // Into a directory that exists, a tree keeps its name.
        assert_eq!(cabana.run(&["cp", "tree/deep", &format!("{id}:copy")]).await.code, Some(0));
        assert_eq!(sandbox.shell("ls copy/deep/499").await, "copy/deep/499\n");
        assert_eq!(cabana.run(&["cp", &format!("{id}:copy"), "back"]).await.code, Some(0));
        let back = cabana.home().join("back");
        assert_eq!(fs::read_link(back.join("broken")).unwrap(), Path::new("nowhere"));
        assert_eq!(fs::metadata(back.join("deep/script")).unwrap().mode() & 0o777, 0o755);
        assert!(back.join("deep/empty").is_dir() && fs::read(back.join("large")).unwrap() == fs::read(tree.join("large")).unwrap());
        assert_eq!(fs::read_dir(back.join("deep")).unwrap().count(), 502);
    })
    .await;
}

#[tokio::test]
async fn copies_that_fail_say_why_and_leave_nothing_half() {
    in_sandbox(async |sandbox| {
        let (cabana, id) = (CommandLine::of_service(), id(sandbox));
        fs::write(cabana.home().join("file"), "x").unwrap();
        sandbox.shell("head -c 3000000 /dev/zero > there").await;
        for (from, to, says) in [
            ("file", format!("{id}:/etc/x"), "outside the sandbox's roots"),
            (&*format!("{id}:none"), "here".to_owned(), "there is no none"),
            ("none", format!("{id}:x"), "read none"),
            ("file", "other".to_owned(), "one of the two is ID:PATH"),
            ("file", "nobody-has-this:x".to_owned(), "no such sandbox"),
            (&*format!("{id}:."), "/proc/none/here".to_owned(), "/proc/none"),
            (&*format!("{id}:there"), "/proc/none/here".to_owned(), "/proc/none"),
        ] {
            let ran = cabana.run(&["cp", from, &to]).await;
            assert!(ran.code == Some(125) && ran.stderr.contains(says), "{from} {to}: {ran:?}");
        }
        // A disk of this machine that is full. By a link, so that a defect replaces that, and not the device.
        symlink("/dev/full", cabana.home().join("full")).unwrap();
        let ran = cabana.run(&["cp", &format!("{id}:there"), "full"]).await;
        assert!(ran.code == Some(125) && ran.stderr.contains("No space left on device"), "{ran:?}");
        assert!(cabana.home().join("full").is_symlink(), "a device is not replaced");
        assert_eq!(fs::read_dir(cabana.home()).unwrap().count(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_over_broken_connections() {
    in_sandbox(async |sandbox| {
        let proxy = BreakingProxy::start().await;
        let (cabana, id) = (CommandLine::at(&proxy.url(), &Sandbox::service().1), id(sandbox));
        let content = noise(90 << 20);
        fs::write(cabana.home().join("large"), &content).unwrap();
        fs::create_dir(cabana.home().join("tree")).unwrap();
        for number in 0..40 {
            fs::write(cabana.home().join(format!("tree/{number}")), &content[number << 20..(number + 1) << 20]).unwrap();
        }
        let (large, tree) = (format!("{id}:large"), format!("{id}:tree"));
        for (words, bytes) in
            [(["cp", "large", &large], 30 << 20), (["cp", &large, "back"], 30 << 20), (["cp", "tree", &tree], 20 << 20)]
        {
            proxy.cut_after(bytes);
            let ran = cabana.run(&words).await;
            assert!(ran.code == Some(0) && proxy.has_cut(), "{words:?}: {ran:?}");
        }
        assert!(fs::read(cabana.home().join("back")).unwrap() == content);
        assert!(sandbox.get("tree/39").await.bytes == content[39 << 20..40 << 20]);
        assert_eq!(sandbox.shell("ls; ls tree | wc -l").await, "large\ntree\n40\n");
        // A tree that comes as one archive is never taken for whole.
        proxy.cut_after(20 << 20);
        let ran = cabana.run(&["cp", &tree, "half"]).await;
        assert!(ran.code == Some(125) && ran.stderr.contains("the connection to the service broke"), "{ran:?}");
    })
    .await;
}
