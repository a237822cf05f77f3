from __future__ import annotations

import re
import threading

import pytest

from cabana import Cabana, NotFound, Sandbox, Terminal, Unauthorized
from conftest import KEY, RETRIES, URL, Proxy, until


class Screen:
    """What a terminal has shown so far."""

    def __init__(self, terminal: Terminal) -> None:
        self.data = b""
        self._terminal = terminal
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    @property
    def text(self) -> str:
        return self.data.decode(errors="replace")

    def _read(self) -> None:
        for piece in self._terminal:
            self.data += piece

    def end(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


def test_what_is_typed_is_read_and_what_is_printed_is_shown(box: Sandbox) -> None:
    with box.terminal(cols=100, rows=30, env={"PS1": "> "}) as terminal:
        screen = Screen(terminal)
        terminal.write("stty size; echo $((6 * 7))\n")
        until(lambda: "30 100\r\n42\r\n" in screen.text)
        terminal.resize(50, 20)
        terminal.write("stty size\n")
        until(lambda: "20 50\r\n" in screen.text)
        terminal.write("exit 3\n")
        screen.end()
        assert terminal.exit is not None and terminal.exit.code == 3


def test_all_bytes_pass_a_terminal_both_ways(box: Sandbox) -> None:
    script = "stty raw -echo; printf ready; head -c 256 | od -An -v -tu1 | tr -d '\\n'"
    with box.terminal(script) as terminal:
        screen = Screen(terminal)
        until(lambda: screen.text == "ready")
        terminal.write(bytes(range(256)))
        screen.end()
    assert [int(number) for number in screen.text[5:].split()] == list(range(256))


def test_closing_a_terminal_without_a_name_ends_what_runs_on_it(box: Sandbox) -> None:
    box.terminal(["sleep", "75001"]).close()
    until(lambda: not box.exec(["pgrep", "-f", "^sleep 75001$"]).ok)


def test_a_named_terminal_stays_and_is_found_again(box: Sandbox) -> None:
    first = box.terminal("echo kept; cat", name="main")
    screen = Screen(first)
    until(lambda: "kept" in screen.text)
    first.close()
    screen.end()
    second = box.terminal("echo kept; cat", name="main")
    assert second.process == first.process
    again = Screen(second)
    until(lambda: "kept" in again.text)
    second.signal("SIGKILL")
    again.end()
    assert second.exit is not None and second.exit.type == "signalled"


def test_a_terminal_goes_on_from_the_last_byte(box: Sandbox, proxy: Proxy) -> None:
    with Cabana(proxy.url, KEY, retries=RETRIES) as cabana:
        script = "stty -echo; while read line; do echo got $line; done"
        with cabana.sandbox(box.id).terminal(script, name="broken") as terminal:
            screen = Screen(terminal)
            for round in (1, 2, 3):
                terminal.write(f"{round}\n")
                until(lambda round=round: f"got {round}\r\n" in screen.text)  # type: ignore[misc]
                connections = proxy.connections
                proxy.cut()
                until(lambda connections=connections: proxy.connections > connections)  # type: ignore[misc]
            box.processes.get("broken").input("\x04")
            screen.end()
            assert terminal.exit is not None and terminal.exit.code == 0
    assert re.findall(r"got (\d)", screen.text) == ["1", "2", "3"]


def test_a_terminal_that_cannot_start_is_a_typed_error(box: Sandbox) -> None:
    with pytest.raises(NotFound):
        box.terminal(["no-such-program"])
    with pytest.raises(NotFound):
        box.terminal(process="none")
    with Cabana(URL, "wrong") as stranger, pytest.raises(Unauthorized):
        stranger.sandbox(box.id).terminal()
