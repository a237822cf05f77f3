"""Processes that go on by themselves."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from typing import Any, Literal

from .._models import ProcessLogsResult, Process as ProcessRecord, ProcessWaitResult
from .._output import Event, ExecResult
from .._record import parse
from .._wire import given, milliseconds
from .execution import AsyncExecution, attach_call
from .operations import AsyncOperations
from .transport import AsyncTransport


class AsyncProcess(AsyncOperations):
    """A process of a sandbox, by its id or name. It runs on whoever leaves."""

    def __init__(self, transport: AsyncTransport, sandbox: str, id: str, name: str | None = None, pid: int | None = None) -> None:
        super().__init__(transport, sandbox)
        self.id = id
        self.name = name
        self.pid = pid

    def __aiter__(self) -> AsyncIterator[Event]:
        """Its events from the first byte that is kept, over broken connections too."""
        return self.attach().__aiter__()

    def attach(self, *, from_: int | None = None, screen: bool | None = None, max_output_bytes: int | None = None) -> AsyncExecution:
        """Listens to it from an offset. Leaving the loop leaves the process as it is."""
        call = attach_call(self._sandbox, self.id, from_, **given(screen=screen))
        return AsyncExecution(
            self._transport, self._sandbox, call, owned=False, process=self.id, offset=from_ or 0, max_output_bytes=max_output_bytes
        )

    async def result(self, *, max_output_bytes: int | None = None) -> ExecResult:
        """Waits for its exit; answers with that and its output, as far as it is kept."""
        return await self.attach(max_output_bytes=max_output_bytes).result()

    async def info(self) -> ProcessRecord:
        """Describes it."""
        return await self._record(ProcessRecord, "process.get", {"process": self.id})

    async def logs(self, *, from_: int | None = None, max_bytes: int | None = None) -> ProcessLogsResult:
        """A page of what it has printed, without waiting for more."""
        return await self._record(ProcessLogsResult, "process.logs", given(process=self.id, max_bytes=max_bytes, **{"from": from_}))

    async def wait(
        self,
        until: Literal["exit"] | dict[str, Any] = "exit",
        *,
        port: int | None = None,
        http: str | dict[str, Any] | None = None,
        log: str | None = None,
        regex: str | None = None,
        timeout: float | None = None,
        from_: int | None = None,
    ) -> ProcessWaitResult:
        """Waits for its exit, a line of its output (`log`, `regex`), or a port; with `http` until it answers a GET of this path."""
        asked: Any = until
        if port is not None:
            asked = given(port=port, http={"path": http} if isinstance(http, str) else http)
        elif log is not None:
            asked = {"log": log}
        elif regex is not None:
            asked = {"regex": regex}
        request = given(process=self.id, until=asked, timeout_ms=milliseconds(timeout), **{"from": from_})
        return await self._record(ProcessWaitResult, "process.wait", request)

    async def input(self, data: str | bytes | None = None, *, eof: bool | None = None) -> None:
        """Writes to its stdin, or types on its terminal; `eof` closes its stdin. Answers when the process may have it."""
        await self._call("process.input", given(process=self.id, data=data, eof=eof))

    async def resize(self, cols: int, rows: int) -> None:
        """Tells it that its terminal has another size."""
        await self._call("process.resize", {"process": self.id, "cols": cols, "rows": rows})

    async def signal(self, signal: str) -> None:
        """Signals it and everything that it started."""
        await self._call("process.signal", {"process": self.id, "signal": signal})

    async def end(self, *, grace: float | None = None, keep_restarts: bool | None = None) -> ProcessRecord | None:
        """Ends it and everything that it started: SIGTERM, then SIGKILL after the grace in seconds. Answers when all of that is gone."""
        answer = await self._call("process.end", given(process=self.id, grace_ms=milliseconds(grace), keep_restarts=keep_restarts))
        return parse(ProcessRecord, answer["items"][0]) if answer["items"] else None

    async def remove(self) -> None:
        """Drops the record of one that has ended, and frees its name."""
        await self._call("process.remove", {"process": self.id})


class AsyncProcesses(AsyncOperations):
    """The processes of a sandbox."""

    def get(self, process: str) -> AsyncProcess:
        """The process of this id or name. Makes no call."""
        return AsyncProcess(self._transport, self._sandbox, process)

    async def list(self, *, state: Literal["running", "ended"] | None = None) -> list[ProcessRecord]:
        """Those that run, and for a while those detached ones that have ended. Wakes nothing."""
        answer = await self._call("process.list", given(state=state))
        return [parse(ProcessRecord, item) for item in answer["items"]]

    async def end_all(self, *, grace: float | None = None) -> builtins.list[ProcessRecord]:
        """Ends all that run."""
        answer = await self._call("process.end", given(all=True, grace_ms=milliseconds(grace)))
        return [parse(ProcessRecord, item) for item in answer["items"]]

    async def remove_ended(self) -> None:
        """Drops the records of all that have ended, and frees their names."""
        await self._call("process.remove", {"ended": True})
