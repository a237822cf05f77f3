"""Raw connections to ports and Unix sockets of a sandbox."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cabana import AsyncCabana, AsyncTunnel, Cabana, Conflict, Interrupted, InvalidRequest, NotFound, Sandbox
from conftest import KEY, RETRIES, URL, Proxy, until

# What listens in the sandbox: an echo until its client has sent all, a sink, a source, and one that resets.
SERVERS = """
import os, socket, struct, threading
def echo(client):
    while piece := client.recv(65536): client.sendall(piece)
    client.sendall(b"end")
def sink(client):
    size = 0
    while piece := client.recv(65536): size += len(piece)
    client.sendall(str(size).encode())
def source(client):
    for number in range(256): client.sendall(bytes([number]) * 65536)
def reset(client):
    client.sendall(b"begun")
    client.recv(1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
def serve(listener, program):
    while True:
        client, _ = listener.accept()
        def run(client=client):
            program(client)
            client.close()
        threading.Thread(target=run).start()
for port, program in enumerate((echo, sink, source, reset), 7001):
    threading.Thread(target=serve, args=(socket.create_server(("127.0.0.1", port)), program)).start()
listener = socket.socket(socket.AF_UNIX)
listener.bind("/tmp/echo.sock")
listener.listen()
print("ready", flush=True)
serve(listener, echo)
"""
ECHO, SINK, SOURCE, RESET = 7001, 7002, 7003, 7004


@pytest.fixture(scope="module")
def served(box: Sandbox) -> Sandbox:
    box.files.write("servers.py", SERVERS)
    box.spawn(["python3", "servers.py"], name="servers").wait(log="ready")
    return box


def established(box: Sandbox) -> str:
    """How many connections the echo has."""
    return box.exec(["grep", "-cE", "^ *[0-9]+: [0-9A-F]+:1B59 [0-9A-F]+:[0-9A-F]+ 01 ", "/proc/net/tcp"]).stdout.strip()


@pytest.mark.parametrize("target", [ECHO, "/tmp/echo.sock"])
def test_all_bytes_pass_both_ways_and_each_side_ends_by_itself(served: Sandbox, target: int | str) -> None:
    with served.ports.connect(target) as tunnel:
        tunnel.send(bytes(range(256)))
        tunnel.finish()
        assert b"".join(tunnel) == bytes(range(256)) + b"end"
        end = tunnel.wait()
    assert (end.reason, end.sent_bytes, end.received_bytes) == ("closed", 256, 259)


def test_more_than_a_window_goes_each_way(served: Sandbox) -> None:
    with served.ports.connect(SINK, host="localhost") as sink:
        sink.send(bytes(6_000_000))
        sink.finish()
        assert b"".join(sink) == b"6000000"
    with served.ports.connect(SOURCE) as source:
        assert b"".join(source) == b"".join(bytes([number]) * 65536 for number in range(256))


def test_one_thread_sends_while_another_receives(served: Sandbox) -> None:
    data = bytes(range(256)) * 20_000
    with served.ports.connect(ECHO) as tunnel:

        def send() -> None:
            tunnel.send(data)
            tunnel.finish()

        sender = threading.Thread(target=send)
        sender.start()
        assert b"".join(tunnel) == data + b"end"
        sender.join()


def test_what_is_not_read_is_dropped_by_waiting_for_the_end(served: Sandbox) -> None:
    with served.ports.connect(SOURCE) as tunnel:
        tunnel.finish()
        assert tunnel.wait().received_bytes == 256 * 65536


def test_a_connection_that_is_broken_off_fails_and_is_no_end(served: Sandbox) -> None:
    with served.ports.connect(RESET) as tunnel:
        assert tunnel.receive() == b"begun"
        tunnel.send(b"x")
        with pytest.raises(Interrupted, match="after 5 bytes"):
            tunnel.receive()
        assert tunnel.end is not None and tunnel.end.reason == "reset"
        with pytest.raises(Interrupted):
            tunnel.send(b"x")


def test_leaving_a_connection_closes_it(served: Sandbox) -> None:
    with served.ports.connect(ECHO):
        assert established(served) != "0"
    until(lambda: established(served) == "0")


def test_a_connection_whose_network_fails_is_an_error(served: Sandbox, proxy: Proxy) -> None:
    with Cabana(proxy.url, KEY, retries=RETRIES) as cabana:
        tunnel = cabana.sandbox(served.id).ports.connect(ECHO)
        proxy.cut()
        with pytest.raises(Interrupted):
            tunnel.receive()


@pytest.mark.parametrize(
    ("target", "error", "reason"),
    [(7999, Conflict, "connection_refused"), ("/tmp/none.sock", NotFound, "no_socket"), (0, InvalidRequest, None)],
)
def test_a_connection_that_cannot_be_made_is_a_typed_error(served: Sandbox, target: int | str, error: type[Exception], reason: str | None) -> None:
    with pytest.raises(error) as refused:
        served.ports.connect(target)
    assert reason is None or refused.value.reason == reason  # type: ignore[attr-defined]


async def test_tasks_send_and_receive_at_once(served: Sandbox) -> None:
    data = bytes(range(256)) * 20_000

    async def send(tunnel: AsyncTunnel) -> None:
        await tunnel.send(data)
        await tunnel.finish()

    async with AsyncCabana(URL, KEY, retries=RETRIES) as cabana, await cabana.sandbox(served.id).ports.connect(ECHO) as tunnel:
        sending = asyncio.create_task(send(tunnel))
        assert b"".join([piece async for piece in tunnel]) == data + b"end"
        await sending
        assert (await tunnel.wait()).reason == "closed"


async def test_a_task_that_is_cancelled_leaves_the_connection_to_others(served: Sandbox) -> None:
    async with AsyncCabana(URL, KEY, retries=RETRIES) as cabana, await cabana.sandbox(served.id).ports.connect(ECHO) as tunnel:
        with pytest.raises((TimeoutError, asyncio.TimeoutError)):
            await asyncio.wait_for(tunnel.receive(), 0.2)
        await tunnel.send(b"after")
        assert await tunnel.receive() == b"after"
