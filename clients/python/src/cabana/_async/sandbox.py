"""A sandbox."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from .. import _asyncio as io
from .._errors import CabanaError
from .._models import (
    AuditPage,
    AuditVerification,
    ConnectToken,
    LifeEvent,
    Metrics,
    NetworkReport,
    Sandbox as SandboxRecord,
    SystemInfoResult,
    SystemUsage,
    Upgraded,
    VariableList,
)
from .._output import ExecResult
from .._record import parse
from .._wire import NDJSON, Call, Command, Env, ExecOptions, SpawnOptions, backoff, given, milliseconds
from .code import AsyncCode
from .exec import AsyncExec
from .execution import AsyncExecution
from .files import AsyncFiles
from .git import AsyncGit
from .operations import AsyncOperations, get, lines
from .ports import AsyncArchives, AsyncPorts, AsyncSnapshots
from .process import AsyncProcess, AsyncProcesses
from .session import AsyncSessions
from .terminal import AsyncTerminal
from .transport import AsyncTransport

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .client import AsyncCabana

Disposal = Literal["delete", "stop", "keep"]


class AsyncSandbox(AsyncOperations):
    """A sandbox, by its id. The first operation starts it, and any later one wakes it."""

    def __init__(self, transport: AsyncTransport, id: str, dispose: Disposal = "keep", owner: AsyncCabana | None = None) -> None:
        super().__init__(transport, quote(id, safe=""))
        self.id = id
        self._dispose = dispose
        self._owner = owner
        self._exec = AsyncExec(transport, self._sandbox)
        self.files = AsyncFiles(transport, self._sandbox)
        self.processes = AsyncProcesses(transport, self._sandbox)
        self.sessions = AsyncSessions(transport, self._sandbox)
        self.code = AsyncCode(transport, self._sandbox)
        self.git = AsyncGit(transport, self._sandbox)
        self.ports = AsyncPorts(transport, self._sandbox)
        self.snapshots = AsyncSnapshots(transport, self._sandbox)
        self.archives = AsyncArchives(transport, self._sandbox)

    @classmethod
    async def create(cls, name: str | None = None, *, url: str | None = None, key: str | None = None, dispose: Disposal = "delete", **options: Any) -> AsyncSandbox:
        """Makes a sandbox, or finds the one of its name. Takes what `Cabana.create` takes.

        `url` and `key` are those of the variables CABANA_URL and CABANA_API_KEY, where they are not given. At the end of its `with`
        block the sandbox is deleted, unless `dispose` says otherwise.
        """
        from .client import AsyncCabana

        cabana = AsyncCabana(url=url, key=key)
        try:
            box = await cabana.create(name, dispose=dispose, **options)
        except BaseException:
            await cabana.aclose()
            raise
        box._owner = cabana
        return box

    @classmethod
    async def connect(cls, id: str, *, url: str | None = None, key: str | None = None) -> AsyncSandbox:
        """The sandbox of this id, which must exist. Wakes nothing."""
        from .client import AsyncCabana

        cabana = AsyncCabana(url=url, key=key)
        box = cls(cabana._transport, id, "keep", cabana)
        try:
            await box.info()
        except BaseException:
            await cabana.aclose()
            raise
        return box

    async def __aenter__(self) -> AsyncSandbox:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._dispose == "delete":
                await self.delete()
            elif self._dispose == "stop":
                await self.stop()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Closes its connections. The sandbox stays as it is."""
        if self._owner is not None:
            await self._owner.aclose()

    async def exec(self, command: Command, *, check: bool = False, **options: Unpack[ExecOptions]) -> ExecResult:
        """Runs a command: a string is a script for the shell, a list is an exact argv. A non-zero exit is a result, not an error.

        `cwd`, `env` (None unsets a variable), `stdin` (text, bytes, a file object, anything that gives bytes, `{"path": …}`), `timeout`
        in seconds (default 600), after which it ends with everything that it started, `user`, `session`, `create_session`,
        `stderr="stdout"`, `tty={"cols", "rows"}`, `max_output_bytes` (default 1 MiB of each stream). With `check`, another exit
        than 0 raises `CommandFailed`.
        """
        return await self._exec.exec(command, check=check, **options)

    def stream(self, command: Command, **options: Unpack[ExecOptions]) -> AsyncExecution:
        """The same, as its events while it runs. Leaving the loop ends the command."""
        return self._exec.stream(command, **options)

    async def spawn(self, command: Command, *, name: str | None = None, restart: bool | None = None, **options: Unpack[SpawnOptions]) -> AsyncProcess:
        """Starts a process that outlives its connection; iterate over it for its events. A `name` finds the one that runs already;
        with `restart`, each later container starts it again."""
        return await self._exec.spawn(command, name=name, restart=restart, **options)

    async def terminal(
        self,
        command: Command = ("bash",),
        *,
        cols: int = 80,
        rows: int = 24,
        name: str | None = None,
        process: str | None = None,
        cwd: str | None = None,
        env: Env | None = None,
        user: str | None = None,
        session: str | None = None,
        timeout: float | None = None,
    ) -> AsyncTerminal:
        """Opens a terminal, or attaches to a process. One with a `name` stays while nobody looks."""
        return await AsyncTerminal.open(
            self._transport,
            self._sandbox,
            command=command,
            cols=cols,
            rows=rows,
            name=name,
            process=process,
            cwd=cwd,
            env=env,
            user=user,
            session=session,
            timeout=timeout,
        )

    async def info(self) -> SandboxRecord:
        """Shows it without waking it."""
        return await self._transport.record(SandboxRecord, get(self._route("")))

    async def update(self, **changes: Any) -> SandboxRecord:
        """Changes what is named; None resets a field.

        Takes `labels`, `env`, `network`, `sleep_after` and `max_lifetime` in seconds, `keep_alive`, `ephemeral`, `snapshot_every` in
        seconds, `before_sleep`, `keep_snapshots`, `keep_snapshots_ms`.
        """
        body = {SPANS.get(name, name): milliseconds(value) if name in SPANS else value for name, value in changes.items()}
        return await self._transport.record(SandboxRecord, Call("PATCH", self._route(""), body=body, idempotent=True))

    async def start(self) -> SandboxRecord:
        """Starts it; answers when it is up."""
        return await self._transport.record(SandboxRecord, Call("POST", self._route("/start"), idempotent=True))

    async def stop(self) -> SandboxRecord:
        """Saves its files and ends its container."""
        return await self._transport.record(SandboxRecord, Call("POST", self._route("/stop"), idempotent=True))

    async def restart(self) -> SandboxRecord:
        """Stops it and starts it."""
        return await self._transport.record(SandboxRecord, Call("POST", self._route("/restart")))

    async def delete(self) -> None:
        """Destroys it, with its files."""
        await self._transport.json(Call("DELETE", self._route("")))

    async def upgrade(self) -> Upgraded:
        """Moves it to its kind's present image; to restore `before` is the way back."""
        return await self._transport.record(Upgraded, Call("POST", self._route("/upgrade")))

    async def fork(self, *, count: int | None = None, name: str | None = None) -> builtins.list[AsyncSandbox]:
        """Makes sandboxes that begin with its files."""
        answer = await self._transport.json(Call("POST", self._route("/fork"), body=given(count=count, name=name)))
        return [AsyncSandbox(self._transport, item["id"]) for item in answer["items"]]

    async def env(self) -> VariableList:
        """The variables that new commands get, with their origin."""
        return await self._transport.record(VariableList, get(self._route("/env")))

    async def network(self) -> NetworkReport:
        """The rules for what it reaches outside, what they have let pass, and the last requests that were denied."""
        return await self._transport.record(NetworkReport, get(self._route("/network")))

    async def events(self, *, from_: int | None = None) -> builtins.list[LifeEvent]:
        """The last changes of its state. Wakes nothing."""
        answer = await self._transport.json(get(self._route("/events"), **{"from": from_}))
        return [parse(LifeEvent, item) for item in answer["items"]]

    async def follow(self, *, from_: int | None = None) -> AsyncGenerator[LifeEvent, None]:
        """The changes of its state as they happen, over broken connections too. Ends with the sandbox."""
        attempt = 0
        while True:
            try:
                query = {"follow": True, "from": from_}
                stream = lines(await self._transport.open(Call("GET", self._route("/events"), query=query, headers=NDJSON)))
                try:
                    async for line in stream:
                        attempt, from_ = 0, line["id"]
                        yield parse(LifeEvent, line)
                        if line["state"] == "destroyed":
                            return
                finally:
                    await stream.aclose()
            except CabanaError as error:
                if error.code == "not_found" and from_ is not None:
                    return
                if error.code != "connection_lost":
                    raise
            await io.sleep(backoff(attempt))
            attempt += 1

    async def audit(
        self,
        *,
        from_: str | None = None,
        to: str | None = None,
        operation: str | None = None,
        principal: str | None = None,
        outcome: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> AuditPage:
        """A page of its audit trail, the newest first."""
        query = given(to=to, operation=operation, principal=principal, outcome=outcome, limit=limit, cursor=cursor, **{"from": from_})
        return await self._transport.record(AuditPage, get(self._route("/audit"), **query))

    async def verify_audit(self, *, cursor: str | None = None) -> AuditVerification:
        """Checks the chain of its audit trail."""
        return await self._transport.record(AuditVerification, get(self._route("/audit/verify"), cursor=cursor))

    async def metrics(self) -> Metrics:
        """Requests, bytes, durations, and use of the machine."""
        return await self._transport.record(Metrics, get(self._route("/metrics")))

    async def stats(self) -> SystemUsage:
        """How much of it is used at this moment. Wakes nothing."""
        return await self._record(SystemUsage, "system.stats", {})

    async def system(self) -> SystemInfoResult:
        """Its system, and which programs it has."""
        return await self._record(SystemInfoResult, "system.info", {})

    async def token(
        self, *, operations: builtins.list[str] | None = None, read_only: bool | None = None, expires_in: float | None = None
    ) -> ConnectToken:
        """A token that is good for this sandbox alone: for a web page, for instance. `expires_in` is in seconds."""
        body = given(operations=operations, read_only=read_only, expires_in_ms=milliseconds(expires_in))
        return await self._transport.record(ConnectToken, Call("POST", self._route("/tokens"), body=body))


# Times that are seconds here, and their names on the wire.
SPANS = {"sleep_after": "sleep_after_ms", "max_lifetime": "max_lifetime_ms", "snapshot_every": "snapshot_every_ms"}

