from __future__ import annotations

import io
import os
import threading

import pytest

from cabana import Cabana, CommandFailed, Gone, InvalidRequest, NotFound, Sandbox
from conftest import until


def runs(box: Sandbox, marker: str) -> bool:
    """Whether a process of this marker runs in the sandbox."""
    return box.exec(["pgrep", "-f", f"^sleep {marker}$"]).ok


def test_a_command_answers_with_its_output_and_its_exit(box: Sandbox) -> None:
    result = box.exec("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.exit_code, result.ok) == ("out\n", "err\n", 3, False)
    assert result.exit is not None and (result.exit.type, result.exit.code) == ("exited", 3)
    assert result.duration >= 0 and not result.truncated


def test_a_failure_is_an_exception_where_that_is_asked_for(box: Sandbox) -> None:
    assert box.exec("true", check=True).ok
    with pytest.raises(CommandFailed, match="ended with 5.*why") as failed:
        box.exec("echo why >&2; exit 5", check=True)
    assert failed.value.result.exit_code == 5


def test_options_reach_the_command(box: Sandbox) -> None:
    assert box.exec("pwd; echo $A; cat", cwd="/tmp", env={"A": "x y"}, stdin="typed").stdout == "/tmp\nx y\ntyped"
    assert box.exec("echo 1; echo 2 >&2", stderr="stdout").stdout == "1\n2\n"
    assert box.exec(["printf", "%s|", "a b", "$HOME", "'"]).stdout == "a b|$HOME|'|"
    assert box.exec("stty size", tty={"cols": 99, "rows": 33}).stdout == "33 99\r\n"


def test_bytes_arrive_exactly(box: Sandbox) -> None:
    every = bytes(range(256))
    assert box.exec("cat; cat >&2 < /dev/null", stdin=every).stdout_bytes == every
    result = box.exec("head -c 65536 /dev/urandom | tee r; cat r >&2")
    assert result.stdout_bytes == result.stderr_bytes == box.files.read_bytes("r")
    text = "".join(event.text for event in box.stream("printf '\\xc3'; sleep 0.2; printf '\\xa9'"))
    assert text == "é"


def test_more_output_than_is_kept_is_cut_in_its_middle(box: Sandbox) -> None:
    result = box.exec("seq 1 100000", max_output_bytes=1000)
    assert result.truncated and result.stdout.startswith("1\n2\n") and result.stdout.endswith("99999\n100000\n")
    assert len(result.stdout_bytes) < 1100


def test_a_stream_tells_of_a_command_as_it_runs(box: Sandbox) -> None:
    stream = box.stream("echo one; read line; echo $line", stdin="two\n")
    events = list(stream)
    assert (events[0].type, events[-1].type, events[-1].exit_code) == ("started", "exit", 0)
    assert "".join(event.text for event in events).split() == ["one", "two"]
    assert stream.offset == 8 and stream.process == events[0].process
    assert b"".join(box.stream("echo err >&2; printf raw").chunks()) == b"raw"


def test_a_timeout_in_seconds_acts(box: Sandbox) -> None:
    result = box.exec("echo begun; sleep 100", timeout=0.3)
    assert result.exit is not None
    assert (result.exit.type, result.exit_code, result.stdout) == ("timed_out", 124, "begun\n")


def test_leaving_the_loop_ends_the_command_and_everything_that_it_started(box: Sandbox) -> None:
    for event in box.stream("setsid sleep 73001 & echo up; sleep 73001"):
        if event.type == "stdout":
            break
    until(lambda: not runs(box, "73001"))
    with box.stream("sleep 73002") as stream:
        next(iter(stream))
    until(lambda: not runs(box, "73002"))


def test_an_exception_in_the_loop_ends_the_command(box: Sandbox) -> None:
    def listen() -> None:
        with box.stream("echo up; sleep 73003") as stream:
            for event in stream:
                if event.type == "stdout":
                    raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        listen()
    until(lambda: not runs(box, "73003"))


def test_input_of_any_size_is_sent_beside_the_request(box: Sandbox) -> None:
    big = "x" * (1 << 20)
    assert box.exec("wc -c", stdin=big).stdout.strip() == str(len(big))
    assert box.exec(["cat"], stdin=io.BytesIO(b"from a file")).stdout == "from a file"
    assert box.exec(["sh", "-c", "cat; echo $A"], stdin=iter([b"from ", b"pieces"]), env={"A": "1"}).stdout == "from pieces1\n"
    box.files.write("in", "from the sandbox")
    assert box.exec("cat", stdin={"path": "in"}).stdout == "from the sandbox"


def test_a_slow_reader_slows_the_command_and_loses_nothing(box: Sandbox) -> None:
    offset = 0
    for event in box.stream("head -c 8000000 /dev/zero | tr '\\0' a"):
        if event.type == "stdout":
            assert event.offset == offset
            offset = event.to
            if offset % 7 == 0:
                threading.Event().wait(0.001)
    assert offset == 8_000_000


def test_refusals_are_typed_and_say_what_to_do(box: Sandbox) -> None:
    with pytest.raises(NotFound, match=r"/none.*\[not_found, request ") as refused:
        box.exec("true", cwd="/none")
    assert (refused.value.code, refused.value.status, refused.value.retryable) == ("not_found", 404, False)
    assert refused.value.request_id
    with pytest.raises(InvalidRequest):
        box.exec([])
    with pytest.raises(TypeError):
        box.exec("true", tmeout=1)


def test_a_session_keeps_directory_and_variables(box: Sandbox) -> None:
    session = box.sessions.create("kept", env={"A": "1"})
    session.exec("cd /tmp; export B=2; f() { echo f; }", check=True)
    assert session.exec("pwd; echo $A $B; f").stdout == "/tmp\n1 2\nf\n"
    session.update(env={"A": None}, cwd="/")
    assert session.exec("pwd; echo [$A]").stdout == "/\n[]\n"
    assert session.info().name == "kept"
    assert "".join(event.text for event in session.stream("echo streamed")) == "streamed\n"
    assert session.spawn("pwd").result().stdout == "/\n"
    with pytest.raises(ValueError, match="session"):
        session.exec("true", reconnect=True)
    session.exec("mkdir -p /workspace/by/session && cd /workspace/by/session", check=True)
    session.files.write("lane", "1")
    session.files.append("json", "2")
    assert session.files.read("lane") == "1"
    assert [item.path for item in session.files.list().items] == ["json", "lane"]
    assert box.files.read("by/session/json") == "2"
    ended = session.exec("exit 5")
    assert (ended.exit_code, ended.session_ended) == (5, True)
    with pytest.raises(Gone):
        box.sessions.get(session.id).exec("true")
    with box.sessions.create() as other:
        assert other.exec("echo here").stdout == "here\n"
        assert len(box.sessions.list()) == 1
    assert box.sessions.list() == []


def test_detached_processes_are_found_heard_fed_and_ended(box: Sandbox) -> None:
    box.processes.remove_ended()
    script = "echo ready; while read line; do echo got $line; done; echo end >&2"
    echo = box.spawn(script, name="echo", stdin={"stream": True})
    assert echo.pid and echo.wait(log="ready", timeout=60).type == "logged"
    echo.input("one\n")
    waited = echo.wait(regex="got (.*)", timeout=60)
    assert (waited.line, waited.groups, waited.to) == ("got one", ["one"], 14)
    assert echo.logs().stdout == "ready\ngot one\n"
    assert echo.logs(from_=6, max_bytes=3).stdout == "got"
    assert [process.name for process in box.processes.list(state="running")] == ["echo"]
    assert box.spawn(script, name="echo", stdin={"stream": True}).id == echo.id
    echo.input(eof=True)
    result = box.processes.get("echo").result()
    assert (result.stdout, result.stderr, result.exit_code) == ("ready\ngot one\n", "end\n", 0)
    assert "".join(event.text for event in echo.attach(from_=6) if event.type == "stdout") == "got one\n"
    exit = echo.info().exit
    assert exit is not None and exit.code == 0
    echo.remove()
    with pytest.raises(NotFound):
        echo.info()


def test_leaving_a_detached_process_leaves_it_as_it_is(box: Sandbox) -> None:
    sleeper = box.spawn(["sleep", "73005"])
    for event in sleeper:
        if event.type == "started":
            break
    assert runs(box, "73005")
    sleeper.signal("SIGSTOP")
    ended = sleeper.end(grace=0.1)
    assert ended is not None and ended.exit is not None and ended.exit.type == "cancelled"
    box.spawn("sleep 73006")
    assert len(box.processes.end_all()) == 1
    box.processes.remove_ended()
    assert box.processes.list() == []
    terminal = box.spawn("sleep 73007", tty={"cols": 10, "rows": 10})
    terminal.resize(20, 20)
    tty = terminal.info().tty
    assert tty is not None and tty.cols == 20
    terminal.end()


def test_a_client_without_url_or_key_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CABANA_URL", "CABANA_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="url.*CABANA_URL"):
        Cabana()
    with pytest.raises(ValueError, match="key.*CABANA_API_KEY"):
        Sandbox.create(url="https://cabana.test")
    assert os.environ.get("CABANA_URL") is None
