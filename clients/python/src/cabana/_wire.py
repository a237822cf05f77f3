"""What is sent and what comes back, without input or output: both halves of the client use it."""

from __future__ import annotations

import base64
import json
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypedDict, Union
from urllib.parse import quote, urlencode

from ._errors import CabanaError, connection_lost, error_of
from ._models import IDEMPOTENT

# A path of the sandbox.
Path = Union[str, "os.PathLike[str]"]
Command = Union[str, Sequence[str]]
Env = Mapping[str, Union[str, None]]



class SpawnOptions(TypedDict, total=False):
    """How a command runs."""

    cwd: str | None
    env: Env | None
    """None unsets a variable."""
    stdin: Any
    """Text, bytes, a file object, anything that gives bytes, a file of the sandbox (`{"path": …}`), or `{"stream": True}` for `input`."""
    timeout: float | None
    """In seconds, after which it ends with everything that it started."""
    user: str | None
    session: str | None
    create_session: bool | None
    stderr: Literal["stdout"] | None
    tty: dict[str, int] | None


class ExecOptions(SpawnOptions, total=False):
    """How a command runs, and how much of its output is kept."""

    max_output_bytes: int | None
    reconnect: bool
    """Goes on when this client's own network fails, and not only when the service loses the connection, at the cost of one more request.
    The command is detached then: if this program ends, it runs on until its time is up."""


NDJSON = {"accept": "application/x-ndjson"}

# The first pause before a repeat in seconds, and the longest that none of the service's asks for.
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0


class Call:
    """One request to the service."""

    __slots__ = ("method", "path", "query", "body", "content", "headers", "idempotent")

    def __init__(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool | None = None,
    ) -> None:
        self.method = method
        self.path = path + query_string(query)
        self.body = None if body is None else json.dumps(wire(body)).encode()
        self.content = content
        self.headers = dict(headers or {})
        self.idempotent = method not in ("POST", "PATCH") if idempotent is None else idempotent

    @property
    def replayable(self) -> bool:
        """Whether the body can be sent again: a stream is read once."""
        return self.content is None or isinstance(self.content, bytes)


def operation(sandbox: str, name: str, request: Mapping[str, Any], *, idempotent: bool | None = None, **extra: Any) -> Call:
    """An operation of the table."""
    known = name in IDEMPOTENT if idempotent is None else idempotent
    return Call("POST", f"/v1/sandboxes/{sandbox}/{name.replace('.', '/')}", body=request, idempotent=known, **extra)


def wire(value: Any) -> Any:
    """A value as JSON carries it. What is None at the top of a request is left out by `given`, not here: null means something."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {key: wire(item) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (list, tuple)):
        return [wire(item) for item in value]
    return value


def given(**fields: Any) -> dict[str, Any]:
    """The fields that the caller has named."""
    return {name: value for name, value in fields.items() if value is not None}


def milliseconds(seconds: float | None) -> int | None:
    """A time for the wire; a time that is not zero stays more than that."""
    if seconds is None:
        return None
    return max(1, round(seconds * 1000)) if seconds > 0 else 0


def query_string(query: Mapping[str, Any] | None) -> str:
    """Text as it is, lists as repeated parameters, all else as JSON."""
    pairs = []
    for name, value in (query or {}).items():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if item is not None:
                item = wire(item)
                pairs.append((name, item if isinstance(item, str) else json.dumps(item)))
    return f"?{urlencode(pairs, quote_via=quote)}" if pairs else ""


def command_in_query(command: Command) -> Command:
    """In a query a list of one is a text, and a text is a script: the shell is told to run the program as it is."""
    if isinstance(command, str) or len(command) != 1:
        return command
    quoted = command[0].replace("'", "'\\''")
    return f"exec '{quoted}'"


def failure(error: Mapping[str, Any], request_id: str | None = None, status: int = 0) -> CabanaError:
    """The error that a body or the last line of a stream tells of."""
    return error_of(
        error["code"],
        error["message"],
        status=status,
        request_id=request_id,
        retryable=error.get("retryable", False),
        details=error.get("details"),
    )


def is_failure(answer: Any) -> bool:
    return isinstance(answer, dict) and "error" in answer and "request_id" in answer


def answer_of(status: int, body: bytes) -> Any:
    """The answer in JSON; None where there is none."""
    if not body:
        return None
    answer = json.loads(body)
    # An operation that takes long begins its answer before it knows whether it succeeds.
    if is_failure(answer):
        raise failure(answer["error"], answer["request_id"], status)
    return answer


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> CabanaError:
    """The error of an answer that is not a success."""
    try:
        answer = json.loads(body)
    except ValueError:
        # Something on the way has answered in the service's place, or the request was a HEAD.
        answer = None
    if is_failure(answer):
        error = answer["error"]
        after = headers.get("retry-after", "")
        if after.isdigit():
            error["details"] = {"retry_after_ms": int(after) * 1000, **(error.get("details") or {})}
        return failure(error, answer["request_id"], status)
    code = {404: "not_found", 412: "precondition_failed"}.get(status, "agent_unavailable")
    message = f"the answer was {status}, and not of the service"
    return error_of(code, message, status=status, request_id=headers.get("x-request-id"))


def backoff(attempt: int) -> float:
    """The pause before a repeat: longer each time, and another one for each client (jitter)."""
    return float(min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE) * (0.5 + random.random() / 2))


def pause_before_repeat(call: Call, error: CabanaError, attempt: int, retries: int) -> float:
    """How long to wait before the request is sent again. Raises the error where it is not."""
    safe = error.retryable or (error.code == "connection_lost" and call.idempotent)
    if not (call.replayable and safe and attempt < retries):
        raise error
    return (error.retry_after or 0) + backoff(attempt)


class LineSplitter:
    """Splits bytes into lines. Pieces end anywhere: inside a character too."""

    def __init__(self) -> None:
        self._pending: list[bytes] = []

    def push(self, piece: bytes) -> Iterator[Any]:
        """The values of the lines that this piece completes. Blank ones, which show that the service is alive, are left out."""
        *lines, rest = piece.split(b"\n")
        for line in lines:
            if self._pending:
                line = b"".join([*self._pending, line])
                self._pending.clear()
            if line:
                yield json.loads(line)
        if rest:
            self._pending.append(rest)


def result_of(line: dict[str, Any]) -> dict[str, Any] | None:
    """The result where the line is one; None where it is an event. Raises the error that it tells of."""
    if line["type"] == "error":
        raise failure(line, line.get("request_id"))
    return line if line["type"] == "result" else None


def broke_off(what: str) -> CabanaError:
    return connection_lost(f"{what} broke off")
