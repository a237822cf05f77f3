"""Terminals, over a WebSocket. Needs the package `websockets`."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

from .. import _asyncio as io
from .._errors import CabanaError, connection_lost, error_of
from .._models import Exit
from .._wire import Command, Env, backoff, failure, given, milliseconds, operation, wire
from .operations import get
from .transport import AsyncTransport

# The id of the one operation on a terminal's socket.
ID = "terminal"
# How long a lost socket is tried again: for as long as the service keeps the command for its caller.
RECONNECT = 30.0
# What closes a socket for good.
FINAL = {4401: ("unauthorized", "the credentials ended or were revoked"), 4404: ("not_found", "the sandbox was destroyed")}


class AsyncTerminal:
    """A terminal: iterate over what it shows, `write` what is typed. A lost connection is made again, and goes on from the next byte."""

    def __init__(self, transport: AsyncTransport, sandbox: str, cols: int, rows: int) -> None:
        self._transport = transport
        self._sandbox = sandbox
        self._size = {"cols": cols, "rows": rows}
        self._socket: Any = None
        self._offset = 0
        self._closed = False
        self._unsent: list[str | bytes] = []
        self.process: str | None = None
        """The id of its process."""
        self.exit: Exit | None = None
        """How its command ended; None while it runs, and where that is not known."""

    @classmethod
    async def open(
        cls,
        transport: AsyncTransport,
        sandbox: str,
        *,
        command: Command,
        cols: int,
        rows: int,
        name: str | None,
        process: str | None,
        cwd: str | None,
        env: Env | None,
        user: str | None,
        session: str | None,
        timeout: float | None,
    ) -> AsyncTerminal:
        terminal = cls(transport, sandbox, cols, rows)
        request = given(
            command=command, tty=terminal._size, cwd=cwd, env=env, user=user, session=session, timeout_ms=milliseconds(timeout)
        )
        if process is None and name is not None:
            launch = operation(sandbox, "exec", {**request, "detach": True, "name": name}, idempotent=True)
            process = (await transport.json(launch))["process"]
        terminal.process = process
        if process is None:
            await terminal._connect("exec", request)
        else:
            await terminal._connect("process.attach", {"process": process, "screen": True})
        return terminal

    async def __aenter__(self) -> AsyncTerminal:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def write(self, data: str | bytes) -> None:
        """Types on it."""
        data = data.encode() if isinstance(data, str) else data
        head = json.dumps({"type": "input", "id": ID, "payload": {"type": "stdin", "bytes": ""}}).encode()
        await self._send(struct.pack(">I", len(head)) + head + data)

    async def resize(self, cols: int, rows: int) -> None:
        """Tells it its size."""
        self._size = {"cols": cols, "rows": rows}
        await self._send(json.dumps({"type": "input", "id": ID, "payload": {"type": "resize", **self._size}}))

    async def signal(self, signal: str) -> None:
        """Signals what runs on it."""
        await self._send(json.dumps({"type": "input", "id": ID, "payload": {"type": "signal", "signal": signal}}))

    async def close(self) -> None:
        """Leaves it. One without a name ends, with everything that runs on it."""
        self._closed = True
        if self._socket is not None:
            await self._socket.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        from websockets.exceptions import ConnectionClosed

        while not self._closed:
            try:
                message = await self._socket.recv()
            except ConnectionClosed as closed:
                if self._closed:
                    return
                await self._reconnect(closed.rcvd.code if closed.rcvd else 1006)
                continue
            kind, payload, data = _read(message)
            if kind == "result":
                self.exit = Exit(payload["exit"]) if payload.get("exit") else None
                await self.close()
            elif kind == "error":
                error = failure(payload)
                if error.reason != "reconnect":
                    await self.close()
                    raise error
                await self._reconnect(1012)
            elif data:
                piece = self._advance(payload, data)
                yield piece

    def _advance(self, payload: dict[str, Any], data: bytes) -> bytes:
        self._offset = payload["offset"] + (0 if payload["type"] == "screen" else len(data))
        return data

    async def _send(self, message: str | bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        if self._closed:
            return
        try:
            await self._socket.send(message)
        except ConnectionClosed:
            # Its reader connects again, and sends it then.
            self._unsent.append(message)

    async def _connect(self, name: str, payload: dict[str, Any]) -> None:
        """Opens a socket, sends the request, and hears of its first event."""
        from websockets.exceptions import ConnectionClosed, WebSocketException

        route = f"/v1/sandboxes/{self._sandbox}"
        url = self._transport.url.replace("http", "ws", 1) + f"{route}/connect?binary=1"
        try:
            self._socket = await io.connect(url, self._transport.key)
        except (OSError, WebSocketException) as cause:
            # A socket does not tell why it was refused; a request does.
            await self._transport.json(get(route))
            raise connection_lost("the socket could not be opened") from cause
        try:
            await self._socket.send(json.dumps({"id": ID, "type": name, "payload": wire(payload)}))
            while True:
                kind, payload, _ = _read(await self._socket.recv())
                if kind == "error":
                    await self._socket.close()
                    raise failure(payload)
                if kind == "event" and payload["type"] == "started":
                    self.process = payload["process"]
                    return
        except ConnectionClosed as cause:
            raise connection_lost("the connection to the terminal broke") from cause

    async def _reconnect(self, code: int) -> None:
        if code in FINAL:
            raise error_of(*FINAL[code])
        deadline = time.monotonic() + RECONNECT
        attempt = 0
        while True:
            try:
                await self._connect("process.attach", {"process": self.process, "from": self._offset})
                break
            except CabanaError as error:
                if (error.code != "connection_lost" and not error.retryable) or time.monotonic() > deadline:
                    raise
                await io.sleep(backoff(attempt))
                attempt += 1
        await self.resize(**self._size)
        unsent, self._unsent = self._unsent, []
        for message in unsent:
            await self._send(message)


def _read(message: str | bytes) -> tuple[str, dict[str, Any], bytes]:
    """The kind, the payload and the bytes of a frame; another kind for what is not of the terminal."""
    data = b""
    if isinstance(message, bytes):
        (length,) = struct.unpack_from(">I", message)
        data = message[4 + length :]
        message = message[4 : 4 + length].decode()
    frame = json.loads(message)
    return (frame["type"] if frame.get("id") == ID else "", frame.get("payload") or {}, data)
