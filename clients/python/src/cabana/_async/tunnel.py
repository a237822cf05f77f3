"""Connections to ports and Unix sockets of a sandbox, over a WebSocket. Needs the package `websockets`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from .. import _asyncio as io
from .._errors import CabanaError, connection_lost
from .._frames import WINDOW, ConnectionEnd, Flow, bytes_frame, closing, input_frame, request_frame
from .socket import open_socket
from .transport import AsyncTransport


class AsyncTunnel:
    """A connection to a port or a Unix socket of a sandbox: `send` bytes, and iterate over what comes.

    Each direction ends by itself, and a side that does not read holds up the other one. One may send while another receives. A connection that
    breaks is not made again.
    """

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._flow = Flow()
        # Whoever waits for something reads the socket, for all others too.
        self._heard = io.Condition()
        self._reading = False

    @classmethod
    async def open(cls, transport: AsyncTransport, sandbox: str, request: dict[str, Any]) -> AsyncTunnel:
        """Opens a connection. Answers once the other side has accepted it."""
        tunnel = cls(await open_socket(transport, sandbox))
        try:
            await tunnel._send(request_frame("port.connect", {**request, "window_bytes": WINDOW}))
            await tunnel._until(lambda: tunnel._flow.connected)
            if not tunnel._flow.connected:
                raise tunnel._flow.failure()
        except BaseException:
            await tunnel.close()
            raise
        return tunnel

    async def __aenter__(self) -> AsyncTunnel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def end(self) -> ConnectionEnd | None:
        """How it ended, once both sides have; None before, and where it broke."""
        return self._flow.end

    async def send(self, data: bytes) -> None:
        """Sends bytes. Waits while the other side does not take what was sent before."""
        left = memoryview(data)
        while left:
            await self._until(lambda: self._flow.room > 0)
            if self._flow.is_over:
                raise self._flow.failure()
            piece = self._flow.send(left)
            await self._send(bytes_frame("data", piece))
            left = left[len(piece) :]

    async def finish(self) -> None:
        """Says that nothing more is sent. The other direction goes on."""
        if not self._flow.is_over:
            await self._send(input_frame({"type": "eof"}))

    async def receive(self) -> bytes:
        """The next bytes; empty once the other side sends nothing more. A connection that breaks off is an error, not an end."""
        acknowledgement = self._flow.acknowledgement()
        if acknowledgement is not None and not self._flow.is_over:
            # Where that fails, what has come is still read.
            with suppress(CabanaError):
                await self._send(acknowledgement)
        await self._until(lambda: bool(self._flow.pieces) or self._flow.has_ended)
        if self._flow.pieces:
            return self._flow.take()
        if self._flow.has_ended:
            return b""
        raise self._flow.failure()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self.receive():
            yield piece

    async def wait(self) -> ConnectionEnd:
        """Waits until both sides have ended. What has not been read is dropped."""
        while not (self._flow.has_ended or self._flow.is_over) or self._flow.pieces:
            await self._until(lambda: bool(self._flow.pieces) or self._flow.has_ended)
            if self._flow.pieces:
                await self.receive()
        await self._until(lambda: False)
        if self._flow.end is None:
            raise self._flow.failure()
        return self._flow.end

    async def close(self) -> None:
        """Closes it, both ways."""
        self._flow.fail(connection_lost("the connection was closed"))
        await self._socket.close()

    async def _send(self, frame: str | bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await self._socket.send(frame)
        except ConnectionClosed as closed:
            self._flow.fail(closing(closed.rcvd.code if closed.rcvd else 1006))
            raise self._flow.failure() from closed

    async def _until(self, ready: Callable[[], bool]) -> None:
        """Reads until a condition holds, or nothing more comes."""
        while True:
            async with self._heard:
                while self._reading and not (ready() or self._flow.is_over):
                    await self._heard.wait()
                if ready() or self._flow.is_over:
                    return
                self._reading = True
            try:
                await self._read()
            finally:
                async with self._heard:
                    self._reading = False
                    self._heard.notify_all()

    async def _read(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            self._flow.hear(await self._socket.recv())
        except ConnectionClosed as closed:
            self._flow.fail(closing(closed.rcvd.code if closed.rcvd else 1006))
        if self._flow.is_over:
            await self._socket.close()
