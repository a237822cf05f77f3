"""Running commands."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Literal

from .. import _asyncio as io
from .._errors import CommandFailed
from .._output import ExecResult
from .._wire import NDJSON, Call, Command, Env, ExecOptions, command_in_query, given, milliseconds, operation
from .execution import AsyncExecution
from .operations import AsyncOperations
from .process import AsyncProcess

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Above this a command's input is sent beside its request, and not in it.
INLINE_BYTES = 256 << 10
PIECE_BYTES = 256 << 10
# How long a command may run that says nothing of it, detached or not, in seconds.
TIMEOUT = 600.0


class AsyncExec(AsyncOperations):
    async def exec(self, command: Command, *, check: bool = False, **options: Unpack[ExecOptions]) -> ExecResult:
        result = await self.stream(command, **options).result()
        if check and not result.ok:
            raise CommandFailed(command if isinstance(command, str) else list(command), result)
        return result

    def stream(
        self,
        command: Command,
        *,
        cwd: str | None = None,
        env: Env | None = None,
        stdin: Any = None,
        timeout: float | None = None,
        user: str | None = None,
        session: str | None = None,
        create_session: bool | None = None,
        stderr: Literal["stdout"] | None = None,
        tty: dict[str, int] | None = None,
        max_output_bytes: int | None = None,
        reconnect: bool = False,
    ) -> AsyncExecution:
        request = given(
            command=command,
            cwd=cwd,
            env=env,
            timeout_ms=milliseconds(timeout),
            user=user,
            session=session,
            create_session=create_session,
            stderr=stderr,
            tty=tty,
        )
        if reconnect:
            if session is not None:
                raise ValueError("`reconnect` does not go with a session, whose shell runs no detached commands")
            # By its name the launch can be repeated, and by its time limit it ends, as it would with a connection.
            launch = given(**{**request, "stdin": stdin, "timeout_ms": milliseconds(timeout or TIMEOUT)})
            launch.update(detach=True, name=f"exec-{secrets.token_hex(12)}")
            call = operation(self._sandbox, "exec", launch, idempotent=True)
            return AsyncExecution(self._transport, self._sandbox, call, owned=True, detached=True, max_output_bytes=max_output_bytes)
        if is_inline(stdin):
            call = operation(self._sandbox, "exec", {**request, **given(stdin=stdin)}, headers=NDJSON)
        else:
            request["command"] = command_in_query(command)
            content = stdin.encode() if isinstance(stdin, str) else stdin
            content = content if isinstance(content, bytes) else io.pieces(content, PIECE_BYTES)
            call = Call("POST", self._route("/exec"), query=request, content=content, headers=NDJSON)
        return AsyncExecution(self._transport, self._sandbox, call, owned=True, max_output_bytes=max_output_bytes)

    async def spawn(
        self,
        command: Command,
        *,
        name: str | None = None,
        restart: bool | None = None,
        cwd: str | None = None,
        env: Env | None = None,
        stdin: Any = None,
        timeout: float | None = None,
        user: str | None = None,
        session: str | None = None,
        create_session: bool | None = None,
        stderr: Literal["stdout"] | None = None,
        tty: dict[str, int] | None = None,
    ) -> AsyncProcess:
        request = given(
            command=command,
            detach=True,
            name=name,
            restart=restart,
            cwd=cwd,
            env=env,
            stdin=stdin,
            timeout_ms=milliseconds(timeout),
            user=user,
            session=session,
            create_session=create_session,
            stderr=stderr,
            tty=tty,
        )
        # A name makes the launch idempotent.
        answer = await self._transport.json(operation(self._sandbox, "exec", request, idempotent=name is not None))
        return AsyncProcess(self._transport, self._sandbox, answer["process"], name, answer.get("pid"))


def is_inline(stdin: Any) -> bool:
    """Whether an input is part of the request: nothing, little, or what the sandbox has itself."""
    if isinstance(stdin, (str, bytes)):
        return len(stdin) <= INLINE_BYTES
    return stdin is None or isinstance(stdin, dict)
