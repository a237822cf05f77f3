"""What the cases have in common: the service under test, a sandbox of their own, and a network that breaks."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from cabana import Cabana, Sandbox

URL = os.environ.get("CABANA_TEST_URL", "")
KEY = os.environ.get("CABANA_TEST_API_KEY", "")
# Beside other cases a sandbox may take long to start.
RETRIES = 12


def fresh_name(name: str) -> str:
    """A name that no other run has."""
    return f"py-{name}-{secrets.token_hex(3)}"


def until(condition: Callable[[], object]) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never held"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def cabana() -> Iterator[Cabana]:
    with Cabana(URL, KEY, retries=RETRIES) as cabana:
        yield cabana


@pytest.fixture(scope="module")
def box(cabana: Cabana, request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A sandbox of its own for each module, which runs."""
    with cabana.create(fresh_name(request.module.__name__.removeprefix("test_"))) as box:
        box.exec("true")
        yield box


class Proxy:
    """A way to the service that can be cut."""

    def __init__(self) -> None:
        target = urlsplit(URL)
        self._target = (target.hostname or "", target.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: set[socket.socket] = set()
        self.connections = 0
        # Cuts the connection that has carried so many bytes from the service.
        self.cut_after: float = float("inf")
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                # A reset, and not an orderly end.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(self._target)
            self._sockets |= {client, server}
            threading.Thread(target=self._carry, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._carry, args=(server, client, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                target.sendall(piece)
                carried += len(piece) if counted else 0
                if carried > self.cut_after:
                    self.cut()
        for one in (source, target):
            self._sockets.discard(one)
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        source.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy()
    yield proxy
    proxy.close()
