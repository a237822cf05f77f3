"""The answers of clients/vectors.json, without a service: both clients make the same of them."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cabana import AsyncCabana, Cabana, CabanaError
from cabana._record import Record

VECTORS = json.loads((Path(__file__).resolve().parents[2] / "vectors.json").read_text())

# What a vector's call is here.
CALLS: dict[str, Callable[[Any], Any]] = {
    "stat": lambda cabana: cabana.sandbox("sbx-a").files.stat("a b"),
    "move": lambda cabana: cabana.sandbox("sbx-a").files.move("a", "b"),
    "exec": lambda cabana: cabana.sandbox("sbx-a").exec(["cat", "a"]),
    "spawn": lambda cabana: cabana.sandbox("sbx-a").spawn("serve", name="web"),
}


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, body: bytes, size: int) -> None:
        self._pieces = [body[start : start + size] for start in range(0, len(body), max(size, 1))]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


class Script:
    """A service that answers as a vector says, and what it was asked."""

    def __init__(self, vector: dict[str, Any]) -> None:
        self._replies = list(vector["replies"])
        self.asked: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = {"json": json.loads(request.content)} if request.content else {}
        self.asked.append({"method": request.method, "path": request.url.path, **body})
        reply = self._replies.pop(0) if self._replies else "lost"
        if reply == "lost":
            raise httpx.ReadError("lost")
        content = body_of(reply).encode()
        return httpx.Response(reply["status"], headers=reply.get("headers"), stream=Pieces(content, reply.get("piece_bytes", len(content))))


def body_of(reply: dict[str, Any]) -> str:
    if "lines" in reply:
        return "".join("\n" if line == "" else f"{json.dumps(line)}\n" for line in reply["lines"])
    return reply["text"] if "text" in reply else json.dumps(reply["json"])


def check(vector: dict[str, Any], script: Script, outcome: Any) -> None:
    assert script.asked == vector["requests"]
    expected = vector.get("error" if isinstance(outcome, CabanaError) else "result")
    assert expected is not None, repr(outcome)
    assert {name: plain(getattr(outcome, name)) for name in expected} == expected


def plain(value: Any) -> Any:
    return {name: plain(field) for name, field in value.__dict__.items()} if isinstance(value, Record) else value


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_an_answer_is_what_the_vector_says(vector: dict[str, Any]) -> None:
    script = Script(vector)
    cabana = Cabana("https://cabana.test", "k", retries=2, http=httpx.Client(transport=httpx.MockTransport(script)))
    try:
        outcome = CALLS[vector["call"]](cabana)
    except CabanaError as error:
        outcome = error
    check(vector, script, outcome)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
async def test_an_answer_is_the_same_without_blocking(vector: dict[str, Any]) -> None:
    script = Script(vector)
    cabana = AsyncCabana("https://cabana.test", "k", retries=2, http=httpx.AsyncClient(transport=httpx.MockTransport(script)))
    try:
        outcome = CALLS[vector["call"]](cabana)
        outcome = await outcome if inspect.isawaitable(outcome) else outcome
    except CabanaError as error:
        outcome = error
    check(vector, script, outcome)
