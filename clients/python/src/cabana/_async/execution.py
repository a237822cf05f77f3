"""A command that runs, as its events."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from .. import _asyncio as io
from .._errors import CabanaError, Gone, NotFound, connection_lost, error_of
from .._output import Event, EventReader, ExecResult, Fold
from .._wire import NDJSON, Call, backoff, broke_off, failure, operation
from .operations import lines
from .transport import AsyncTransport

# How long a lost connection is tried again: for as long as the service keeps the command for its caller.
RECONNECT = 30.0


class AsyncExecution:
    """A command that runs, as its events. Each byte comes once: after a lost connection it goes on from the next byte.

    Leaving the loop or the block ends the command with everything that it started; a detached one runs on.
    """

    def __init__(
        self,
        transport: AsyncTransport,
        sandbox: str,
        call: Call,
        *,
        owned: bool,
        detached: bool = False,
        process: str | None = None,
        offset: int = 0,
        max_output_bytes: int | None = None,
    ) -> None:
        self._transport = transport
        self._sandbox = sandbox
        self._call = call
        self._owned = owned
        # Its call launches it then, and its events come by another one.
        self._detached = detached
        self._max_output_bytes = max_output_bytes
        self._reader = EventReader(process, offset)
        self._connected = self._resumed = self._ended = False
        self._events: AsyncGenerator[Event, None] | None = None

    @property
    def process(self) -> str | None:
        """The id of its process, once the first event has come."""
        return self._reader.process

    @property
    def offset(self) -> int:
        """The offset of the next byte: where `process.attach` would go on."""
        return self._reader.offset

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._run()

    async def __aenter__(self) -> AsyncExecution:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the command, as leaving its loop does."""
        if self._events is not None:
            await self._events.aclose()
        if not self._ended:
            self._ended = True
            await io.see_to(self._end)

    async def result(self) -> ExecResult:
        """Reads what is left, and answers with the exit and the output."""
        fold = Fold(self._max_output_bytes)
        async for event in self:
            if (result := fold.push(event)) is not None:
                return result
        raise connection_lost("the events of this command have been read already")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of its standard output alone."""
        async for event in self:
            if event.type == "gap":
                raise error_of("gone", f"output from {event.offset} to {event.to} is no longer kept")
            if event.type == "stdout":
                yield event.data

    async def _run(self) -> AsyncGenerator[Event, None]:
        self._events = self._events or self._over_connections()
        try:
            async for event in self._events:
                # What ends is noted first: the caller may leave the loop with the last event.
                self._ended = event.type == "exit"
                yield event
        except CabanaError:
            self._ended = True
            raise
        finally:
            await self.aclose()

    async def _end(self) -> None:
        """Ends a process that belongs to this client. The service would notice a closed connection, too, but only when it next writes to it."""
        if not self._owned or self.process is None:
            return
        try:
            await self._transport.json(operation(self._sandbox, "process.end", {"process": self.process}))
        except CabanaError:
            # It may have ended already, and the closed connection ends it otherwise.
            return

    async def _over_connections(self) -> AsyncGenerator[Event, None]:
        deadline: float | None = None
        attempt = 0
        while True:
            try:
                connection = self._connection(attempt > 0)
                try:
                    async for event in connection:
                        deadline, attempt = None, 0
                        yield event
                        if event.type == "exit":
                            return
                finally:
                    await connection.aclose()
                raise broke_off("the command's stream")
            except CabanaError as error:
                lost = error
            if attempt > 0 and isinstance(lost, (NotFound, Gone)):
                message = "the connection broke, and the process is not known any more"
                raise error_of("interrupted", message, request_id=lost.request_id) from lost
            reconnects = lost.code == "connection_lost" or (lost.code == "interrupted" and lost.reason == "reconnect")
            # Without its process the command cannot be found again: it may run, or never have started.
            if not reconnects or self.process is None or not self._connected:
                raise lost
            deadline = deadline or time.monotonic() + RECONNECT
            if time.monotonic() > deadline:
                raise lost
            await io.sleep(backoff(attempt))
            attempt += 1

    async def _connection(self, again: bool) -> AsyncGenerator[Event, None]:
        if self._detached and self.process is None:
            self._reader.process = (await self._transport.json(self._call))["process"]
        attaches = again or self._detached
        call = attach_call(self._sandbox, self.process or "", self.offset) if attaches else self._call
        response = await self._transport.open(call)
        self._reader.process = self._reader.process or response.headers.get("x-cabana-process")
        self._connected = True
        self._resumed = self._resumed or again
        stream = lines(response)
        try:
            async for line in stream:
                if line["type"] == "error":
                    raise failure(line, line.get("request_id"))
                event = self._reader.read(line, again)
                if event is not None:
                    self._refuse_hang_up(event)
                    yield event
        finally:
            await stream.aclose()

    def _refuse_hang_up(self, event: Event) -> None:
        """The service cannot tell a client whose network failed from one that hung up, and ends the command of either."""
        if self._resumed and self._owned and not self._detached and event.exit is not None and event.exit.type == "cancelled":
            message = "the connection broke, and the command was ended; use `reconnect=True` for one that outlives its connection"
            raise error_of("interrupted", message, details={"process": event.process})


def attach_call(sandbox: str, process: str, offset: int | None, **more: Any) -> Call:
    """Listens to a process, from an offset."""
    request = {"process": process, **({} if offset is None else {"from": offset}), **more}
    return operation(sandbox, "process.attach", request, headers=NDJSON)
