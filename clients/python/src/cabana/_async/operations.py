"""Operations of one sandbox."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .._errors import connection_lost
from .._record import Record, parse
from .._wire import NDJSON, Call, LineSplitter, broke_off, operation, result_of
from .transport import AsyncTransport

if TYPE_CHECKING:
    import httpx

T = TypeVar("T", bound=Record)


class AsyncOperations:
    def __init__(self, transport: AsyncTransport, sandbox: str) -> None:
        self._transport = transport
        self._sandbox = sandbox

    def _route(self, path: str) -> str:
        return f"/v1/sandboxes/{self._sandbox}{path}"

    async def _call(self, name: str, request: dict[str, Any]) -> Any:
        return await self._transport.json(operation(self._sandbox, name, request))

    async def _record(self, cls: type[T], name: str, request: dict[str, Any]) -> T:
        return parse(cls, await self._call(name, request))

    async def _transfer(self, cls: type[T], name: str, request: dict[str, Any], on_event: Callable[[Any], None] | None, event: type[Record]) -> T:
        """Carries out an operation that tells of its progress."""
        if on_event is None:
            return await self._record(cls, name, request)
        response = await self._transport.open(operation(self._sandbox, name, request, headers=NDJSON))
        return parse(cls, await finish(response, lambda line: on_event(parse(event, line))))


async def lines(response: httpx.Response) -> AsyncGenerator[Any, None]:
    """The values of a body of JSON lines, as they come. Leaving the loop closes the connection."""
    import httpx

    splitter = LineSplitter()
    try:
        async for piece in response.aiter_raw():
            for line in splitter.push(piece):
                yield line
    except httpx.TransportError as cause:
        raise connection_lost(f"the stream broke off: {cause}") from cause
    finally:
        await response.aclose()


async def finish(response: httpx.Response, on_event: Callable[[Any], None]) -> Any:
    """Hands on the events of an answer that streams; answers with its result."""
    stream = lines(response)
    try:
        async for line in stream:
            if (result := result_of(line)) is not None:
                return result
            on_event(line)
    finally:
        await stream.aclose()
    raise broke_off("the stream")


def get(path: str, **query: Any) -> Call:
    """A request that changes nothing."""
    return Call("GET", path, query=query)
