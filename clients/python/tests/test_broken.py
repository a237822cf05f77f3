"""Connections that are cut on their way."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from cabana import Cabana, Interrupted, Sandbox
from conftest import KEY, RETRIES, Proxy, until


@pytest.fixture
def far(box: Sandbox, proxy: Proxy) -> Iterator[Sandbox]:
    """The same sandbox, behind a network that breaks."""
    with Cabana(proxy.url, KEY, retries=RETRIES) as cabana:
        yield cabana.sandbox(box.id)


def test_a_detached_process_is_heard_to_its_end_each_byte_once(far: Sandbox, proxy: Proxy) -> None:
    process = far.spawn("for i in $(seq 1 200000); do echo line $i; done", name="lines")
    connections = proxy.connections
    proxy.cut_after = 300_000
    text, offset = [], 0
    for event in process:
        assert event.type != "gap"
        if event.type == "stdout":
            assert event.offset == offset
            offset = event.to
            text.append(event.text)
    assert "".join(text) == "".join(f"line {index}\n" for index in range(1, 200_001))
    assert proxy.connections - connections > 3


def test_a_download_goes_on_where_it_broke_off(box: Sandbox, far: Sandbox, proxy: Proxy) -> None:
    box.exec("head -c 3000000 /dev/urandom > random", check=True)
    expected = box.files.read_bytes("random")
    proxy.cut_after = 700_000
    assert far.files.read_bytes("random") == expected
    assert far.files.read_bytes("random", offset=1_000_001, length=1_500_000) == expected[1_000_001:2_500_001]


def test_an_upload_in_parts_goes_on_with_the_part_that_broke_off(box: Sandbox, far: Sandbox, proxy: Proxy) -> None:
    content = bytes(index * 7 % 256 for index in range(2_000_000))

    def pieces() -> Iterator[bytes]:
        yield content[:1_200_000]
        proxy.cut()
        yield content[1_200_000:]

    far.files.write("uploaded", pieces(), part_bytes=500_000)
    assert box.files.read_bytes("uploaded") == content


def test_a_command_whose_client_lost_its_connection_is_ended_and_the_client_is_told(box: Sandbox, far: Sandbox, proxy: Proxy) -> None:
    stream = iter(far.stream("echo up; sleep 74001"))
    while "up" not in next(stream).text:
        pass
    proxy.cut()
    with pytest.raises(Interrupted, match="reconnect"):
        list(stream)
    until(lambda: not box.exec(["pgrep", "-f", "^sleep 74001$"]).ok)


def test_a_command_that_reconnects_is_heard_to_its_end_and_ends_with_its_caller(box: Sandbox, far: Sandbox, proxy: Proxy) -> None:
    proxy.cut_after = 300_000
    result = far.exec("seq 1 100000; exit 7", reconnect=True)
    proxy.cut_after = float("inf")
    assert result.stdout == "".join(f"{number}\n" for number in range(1, 100_001))
    assert (result.exit_code, result.truncated) == (7, False)
    for event in far.stream("echo up; sleep 74002", reconnect=True):
        if event.type == "stdout":
            break
    until(lambda: not box.exec(["pgrep", "-f", "^sleep 74002$"]).ok)
    exit = far.exec("sleep 100", reconnect=True, timeout=0.2).exit
    assert exit is not None and exit.type == "timed_out"


def test_a_lost_answer_is_asked_for_again_where_that_does_no_harm(far: Sandbox, proxy: Proxy) -> None:
    process = far.spawn("sleep 1")
    cut = threading.Timer(0.3, proxy.cut)
    cut.start()
    assert process.wait().type == "exited"
    cut.join()
    with Cabana("http://127.0.0.1:1", KEY, retries=0) as nowhere, pytest.raises(Interrupted) as lost:
        nowhere.sandbox(far.id).files.move("one", "two")
    assert (lost.value.code, lost.value.status) == ("connection_lost", 0)


def test_changes_of_state_are_followed_over_broken_connections(box: Sandbox, far: Sandbox, proxy: Proxy) -> None:
    states: list[str] = []

    def follow() -> None:
        for event in far.follow():
            states.append(event.state)
            proxy.cut()
            if event.state == "sleeping":
                return

    followed = threading.Thread(target=follow)
    followed.start()
    until(lambda: "running" in states)
    box.stop()
    followed.join(60)
    assert "sleeping" in states
