"""What needs a loop of events. `_syncio.py` is the other half."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any

sleep = asyncio.sleep
Condition = asyncio.Condition

# Ends that go on though their caller is cancelled: a task that nobody holds may be collected.
_ends: set[asyncio.Task[None]] = set()


async def see_to(work: Callable[[], Awaitable[None]]) -> None:
    """Carries out an end to its end, though the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(_run(work))
    _ends.add(task)
    task.add_done_callback(_ends.discard)
    await asyncio.shield(task)


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def pieces(source: Any, size: int) -> AsyncIterator[bytes]:
    """The bytes of a file object, or of anything that gives bytes."""
    if isinstance(source, AsyncIterable):
        async for piece in source:
            yield piece
    elif hasattr(source, "read"):
        # A disk is quick, and a pipe is not: neither holds up other tasks.
        while piece := await asyncio.to_thread(source.read, size):
            yield piece
    else:
        for piece in source:
            yield piece


async def connect(url: str, token: str) -> Any:
    """Opens a WebSocket."""
    from websockets.asyncio.client import connect as connect_socket
    from websockets.typing import Subprotocol

    return await connect_socket(url, subprotocols=[Subprotocol(f"cabana.token.{token}")], max_size=None).__aenter__()
