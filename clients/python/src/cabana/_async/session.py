"""Shells that stay between commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from .._models import Session as SessionRecord
from .._output import ExecResult
from .._record import parse
from .._wire import Command, Env, ExecOptions, SpawnOptions, given, milliseconds
from .exec import AsyncExec
from .execution import AsyncExecution
from .files import AsyncFiles
from .operations import AsyncOperations
from .process import AsyncProcess
from .transport import AsyncTransport

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncSession(AsyncOperations):
    """A shell that stays between commands: directory, variables and functions of one command are there for the next."""

    def __init__(self, transport: AsyncTransport, sandbox: str, id: str) -> None:
        super().__init__(transport, sandbox)
        self.id = id
        self._exec = AsyncExec(transport, sandbox)
        self.files = AsyncFiles(transport, sandbox, id)
        """The sandbox's files; relative paths begin in the session's directory."""

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.delete()

    async def exec(self, command: Command, *, check: bool = False, **options: Unpack[ExecOptions]) -> ExecResult:
        """Runs a command in it, after those that came before. Takes what `Sandbox.exec` takes."""
        options["session"] = self.id
        return await self._exec.exec(command, check=check, **options)

    def stream(self, command: Command, **options: Unpack[ExecOptions]) -> AsyncExecution:
        """The same, as its events."""
        options["session"] = self.id
        return self._exec.stream(command, **options)

    async def spawn(self, command: Command, *, name: str | None = None, **options: Unpack[SpawnOptions]) -> AsyncProcess:
        """Starts a process of its own, with the session's directory and variables."""
        options["session"] = self.id
        return await self._exec.spawn(command, name=name, **options)

    async def info(self) -> SessionRecord:
        """Describes it."""
        return await self._record(SessionRecord, "session.get", {"session": self.id})

    async def update(self, *, cwd: str | None = None, env: Env | None = None) -> SessionRecord:
        """Changes its directory and variables for the commands that follow; None unsets a variable."""
        return await self._record(SessionRecord, "session.update", given(session=self.id, cwd=cwd, env=env))

    async def delete(self) -> None:
        """Ends its shell and everything that this started."""
        await self._call("session.delete", {"session": self.id})


class AsyncSessions(AsyncOperations):
    """The sessions of a sandbox."""

    async def create(
        self,
        name: str | None = None,
        *,
        cwd: str | None = None,
        env: Mapping[str, str | None] | None = None,
        shell: Literal["bash", "sh"] | None = None,
        timeout: float | None = None,
        user: str | None = None,
    ) -> AsyncSession:
        """Starts a session, or finds the one of its name. `timeout` is the one of its commands that set none."""
        request = given(name=name, cwd=cwd, env=env, shell=shell, timeout_ms=milliseconds(timeout), user=user)
        return self.get((await self._call("session.create", request))["session"])

    def get(self, session: str) -> AsyncSession:
        """The session of this id or name. Makes no call."""
        return AsyncSession(self._transport, self._sandbox, session)

    async def list(self) -> list[SessionRecord]:
        """Those that live. Wakes nothing."""
        return [parse(SessionRecord, item) for item in (await self._call("session.list", {}))["items"]]
