"""A program of e2b's, against the service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cabana.e2b import CommandExitException, NotFoundException, PtySize, Sandbox, TimeoutException
from conftest import KEY, URL, until


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.create(envs={"A": "1"}, metadata={"user": "e2b-case"}, domain=URL, api_key=KEY) as sandbox:
        until(lambda: sandbox.box.start().state == "running")
        yield sandbox


def test_commands(sandbox: Sandbox) -> None:
    seen: list[str] = []
    result = sandbox.commands.run("echo $A $B; pwd; echo err >&2", envs={"B": "2"}, cwd="/tmp", on_stdout=seen.append)
    assert (result.stdout, result.stderr, result.exit_code) == ("1 2\n/tmp\n", "err\n", 0)
    assert "".join(seen) == result.stdout
    with pytest.raises(CommandExitException) as failed:
        sandbox.commands.run("echo why >&2; exit 3")
    assert (failed.value.exit_code, failed.value.stderr) == (3, "why\n")
    with pytest.raises(TimeoutException):
        sandbox.commands.run("sleep 60", timeout=0.2)


def test_commands_in_the_background(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("read line; echo got $line", background=True, stdin=True)
    assert any(process.pid == handle.pid for process in sandbox.commands.list())
    sandbox.commands.send_stdin(handle.pid, "x\n")
    assert handle.wait().stdout == "got x\n"
    assert [stdout for stdout, _, _ in sandbox.commands.run("echo one", background=True)] == ["one\n"]
    sleeper = sandbox.commands.run("sleep 100", background=True)
    assert sandbox.commands.kill(sleeper.pid)
    with pytest.raises(CommandExitException):
        sandbox.commands.connect(sleeper.pid).wait()
    assert not sandbox.commands.kill(1)


def test_files(sandbox: Sandbox) -> None:
    files = sandbox.files
    assert files.make_dir("d/e") and not files.make_dir("d/e")
    files.write("d/a.txt", "text")
    files.write_files([{"path": "d/b", "data": b"\xff"}])
    assert (files.read("d/a.txt"), files.read("d/b", format="bytes")) == ("text", b"\xff")
    assert b"".join(files.read("d/b", format="stream")) == b"\xff"
    assert [(entry.name, entry.type, entry.path) for entry in files.list("d")] == [("a.txt", "file", "d/a.txt"), ("b", "file", "d/b"), ("e", "dir", "d/e")]
    watch = files.watch_dir("d")
    assert files.rename("d/a.txt", "d/c.txt").name == "c.txt"
    assert watch.get_new_events()
    watch.stop()
    files.remove("d")
    assert not files.exists("d")
    with pytest.raises(NotFoundException):
        files.read("d/a.txt")


def test_terminals(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(PtySize(rows=30, cols=100))
    sandbox.pty.resize(terminal.pid, PtySize(rows=20, cols=50))
    sandbox.pty.send_stdin(terminal.pid, b"stty size; exit\n")
    shown: list[bytes] = []
    terminal.wait(on_pty=shown.append)
    assert b"20 50" in b"".join(shown)


def test_life(sandbox: Sandbox) -> None:
    assert sandbox.is_running()
    sandbox.set_timeout(600)
    assert sandbox.get_info().sleep_after_ms == 600_000
    same = Sandbox.connect(sandbox.sandbox_id, domain=URL, api_key=KEY)
    assert same.commands.run("echo same").stdout == "same\n"
    until(lambda: any(listed.id == sandbox.sandbox_id for listed in Sandbox.list({"user": "e2b-case"}, domain=URL, api_key=KEY)))
    assert sandbox.get_metrics()[0].memory.total_bytes > 0
    assert sandbox.download_url("x").startswith("http") and sandbox.upload_url("x").startswith("http")
    sandbox.files.write("kept", "1")
    sandbox.pause()
    assert sandbox.files.read("kept") == "1"
    with pytest.raises(NotImplementedError, match="commands.run"):
        sandbox.run_code("1 + 1")
