"""Terminals, over a WebSocket. Needs the package `websockets`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from .. import _asyncio as io
from .._errors import CabanaError, connection_lost
from .._frames import FINAL, bytes_frame, closing, input_frame, read_frame, request_frame
from .._models import Exit
from .._wire import Command, Env, backoff, failure, given, milliseconds, operation
from .socket import open_socket
from .transport import AsyncTransport

# How long a lost socket is tried again: for as long as the service keeps the command for its caller.
RECONNECT = 30.0


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
        await self._send(bytes_frame("stdin", data.encode() if isinstance(data, str) else data))

    async def resize(self, cols: int, rows: int) -> None:
        """Tells it its size."""
        self._size = {"cols": cols, "rows": rows}
        await self._send(input_frame({"type": "resize", **self._size}))

    async def signal(self, signal: str) -> None:
        """Signals what runs on it."""
        await self._send(input_frame({"type": "signal", "signal": signal}))

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
            kind, payload, data = read_frame(message)
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
        from websockets.exceptions import ConnectionClosed

        self._socket = await open_socket(self._transport, self._sandbox)
        try:
            await self._socket.send(request_frame(name, payload))
            while True:
                kind, payload, _ = read_frame(await self._socket.recv())
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
            raise closing(code)
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
