"""Sandboxes for AI agents: the client of Cabana.

>>> from cabana import Sandbox
>>> with Sandbox.create() as box:
...     print(box.exec("echo hello").stdout)

`AsyncSandbox` and `AsyncCabana` are the same with `await`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._async.client import AsyncCabana
    from ._async.execution import AsyncExecution
    from ._async.process import AsyncProcess
    from ._async.sandbox import AsyncSandbox
    from ._async.session import AsyncSession
    from ._async.terminal import AsyncTerminal
    from ._async.tunnel import AsyncTunnel
    from ._errors import (
        CabanaError,
        CommandFailed,
        Conflict,
        Forbidden,
        Gone,
        Interrupted,
        InvalidRequest,
        NotFound,
        NotReady,
        PreconditionFailed,
        StorageFull,
        Timeout,
        TooLarge,
        TooManyRequests,
        Unauthorized,
        Unprocessable,
    )
    from ._frames import ConnectionEnd
    from ._models import SERVICE_VERSION
    from ._output import Event, ExecResult
    from ._sync.client import Cabana
    from ._sync.execution import Execution
    from ._sync.process import Process
    from ._sync.sandbox import Sandbox
    from ._sync.session import Session
    from ._sync.terminal import Terminal
    from ._sync.tunnel import Tunnel

__all__ = [
    "SERVICE_VERSION",
    "AsyncCabana",
    "AsyncExecution",
    "AsyncProcess",
    "AsyncSandbox",
    "AsyncSession",
    "AsyncTerminal",
    "AsyncTunnel",
    "Cabana",
    "CabanaError",
    "CommandFailed",
    "Conflict",
    "ConnectionEnd",
    "Event",
    "ExecResult",
    "Execution",
    "Forbidden",
    "Gone",
    "Interrupted",
    "InvalidRequest",
    "NotFound",
    "NotReady",
    "PreconditionFailed",
    "Process",
    "Sandbox",
    "Session",
    "StorageFull",
    "Terminal",
    "Timeout",
    "TooLarge",
    "TooManyRequests",
    "Tunnel",
    "Unauthorized",
    "Unprocessable",
]

# Where each name is. Nothing is imported before it is used: a program that only blocks needs no loop of events.
_MODULES = {
    "._async.client": ("AsyncCabana",),
    "._async.execution": ("AsyncExecution",),
    "._async.process": ("AsyncProcess",),
    "._async.sandbox": ("AsyncSandbox",),
    "._async.session": ("AsyncSession",),
    "._async.terminal": ("AsyncTerminal",),
    "._async.tunnel": ("AsyncTunnel",),
    "._errors": ("CabanaError", "CommandFailed", "Conflict", "Forbidden", "Gone", "Interrupted", "InvalidRequest", "NotFound", "NotReady", "PreconditionFailed", "StorageFull", "Timeout", "TooLarge", "TooManyRequests", "Unauthorized", "Unprocessable"),
    "._frames": ("ConnectionEnd",),
    "._models": ("SERVICE_VERSION",),
    "._output": ("Event", "ExecResult"),
    "._sync.client": ("Cabana",),
    "._sync.execution": ("Execution",),
    "._sync.process": ("Process",),
    "._sync.sandbox": ("Sandbox",),
    "._sync.session": ("Session",),
    "._sync.terminal": ("Terminal",),
    "._sync.tunnel": ("Tunnel",),
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_PLACES[name], __name__), name)
    globals()[name] = found
    return found
