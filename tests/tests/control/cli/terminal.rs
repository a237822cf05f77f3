//! Commands on a terminal. Text that a case waits for is computed by the command, so that the echo of typed text is not taken for it.

use cabana_tests::{BreakingProxy, CommandLine, Pty, Sandbox, in_sandbox, until};

use super::id;

/// Waits on a thread, so that the proxies of a case go on.
pub(super) async fn on_thread<T: Send + 'static>(
    mut terminal: Pty,
    act: impl FnOnce(&mut Pty) -> T + Send + 'static,
) -> (Pty, T) {
    tokio::task::spawn_blocking(move || {
        let done = act(&mut terminal);
        (terminal, done)
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_on_a_terminal_has_its_size_its_keys_and_its_exit_code() {
    in_sandbox(async |sandbox| {
        let cabana = CommandLine::of_service();
        let script = "trap 'echo interrupted $((20 + 3))' INT; trap 'stty size' WINCH; stty size; \
                      while :; do read -t 0.1 line && [ $line = end ] && exit 7; done";
        let terminal = cabana.on_terminal(&["exec", "-it", &id(sandbox), "--shell", script], 99, 33);
        let (terminal, ()) = on_thread(terminal, |terminal| {
            terminal.wait_for("33 99");
            terminal.resize(120, 40);
            terminal.wait_for("40 120");
            terminal.type_text("\u{3}");
            terminal.wait_for("interrupted 23");
            terminal.type_text("end\r");
        })
        .await;
        let (rest, code) = tokio::task::spawn_blocking(|| terminal.finish()).await.unwrap();
        assert_eq!(code, Some(7), "{rest}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_ends_with_its_own_code_or_is_left_by_a_key() {
    in_sandbox(async |sandbox| {
        let (cabana, id) = (CommandLine::of_service(), id(sandbox));
        let terminal = cabana.on_terminal(&["shell", &id], 80, 24);
        let (terminal, ()) = on_thread(terminal, |terminal| {
            terminal.type_text("echo $((40 + 2))-$(stty size)\r");
            terminal.wait_for("42-24 80");
            terminal.type_text("exit 5\r");
        })
        .await;
        assert_eq!(tokio::task::spawn_blocking(|| terminal.finish()).await.unwrap().1, Some(5));
        let terminal = cabana.on_terminal(&["shell", &id, "sh", "-c", "echo at-$((40 + 3)); sleep 4713"], 80, 24);
        let (terminal, ()) = on_thread(terminal, |terminal| {
            terminal.wait_for("at-43");
            terminal.type_text("~.");
        })
        .await;
        assert_eq!(tokio::task::spawn_blocking(|| terminal.finish()).await.unwrap().1, Some(0));
        until("one without a name ends", async || sandbox.count_processes("[s]leep 4713").await == 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_share_a_terminal_by_its_name_and_it_outlives_them() {
    in_sandbox(async |sandbox| {
        let (cabana, id) = (CommandLine::of_service(), id(sandbox));
        let open = || cabana.on_terminal(&["shell", "--name", "shared", &id], 80, 24);
        let (first, ()) = on_thread(open(), |first| {
            first.type_text("echo one-$((1 + 1))\r");
            first.wait_for("one-2");
        })
        .await;
        let (second, ()) = on_thread(open(), |second| {
            second.wait_for("one-2");
            second.type_text("echo two-$((2 + 2))\r");
            second.wait_for("two-4");
        })
        .await;
        let (first, ()) = on_thread(first, |first| {
            first.wait_for("two-4");
            first.type_text("\r~.");
        })
        .await;
        assert_eq!(tokio::task::spawn_blocking(|| first.finish()).await.unwrap().1, Some(0));
        let (second, ()) = on_thread(second, |second| {
            second.type_text("echo still-$((3 + 3))\r");
            second.wait_for("still-6");
            second.type_text("exit\r");
        })
        .await;
        assert_eq!(tokio::task::spawn_blocking(|| second.finish()).await.unwrap().1, Some(0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_goes_on_over_a_broken_connection_without_loss() {
    in_sandbox(async |sandbox| {
        let proxy = BreakingProxy::start().await;
        let cabana = CommandLine::at(&proxy.url(), &Sandbox::service().1);
        let terminal = cabana.on_terminal(&["shell", &id(sandbox)], 80, 24);
        let (terminal, ()) = on_thread(terminal, |terminal| {
            terminal.type_text("for i in $(seq 1 60); do echo line-$((i + 100)).; sleep 0.05; done; read x; exit $x\r");
            terminal.wait_for("line-103.");
        })
        .await;
        proxy.set_down(true);
        proxy.cut().await;
        proxy.set_down(false);
        let (terminal, between) = on_thread(terminal, |terminal| {
            let between = terminal.wait_for("line-160.");
            terminal.type_text("6\r");
            between
        })
        .await;
        let numbers: Vec<usize> = between.split("line-").filter_map(|text| text.split('.').next()?.parse().ok()).collect();
        assert_eq!(numbers, (104..=160).collect::<Vec<_>>(), "{between:?}");
        assert_eq!(tokio::task::spawn_blocking(|| terminal.finish()).await.unwrap().1, Some(6));
    })
    .await;
}
