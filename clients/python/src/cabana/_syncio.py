"""What blocks. `_asyncio.py` is the other half."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

sleep = time.sleep
Condition = threading.Condition


def see_to(work: Callable[[], None]) -> None:
    """Carries out an end."""
    work()


def pieces(source: Any, size: int) -> Iterator[bytes]:
    """The bytes of a file object, or of anything that gives bytes."""
    if hasattr(source, "read"):
        while piece := source.read(size):
            yield piece
    else:
        yield from source


def connect(url: str, token: str) -> Any:
    """Opens a WebSocket."""
    from websockets.sync.client import connect as connect_socket
    from websockets.typing import Subprotocol

    return connect_socket(url, subprotocols=[Subprotocol(f"cabana.token.{token}")], max_size=None).__enter__()
