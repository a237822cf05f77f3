"""Sends requests, repeats them where that is safe, and makes errors of refusals."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

from .. import _asyncio as io
from .._errors import CabanaError, connection_lost
from .._record import Record, parse
from .._wire import Call, answer_of, pause_before_repeat, refusal

if TYPE_CHECKING:
    import httpx

T = TypeVar("T", bound=Record)

# How long the service may say nothing, in seconds: streams and long answers show every 5 s that they live.
SILENCE = 60.0
# How long a connection may take to be made, in seconds.
CONNECT = 15.0


class AsyncTransport:
    def __init__(
        self,
        url: str | None,
        key: str | None,
        tenant: str | None,
        retries: int,
        http: httpx.AsyncClient | None,
    ) -> None:
        import httpx

        url = url or os.environ.get("CABANA_URL")
        key = key or os.environ.get("CABANA_API_KEY")
        if not url:
            raise ValueError("`url` is missing, and the variable CABANA_URL is not set")
        if not key:
            raise ValueError("`key` is missing, and the variable CABANA_API_KEY is not set")
        self.url = url.rstrip("/")
        self.key = key
        self._retries = retries
        self._owned = http is None
        # HTTP/1.1: a stream that is left must close its connection, or the service would not notice.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        self._http = http or httpx.AsyncClient(timeout=httpx.Timeout(SILENCE, connect=CONNECT, pool=None), limits=limits)
        self._headers = {"authorization": f"Bearer {key}"}
        if tenant is not None:
            self._headers["x-cabana-tenant"] = tenant

    async def aclose(self) -> None:
        if self._owned:
            await self._http.aclose()

    async def json(self, call: Call) -> Any:
        """The answer in JSON; None where there is none."""
        attempt = 0
        while True:
            try:
                response = await self._send(call)
                return answer_of(response.status_code, await self._body(response))
            except CabanaError as error:
                await io.sleep(pause_before_repeat(call, error, attempt, self._retries))
            attempt += 1

    async def record(self, cls: type[T], call: Call) -> T:
        """The answer as an object of this class."""
        return parse(cls, await self.json(call))

    async def open(self, call: Call) -> httpx.Response:
        """The answer as it comes, to be read or closed."""
        attempt = 0
        while True:
            try:
                return await self._send(call)
            except CabanaError as error:
                await io.sleep(pause_before_repeat(call, error, attempt, self._retries))
            attempt += 1

    async def forward(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer of a program in the sandbox, whatever its status."""
        import httpx

        headers = {**(options.pop("headers", None) or {}), **self._headers}
        try:
            return await self._http.request(method, self.url + path, headers=headers, **options)
        except httpx.TransportError as cause:
            raise connection_lost() from cause

    async def _send(self, call: Call) -> httpx.Response:
        import httpx

        headers = {**self._headers, **call.headers}
        content = call.body
        if call.body is not None:
            headers["content-type"] = "application/json"
        elif call.content is not None:
            headers["content-type"] = "application/octet-stream"
            content = call.content
        elif call.method in ("POST", "PUT", "PATCH"):
            content = b""
        request = self._http.build_request(call.method, self.url + call.path, headers=headers, content=content)
        try:
            response = await self._http.send(request, stream=True)
        except httpx.TransportError as cause:
            raise connection_lost(f"the connection to the service broke: {cause}") from cause
        if response.is_success:
            return response
        raise refusal(response.status_code, response.headers, await self._body(response))

    async def _body(self, response: httpx.Response) -> bytes:
        import httpx

        try:
            return await response.aread()
        except httpx.TransportError as cause:
            raise connection_lost(f"the answer broke off: {cause}") from cause
        finally:
            await response.aclose()
