"""The WebSocket of a sandbox. Needs the package `websockets`."""

from __future__ import annotations

from typing import Any

from .. import _asyncio as io
from .._errors import connection_lost
from .operations import get
from .transport import AsyncTransport


async def open_socket(transport: AsyncTransport, sandbox: str) -> Any:
    """Opens a socket."""
    from websockets.exceptions import WebSocketException

    route = f"/v1/sandboxes/{sandbox}"
    try:
        return await io.connect(transport.url.replace("http", "ws", 1) + f"{route}/connect?binary=1", transport.key)
    except (OSError, WebSocketException) as cause:
        # A socket does not tell why it was refused; a request does.
        await transport.json(get(route))
        raise connection_lost("the socket could not be opened") from cause
