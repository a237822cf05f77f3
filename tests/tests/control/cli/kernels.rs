//! Code in contexts, by a line and by a conversation.

use std::fs;

use cabana_tests::{CommandLine, in_sandbox};

use super::{id, terminal::on_thread};

#[tokio::test]
async fn a_cell_prints_its_value_keeps_its_state_and_shows_images_as_files() {
    in_sandbox(async |sandbox| {
        let (cabana, id) = (CommandLine::of_service(), id(sandbox));
        assert_eq!(cabana.run(&["code", &id, "-c", "x = 40; print('out'); x + 2"]).await.text(), "out\n42\n");
        assert_eq!(cabana.run_with(&["code", &id], b"x + 3".to_vec()).await.text(), "43\n");
        fs::write(cabana.home().join("cell.py"), "x + 4").unwrap();
        assert_eq!(cabana.run(&["code", &id, "cell.py"]).await.text(), "44\n");
        let ran = cabana.run(&["code", &id, "-c", "1 / 0"]).await;
        assert!(ran.code == Some(1) && ran.stderr.contains("ZeroDivisionError"), "{ran:?}");
        let show = "from IPython.display import display\ndisplay({'image/png': 'aGk='}, raw=True)";
        assert_eq!(cabana.run(&["code", "--images", "shown", &id, "-c", show]).await.code, Some(0));
        assert_eq!(fs::read(cabana.home().join("shown/cabana-1.png")).unwrap(), b"hi");
        let own = ["code", "--context", "own", "--language", "python", &id, "-c"];
        assert_eq!(cabana.run(&[&own[..], &["y = 5"]].concat()).await.code, Some(0));
        assert_eq!(cabana.run(&[&own[..], &["y"]].concat()).await.text(), "5\n");
        assert_eq!(cabana.run(&["--json", "code", &id, "-c", "x"]).await.json()["status"], "ok");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cells_are_typed_answered_and_interrupted() {
    in_sandbox(async |sandbox| {
        let cabana = CommandLine::of_service();
        let terminal = cabana.on_terminal(&["code", &id(sandbox)], 80, 24);
        let (terminal, ()) = on_thread(terminal, |terminal| {
            terminal.wait_for(">>> ");
            terminal.type_text("x = 40\r");
            terminal.wait_for(">>> ");
            terminal.type_text("for i in range(2):\r  print('row', x + i)\r\r");
            terminal.wait_for("row 41");
            terminal.wait_for(">>> ");
            terminal.type_text("input('name? ') + '!'\r");
            terminal.wait_for("\nname? ");
            terminal.type_text("bob\r");
            terminal.wait_for("'bob!'");
            terminal.wait_for(">>> ");
            terminal.type_text("print('be', 'gun'); import time; time.sleep(600)\r");
            terminal.wait_for("be gun");
            terminal.type_text("\u{3}");
            terminal.wait_for(">>> ");
            terminal.type_text("x + 9\r");
            terminal.wait_for("49");
            terminal.type_text("\u{4}");
        })
        .await;
        assert_eq!(tokio::task::spawn_blocking(|| terminal.finish()).await.unwrap().1, Some(0));
    })
    .await;
}
