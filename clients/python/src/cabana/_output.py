"""What a command prints, and how it ends."""

from __future__ import annotations

import base64
import codecs
from dataclasses import dataclass
from typing import Any, Literal

from ._models import CommandUsage, Exit

# Bytes kept of stdout and of stderr each, where the caller does not say.
KEPT_BYTES = 1 << 20


class Kept:
    """Keeps the first and the last half of what is pushed, as the service does in its JSON form."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._head = bytearray()
        self._tail = bytearray()
        self.length = 0

    def push(self, piece: bytes) -> None:
        self.length += len(piece)
        room = (self._limit + 1) // 2 - len(self._head)
        if room > 0:
            self._head += piece[:room]
            piece = piece[room:]
        self._tail += piece
        # Cut in large steps: each moves all that stays.
        if len(self._tail) > 2 * max(self._limit, 1 << 16):
            del self._tail[: len(self._tail) - self._limit // 2]

    @property
    def truncated(self) -> bool:
        return self.length > self._limit

    def bytes(self) -> bytes:
        if not self.truncated:
            return bytes(self._head + self._tail)
        end = self._tail[len(self._tail) - self._limit // 2 :]
        omitted = self.length - len(self._head) - len(end)
        return bytes(self._head) + f"\n[{omitted} bytes omitted]\n".encode() + bytes(end)


@dataclass(frozen=True)
class ExecResult:
    """How a command ended, and what it printed."""

    process: str
    exit: Exit | None
    """The typed exit, from the kernel's wait."""
    exit_code: int | None
    """What it returned, 124 for a time-out, 128 and the signal's number for a signal; None where that is not known."""
    duration: float
    """In seconds."""
    usage: CommandUsage | None
    session_ended: bool
    stdout_bytes: bytes
    stderr_bytes: bytes
    truncated: bool
    """True when it printed more on either than `max_output_bytes`."""

    @property
    def ok(self) -> bool:
        """True when it returned 0."""
        return self.exit_code == 0

    @property
    def stdout(self) -> str:
        """Its standard output as text; what is not UTF-8 becomes U+FFFD."""
        return self.stdout_bytes.decode(errors="replace")

    @property
    def stderr(self) -> str:
        """Its standard error as text."""
        return self.stderr_bytes.decode(errors="replace")


@dataclass(frozen=True)
class Event:
    """What a running command says."""

    type: Literal["started", "stdout", "stderr", "gap", "screen", "exit"]
    process: str | None = None
    pid: int | None = None
    offset: int = 0
    """Of the first byte. stdout and stderr share one count. Of a gap, the first byte that is missing."""
    to: int = 0
    """The offset behind the last byte."""
    data: bytes = b""
    text: str = ""
    """The same as text. A character that is cut between two events is in the second."""
    exit: Exit | None = None
    exit_code: int | None = None
    duration: float = 0.0
    usage: CommandUsage | None = None
    session_ended: bool = False


class EventReader:
    """Makes events of the lines of a command, over as many connections as it takes. Without input or output."""

    def __init__(self, process: str | None = None, offset: int = 0) -> None:
        self.process = process
        self.offset = offset
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}

    def read(self, line: dict[str, Any], again: bool) -> Event | None:
        kind = line["type"]
        if kind == "started":
            self.process = line["process"]
            # It has been said on the first connection.
            return None if again else Event("started", process=line["process"], pid=line["pid"])
        if kind in ("stdout", "stderr"):
            data = _bytes(line["bytes"])
            self.offset = line["offset"] + len(data)
            return Event(kind, offset=line["offset"], to=self.offset, data=data, text=self._decoders[kind].decode(data))
        if kind == "gap":
            self.offset = line["to"]
            return Event("gap", offset=line["from"], to=line["to"])
        if kind == "screen":
            self.offset = line["offset"]
            return Event("screen", offset=line["offset"], to=line["offset"], data=_bytes(line["bytes"]))
        if kind == "result":
            exit = Exit(line["exit"]) if line.get("exit") else None
            return Event(
                "exit",
                process=line["process"],
                exit=exit,
                exit_code=exit.code if exit else None,
                duration=line["duration_ms"] / 1000,
                usage=CommandUsage(line["usage"]) if line.get("usage") else None,
                session_ended=line.get("session_ended", False),
            )
        # What a newer service says beside this is not for an older client.
        return None


class Fold:
    """The result of a command, from its events."""

    def __init__(self, max_output_bytes: int | None) -> None:
        limit = KEPT_BYTES if max_output_bytes is None else max_output_bytes
        self._stdout, self._stderr, self._missing = Kept(limit), Kept(limit), False

    def push(self, event: Event) -> ExecResult | None:
        if event.type == "stdout":
            self._stdout.push(event.data)
        elif event.type == "stderr":
            self._stderr.push(event.data)
        elif event.type == "gap":
            self._missing = True
        elif event.type == "exit":
            return ExecResult(
                process=event.process or "",
                exit=event.exit,
                exit_code=event.exit_code,
                duration=event.duration,
                usage=event.usage,
                session_ended=event.session_ended,
                stdout_bytes=self._stdout.bytes(),
                stderr_bytes=self._stderr.bytes(),
                truncated=self._stdout.truncated or self._stderr.truncated or self._missing,
            )
        return None


def _bytes(data: str | dict[str, str]) -> bytes:
    return data.encode() if isinstance(data, str) else base64.b64decode(data["base64"])
