"""The calls of `e2b` that people use most, over Cabana: `from cabana.e2b import Sandbox` in place of `from e2b import Sandbox`.

What is not here says so. `sandbox.box` is the sandbox in Cabana's own words, for everything else.
"""

from __future__ import annotations

import builtins
import posixpath
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from . import _errors as errors
from ._models import Metadata
from ._models import Process as ProcessRecord
from ._models import Sandbox as SandboxRecord
from ._output import ExecResult
from ._sync.client import Cabana
from ._sync.process import Process
from ._sync.sandbox import Sandbox as CabanaSandbox

SandboxException = errors.CabanaError
NotFoundException = errors.NotFound
AuthenticationException = errors.Unauthorized
InvalidArgumentException = errors.InvalidRequest
NotEnoughSpaceException = errors.StorageFull
RateLimitException = errors.TooManyRequests

Listen = Callable[[str], Any]


class TimeoutException(Exception):
    """A command that ran longer than its `timeout`."""


@dataclass
class CommandResult:
    stderr: str
    stdout: str
    exit_code: int
    error: str | None = None


class CommandExitException(Exception):
    """A command that returned something else than 0."""

    def __init__(self, result: CommandResult) -> None:
        super().__init__(f"Command exited with code {result.exit_code} and error:\n{result.stderr}")
        self.stdout, self.stderr, self.exit_code, self.error = result.stdout, result.stderr, result.exit_code, result.error


@dataclass
class EntryInfo:
    name: str
    type: Literal["file", "dir"] | None
    path: str
    size: int = 0
    mode: int = 0
    symlink_target: str | None = None


@dataclass
class PtySize:
    rows: int
    cols: int


class CommandHandle:
    """A command that runs in the background."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.pid = process.pid or 0

    def __iter__(self) -> Iterator[tuple[str | None, str | None, bytes | None]]:
        for event in self._process:
            if event.type == "stdout":
                yield event.text, None, None
            elif event.type == "stderr":
                yield None, event.text, None

    def wait(self, on_pty: Callable[[bytes], Any] | None = None, on_stdout: Listen | None = None, on_stderr: Listen | None = None) -> CommandResult:
        """Waits for its end. Raises `CommandExitException` where it returned something else than 0."""
        with self._process.attach() as execution:
            return _fold(execution, on_stdout, on_stderr, on_pty)

    def send_stdin(self, data: str | bytes) -> None:
        self._process.input(data)

    def kill(self) -> bool:
        """Ends it. False where it was not there any more."""
        try:
            self._process.end()
        except errors.NotFound:
            return False
        return True

    def disconnect(self) -> None:
        """Nothing is connected between two calls: the command goes on."""


class Commands:
    def __init__(self, sandbox: CabanaSandbox) -> None:
        self._box = sandbox

    def run(
        self,
        cmd: str,
        background: bool | None = None,
        envs: dict[str, str] | None = None,
        user: str | None = None,
        cwd: str | None = None,
        on_stdout: Listen | None = None,
        on_stderr: Listen | None = None,
        stdin: bool | None = None,
        timeout: float | None = 60,
        request_timeout: float | None = None,
    ) -> Any:
        """Runs a command; a `CommandResult`, or with `background` a `CommandHandle`. A timeout of 0 is none.

        Raises `CommandExitException` where it returned something else than 0, and `TimeoutException`.
        """
        options: dict[str, Any] = {"env": envs, "user": user, "cwd": cwd}
        if background:
            process = self._box.spawn(cmd, stdin={"stream": True} if stdin else None, timeout=timeout or None, **options)
            return CommandHandle(process)
        longest = 24 * 3600.0
        with self._box.stream(cmd, timeout=timeout or longest, **options) as execution:
            return _fold(execution, on_stdout, on_stderr, None)

    def list(self) -> builtins.list[ProcessRecord]:
        return self._box.processes.list(state="running")

    def connect(self, pid: int) -> CommandHandle:
        """The command of this number."""
        return CommandHandle(self._find(pid))

    def kill(self, pid: int) -> bool:
        try:
            return self.connect(pid).kill()
        except errors.NotFound:
            return False

    def send_stdin(self, pid: int, data: str | bytes) -> None:
        self._find(pid).input(data)

    def close_stdin(self, pid: int) -> None:
        self._find(pid).input(eof=True)

    def _find(self, pid: int) -> Process:
        for record in self._box.processes.list():
            if record.pid == pid:
                process = self._box.processes.get(record.process)
                process.pid = pid
                return process
        raise errors.NotFound("not_found", f"there is no command with the number {pid}")


class Filesystem:
    def __init__(self, sandbox: CabanaSandbox) -> None:
        self._files = sandbox.files

    def read(self, path: str, format: Literal["text", "bytes", "stream"] = "text", **_: Any) -> Any:
        if format == "stream":
            return self._files.stream(path)
        return self._files.read_bytes(path) if format == "bytes" else self._files.read(path)

    def write(self, path: str, data: Any, **_: Any) -> EntryInfo:
        self._files.write(path, data)
        return EntryInfo(posixpath.basename(path), "file", path)

    def write_files(self, files: builtins.list[dict[str, Any]], **_: Any) -> builtins.list[EntryInfo]:
        """Writes `{"path", "data"}` each."""
        return [self.write(file["path"], file["data"]) for file in files]

    def list(self, path: str, depth: int | None = 1, **_: Any) -> builtins.list[EntryInfo]:
        return [_entry(entry, path) for entry in self._files.entries(path, depth=depth)]

    def exists(self, path: str, **_: Any) -> bool:
        return self._files.exists(path)

    def get_info(self, path: str, **_: Any) -> EntryInfo:
        return _entry(self._files.stat(path), "")

    def remove(self, path: str, **_: Any) -> None:
        self._files.remove(path, recursive=True)

    def rename(self, old_path: str, new_path: str, **_: Any) -> EntryInfo:
        self._files.move(old_path, new_path)
        return self.get_info(new_path)

    def make_dir(self, path: str, **_: Any) -> bool:
        """False where it is there already."""
        if self._files.exists(path):
            return False
        self._files.mkdir(path, parents=True)
        return True

    def watch_dir(self, path: str, recursive: bool = False, **_: Any) -> WatchHandle:
        return WatchHandle(self._files, path, recursive)


class WatchHandle:
    """Changes of a directory, for who asks for them."""

    def __init__(self, files: Any, path: str, recursive: bool) -> None:
        self._files, self._path, self._recursive = files, path, recursive
        self._version = files.changes(path, recursive=recursive).version

    def get_new_events(self) -> builtins.list[Any]:
        changes = self._files.changes(self._path, recursive=self._recursive, since=self._version)
        self._version = changes.version
        new: builtins.list[Any] = changes.changes
        return new

    def stop(self) -> None:
        """The service forgets a watch that nobody asks."""


class Pty:
    def __init__(self, sandbox: CabanaSandbox, commands: Commands) -> None:
        self._box, self._commands = sandbox, commands

    def create(self, size: PtySize, user: str | None = None, cwd: str | None = None, envs: dict[str, str] | None = None, **_: Any) -> CommandHandle:
        tty = {"cols": size.cols, "rows": size.rows}
        return CommandHandle(self._box.spawn(["bash", "-i"], tty=tty, user=user, cwd=cwd, env=envs))

    def send_stdin(self, pid: int, data: bytes) -> None:
        self._commands.send_stdin(pid, data)

    def resize(self, pid: int, size: PtySize) -> None:
        self._commands._find(pid).resize(size.cols, size.rows)

    def kill(self, pid: int) -> bool:
        return self._commands.kill(pid)


class Sandbox:
    """`Sandbox.create()` of e2b, over a service of Cabana: CABANA_URL and CABANA_API_KEY name it, or `domain` and `api_key`."""

    def __init__(self, cabana: Cabana, box: CabanaSandbox) -> None:
        self._cabana = cabana
        self.box = box
        self.commands = Commands(box)
        self.files = Filesystem(box)
        self.pty = Pty(box, self.commands)
        self.git = box.git

    @classmethod
    def create(
        cls,
        template: str | None = None,
        timeout: float | None = 300,
        metadata: dict[str, str] | None = None,
        envs: dict[str, str] | None = None,
        allow_internet_access: bool = True,
        *,
        api_key: str | None = None,
        domain: str | None = None,
        **_: Any,
    ) -> Sandbox:
        """Makes a sandbox. `template` is a kind. After `timeout` seconds without use it sleeps, and its files stay."""
        cabana = Cabana(domain, api_key)
        box = cabana.create(
            f"e2b-{secrets.token_hex(6)}",
            kind=template,
            labels=metadata,
            env=envs,
            sleep_after=timeout,
            network=None if allow_internet_access else {"internet": False},
        )
        return cls(cabana, box)

    @classmethod
    def connect(cls, sandbox_id: str, timeout: float | None = None, *, api_key: str | None = None, domain: str | None = None, **_: Any) -> Sandbox:
        cabana = Cabana(domain, api_key)
        box = cabana.sandbox(sandbox_id)
        box.info()
        if timeout is not None:
            box.update(sleep_after=timeout)
        return cls(cabana, box)

    @classmethod
    def list(cls, query: Any = None, *, api_key: str | None = None, domain: str | None = None, **_: Any) -> Iterator[SandboxRecord]:
        """All sandboxes; `query` is their metadata."""
        labels = [f"{name}={value}" for name, value in (query or {}).items()]
        with Cabana(domain, api_key) as cabana:
            yield from cabana.sandboxes(label=labels or None)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def sandbox_id(self) -> str:
        return self.box.id

    def kill(self) -> bool:
        self.box.delete()
        self._cabana.close()
        return True

    def pause(self) -> str:
        """Saves the files and ends the container. The next call wakes it."""
        self.box.stop()
        return self.box.id

    def set_timeout(self, timeout: float) -> None:
        self.box.update(sleep_after=timeout)

    def is_running(self) -> bool:
        """True unless it was killed: one that sleeps is woken by the next call."""
        try:
            self.box.info()
        except (errors.NotFound, errors.Gone):
            return False
        return True

    def get_info(self) -> SandboxRecord:
        return self.box.info()

    def get_metrics(self) -> Any:
        return [self.box.stats()]

    def get_host(self, port: int) -> str:
        """The host of the URL of a port, without `https://`."""
        url = self.box.ports.expose(port).url
        if url is None:
            raise errors.error_of("not_implemented", "this deployment has no domain for previews; use `sandbox.box.ports.request(port)`")
        return url.split("://", 1)[1].rstrip("/")

    def upload_url(self, path: str, **_: Any) -> str:
        """A URL that takes the content of this file by PUT."""
        return self.box.files.link(path, "upload").url

    def download_url(self, path: str, **_: Any) -> str:
        return self.box.files.link(path, "download").url

    def run_code(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("run_code is not in cabana.e2b: use `sandbox.commands.run('python3 …')`, or `sandbox.box`")


def _fold(execution: Any, on_stdout: Listen | None, on_stderr: Listen | None, on_pty: Callable[[bytes], Any] | None) -> CommandResult:
    from ._output import Fold

    fold = Fold(None)
    result: ExecResult | None = None
    for event in execution:
        if event.type == "stdout" and on_stdout is not None:
            on_stdout(event.text)
        if event.type == "stdout" and on_pty is not None:
            on_pty(event.data)
        if event.type == "stderr" and on_stderr is not None:
            on_stderr(event.text)
        result = fold.push(event)
    assert result is not None, "a command ends with its exit, or with an error"
    if result.exit is not None and result.exit.type == "timed_out":
        raise TimeoutException("the command ran longer than its timeout; pass a longer one, or 0 for none")
    code = -1 if result.exit_code is None else result.exit_code
    answer = CommandResult(result.stderr, result.stdout, code, None if code == 0 else (result.exit.type if result.exit else "lost"))
    if code != 0:
        raise CommandExitException(answer)
    return answer


def _entry(entry: Metadata, directory: str) -> EntryInfo:
    path = entry.path if isinstance(entry.path, str) else entry.path.decode(errors="replace")
    kinds: dict[str, Literal["file", "dir"]] = {"file": "file", "directory": "dir", "symlink": "file"}
    target = None if entry.target is None else entry.target if isinstance(entry.target, str) else entry.target.decode(errors="replace")
    return EntryInfo(posixpath.basename(path), kinds.get(entry.kind), posixpath.join(directory, path), entry.size_bytes, int(entry.mode, 8), target)
