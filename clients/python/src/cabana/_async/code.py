"""Code in contexts: kernels of Jupyter."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from .._code import CodeResult
from .._errors import connection_lost
from .._models import (
    CodeCompleteResult,
    CodeExportResult,
    CodeInspectResult,
    CodeListResult,
    CodeRestartResult,
    CodeRunEvent,
)
from .._record import parse
from .._wire import NDJSON, Env, given, milliseconds, operation, result_of
from .operations import AsyncOperations, lines
from .transport import AsyncTransport


class AsyncCode(AsyncOperations):
    """Code that runs in contexts, which keep their variables from one cell to the next."""

    async def run(
        self,
        code: str,
        *,
        context: str | None = None,
        language: str | None = None,
        timeout: float | None = None,
        env: Env | None = None,
        cwd: str | None = None,
    ) -> CodeResult:
        """Runs a cell in its language's own context, or in the one that is named. An exception is a result, not an error."""
        request = given(code=code, context=context, language=language, timeout_ms=milliseconds(timeout), env=env, cwd=cwd)
        return CodeResult(await self._call("code.run", request))

    async def stream(
        self,
        code: str,
        *,
        context: str | None = None,
        language: str | None = None,
        timeout: float | None = None,
        env: Env | None = None,
        cwd: str | None = None,
    ) -> AsyncGenerator[CodeRunEvent, None]:
        """The same, as its events while it runs. Leaving the loop interrupts the cell."""
        request = given(code=code, context=context, language=language, timeout_ms=milliseconds(timeout), env=env, cwd=cwd)
        stream = lines(await self._transport.open(operation(self._sandbox, "code.run", request, headers=NDJSON)))
        try:
            async for line in stream:
                if result_of(line) is not None:
                    return
                yield parse(CodeRunEvent, line)
        finally:
            await stream.aclose()
        raise connection_lost("the cell's stream broke off before its result")

    async def create(
        self,
        language: str | None = None,
        *,
        name: str | None = None,
        cwd: str | None = None,
        env: Env | None = None,
        user: str | None = None,
    ) -> AsyncContext:
        """Starts a context, or finds the one of its name."""
        request = given(language=language, name=name, cwd=cwd, env=env, user=user)
        return self.get((await self._call("code.create", request))["context"])

    def get(self, context: str) -> AsyncContext:
        """The context of this id or name. Makes no call."""
        return AsyncContext(self._transport, self._sandbox, context)

    async def list(self) -> CodeListResult:
        """The contexts that live, and the names of the kernels that are installed. Wakes nothing."""
        return await self._record(CodeListResult, "code.list", {})


class AsyncContext(AsyncOperations):
    """A kernel, whose variables live from one cell to the next."""

    def __init__(self, transport: AsyncTransport, sandbox: str, id: str) -> None:
        super().__init__(transport, sandbox)
        self.id = id
        self._code = AsyncCode(transport, sandbox)

    async def __aenter__(self) -> AsyncContext:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.delete()

    async def run(self, code: str, *, timeout: float | None = None, env: Env | None = None, cwd: str | None = None) -> CodeResult:
        """Runs a cell in it, after those that came before."""
        return await self._code.run(code, context=self.id, timeout=timeout, env=env, cwd=cwd)

    def stream(self, code: str, *, timeout: float | None = None) -> AsyncGenerator[CodeRunEvent, None]:
        """The same, as its events while it runs."""
        return self._code.stream(code, context=self.id, timeout=timeout)

    async def interrupt(self) -> bool:
        """Interrupts the cell that runs; says whether one did."""
        running: bool = (await self._call("code.interrupt", {"context": self.id}))["running"]
        return running

    async def restart(self) -> CodeRestartResult:
        """Ends its kernel and starts another one: its variables are gone."""
        return await self._record(CodeRestartResult, "code.restart", {"context": self.id})

    async def complete(self, code: str, *, cursor: int | None = None) -> CodeCompleteResult:
        """How the code may go on at the cursor."""
        return await self._record(CodeCompleteResult, "code.complete", given(context=self.id, code=code, cursor=cursor))

    async def inspect(self, code: str, *, cursor: int | None = None, detail: bool | None = None) -> CodeInspectResult:
        """What the name at the cursor is."""
        return await self._record(CodeInspectResult, "code.inspect", given(context=self.id, code=code, cursor=cursor, detail=detail))

    async def export(self) -> CodeExportResult:
        """Its cells and what they have shown, as a notebook of Jupyter's."""
        return await self._record(CodeExportResult, "code.export", {"context": self.id})

    async def delete(self) -> None:
        """Ends it, with everything that it started."""
        await self._call("code.delete", {"context": self.id})
