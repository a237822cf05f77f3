"""Sandboxes as the sandbox environments of Inspect: `Task(…, sandbox="cabana")`, or `("cabana", "python")` for another kind. Needs `inspect-ai`."""

from __future__ import annotations

from typing import Any

from inspect_ai.util import ExecResult, OutputLimitExceededError, SandboxConnection, SandboxEnvironment, SandboxEnvironmentLimits, sandboxenv

from ._async.sandbox import AsyncSandbox
from ._errors import CabanaError
from ._output import ExecResult as Finished

# The longest that a command may run, in seconds: Inspect sets a time limit where it wants one.
LONGEST = 24 * 3600.0

# What a command says of a file, and what Inspect wants to hear of it.
REFUSALS: tuple[tuple[str, type[OSError]], ...] = (
    ("Is a directory", IsADirectoryError),
    ("Permission denied", PermissionError),
    ("Read-only file system", PermissionError),
    ("No such file or directory", FileNotFoundError),
    ("Not a directory", FileNotFoundError),
)

WRITE = 'mkdir -p -- "$(dirname -- "$1")" && cat > "$1"'


@sandboxenv(name="cabana")
class CabanaSandboxEnvironment(SandboxEnvironment):  # type: ignore[misc,unused-ignore]
    """A sandbox for each sample. CABANA_URL and CABANA_API_KEY name the service.

    Files are read and written by commands: what the user of the sandbox may not do, the sample may not do either.
    """

    def __init__(self, box: AsyncSandbox) -> None:
        super().__init__()
        self._box = box

    @classmethod
    async def sample_init(cls, task_name: str, config: Any, metadata: dict[str, str]) -> dict[str, SandboxEnvironment]:
        if not (config is None or isinstance(config, str)):
            raise ValueError("the configuration of the sandbox `cabana` is the name of a kind")
        return {"default": cls(await AsyncSandbox.create(kind=config))}

    @classmethod
    async def sample_cleanup(cls, task_name: str, config: Any, environments: dict[str, SandboxEnvironment], interrupted: bool) -> None:
        for environment in environments.values():
            await environment.as_type(cls)._box.__aexit__(None, None, None)

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """Runs a command. One that takes longer than `timeout` ends, and is not repeated: it may have done half of its work."""
        limit = SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE
        try:
            result = await self._box.exec(cmd, stdin=input, cwd=cwd, env=env, user=user, timeout=timeout or LONGEST, max_output_bytes=limit)
        except CabanaError as error:
            if error.reason == "not_executable":
                raise PermissionError(str(error)) from error
            if error.code == "not_found":
                return ExecResult(False, 127, "", str(error))
            raise
        if result.exit is not None and result.exit.type == "timed_out":
            raise TimeoutError(f"the command took longer than {timeout} s")
        if result.truncated:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, result.stdout)
        return ExecResult(result.ok, -1 if result.exit_code is None else result.exit_code, result.stdout, result.stderr)

    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Writes a file, and makes missing directories."""
        await self._file(["sh", "-c", WRITE, "sh", file], contents)

    async def read_file(self, file: str, text: bool = True) -> Any:
        """The text of a file, or its bytes."""
        result = await self._file(["cat", "--", file], None)
        if result.truncated:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None)
        return result.stdout_bytes.decode() if text else result.stdout_bytes

    async def connection(self, *, user: str | None = None) -> SandboxConnection:
        """A terminal in the sandbox, by the command `cabana`."""
        return SandboxConnection(type="cabana", command=f"cabana shell {self._box.id}")

    async def _file(self, command: list[str], contents: str | bytes | None) -> Finished:
        limit = SandboxEnvironmentLimits.MAX_READ_FILE_SIZE
        result = await self._box.exec(command, stdin=contents, env={"LC_ALL": "C"}, timeout=LONGEST, max_output_bytes=limit)
        if not result.ok:
            said = result.stderr.strip()
            raise next((refusal for words, refusal in REFUSALS if words in said), OSError)(said)
        return result
