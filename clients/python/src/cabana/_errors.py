"""Requests that were refused or that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._output import ExecResult


# What a caller does next, where the message of the service does not say it.
NEXT = {
    "unauthorized": "check `key`, or the variable CABANA_API_KEY",
    "forbidden": "use a key whose scopes allow it, or a path inside the sandbox's roots",
    "interrupted": "look whether it was carried out before you repeat it",
    "connection_lost": "look whether it was carried out before you repeat it",
    "too_many_requests": "repeat it after `retry_after` seconds",
    "container_not_ready": "repeat it: it was not carried out",
    "unavailable": "repeat it: it was not carried out",
    "precondition_failed": "read the file again and repeat the change with its new etag",
    "storage_full": "remove files, or use a larger instance",
    "internal": "report it with its request id",
}


class CabanaError(Exception):
    """A request that was refused or that failed. Branch on `code`, or on the class."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int = 0,
        request_id: str | None = None,
        retryable: bool = False,
        details: dict[str, Any] | None = None,
    ) -> None:
        suffix = f" [{code}, request {request_id}]" if request_id else ""
        super().__init__(message + suffix)
        self.code = code
        """The service's code, or `connection_lost`: the connection broke, and the request may have been carried out."""
        self.status = status
        """The HTTP status, or 0 where no answer came."""
        self.request_id = request_id
        """Stands in the logs and the audit trail of the service."""
        self.retryable = retryable
        """True if it was not carried out, and a repeat may succeed."""
        self.details = details or {}
        """Facts for programs, such as `reason`, `path` and `limit_bytes`."""

    @property
    def reason(self) -> str | None:
        """Tells causes of one code apart: `no_such_file`, `exists`, `running`."""
        reason = self.details.get("reason")
        return reason if isinstance(reason, str) else None

    @property
    def retry_after(self) -> float | None:
        """In how many seconds a repeat may succeed."""
        after = self.details.get("retry_after_ms")
        return after / 1000 if isinstance(after, (int, float)) else None

    @property
    def next_step(self) -> str | None:
        """What to do about it."""
        return NEXT.get(self.code)


class InvalidRequest(CabanaError): ...


class Unauthorized(CabanaError): ...


class Forbidden(CabanaError): ...


class NotFound(CabanaError): ...


class Conflict(CabanaError): ...


class Interrupted(CabanaError):
    """It may have been carried out: the connection broke on our side or on the service's."""


class Gone(CabanaError): ...


class PreconditionFailed(CabanaError): ...


class TooLarge(CabanaError): ...


class Unprocessable(CabanaError): ...


class TooManyRequests(CabanaError): ...


class NotReady(CabanaError):
    """The sandbox or the service is not up: nothing was carried out."""


class Timeout(CabanaError): ...


class StorageFull(CabanaError): ...


CLASSES: dict[str, type[CabanaError]] = {
    "invalid_request": InvalidRequest,
    "unauthorized": Unauthorized,
    "forbidden": Forbidden,
    "not_found": NotFound,
    "conflict": Conflict,
    "interrupted": Interrupted,
    "connection_lost": Interrupted,
    "gone": Gone,
    "precondition_failed": PreconditionFailed,
    "payload_too_large": TooLarge,
    "unprocessable": Unprocessable,
    "too_many_requests": TooManyRequests,
    "container_not_ready": NotReady,
    "unavailable": NotReady,
    "timeout": Timeout,
    "storage_full": StorageFull,
}


class CommandFailed(Exception):
    """A command of `exec(…, check=True)` whose exit is not 0. `result` has its output."""

    def __init__(self, command: str | list[str], result: ExecResult) -> None:
        how = result.exit.type if result.exit else "lost"
        super().__init__(f"{command!r} ended with {result.exit_code} ({how}): {result.stderr[-500:].strip()}")
        self.result = result


def error_of(code: str, message: str, **facts: Any) -> CabanaError:
    """The error of the class that belongs to its code."""
    return CLASSES.get(code, CabanaError)(code, message, **facts)


def connection_lost(message: str = "the connection to the service broke") -> CabanaError:
    """The error of a connection that broke, or that was never made."""
    return error_of("connection_lost", message)
