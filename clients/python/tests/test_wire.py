"""What needs no service: repeats, errors, lines, output."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from cabana import Cabana, CabanaError, Interrupted, NotReady, TooManyRequests, Unauthorized
from cabana._output import Kept
from cabana._record import Record, parse
from cabana._wire import LineSplitter, command_in_query, milliseconds, query_string


def scripted(*replies: Any) -> tuple[Cabana, list[httpx.Request]]:
    """A service that answers with these, in their order, and what it was asked."""
    asked: list[httpx.Request] = []
    left = list(replies)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        reply = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reply, Exception):
            raise reply
        status, body, headers = reply
        return httpx.Response(status, stream=httpx.ByteStream(body), headers=headers)

    http = httpx.Client(transport=httpx.MockTransport(answer))
    return Cabana("https://cabana.test/", "k", retries=2, http=http), asked


def refusal(status: int, code: str, details: dict[str, Any] | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes, dict[str, str]]:
    error = {"code": code, "message": "no", "retryable": status in (429, 503), "details": details}
    return status, json.dumps({"error": error, "request_id": "r1"}).encode(), headers or {}


OK = (200, b"{}", {})
LOST = httpx.ReadError("lost")


@pytest.mark.parametrize("error", [refusal(503, "container_not_ready"), refusal(429, "too_many_requests", {"retry_after_ms": 1})])
def test_what_was_not_carried_out_is_repeated_whatever_it_is(error: Any) -> None:
    cabana, asked = scripted(error, error, OK)
    cabana.sandbox("sbx-a").files.move("a", "b")
    assert [json.loads(request.content) for request in asked] == [{"from": "a", "to": "b"}] * 3


def test_repeats_come_to_an_end() -> None:
    cabana, asked = scripted(refusal(503, "container_not_ready"))
    with pytest.raises(NotReady):
        cabana.sandbox("sbx-a").start()
    assert len(asked) == 3


CALLS: list[tuple[Callable[[Cabana], Any], int]] = [
    (lambda cabana: cabana.sandbox("sbx-a").files.stat("a"), 2),
    (lambda cabana: cabana.sandbox("sbx-a").files.write("a", "x"), 2),
    (lambda cabana: cabana.sandbox("sbx-a").delete(), 2),
    (lambda cabana: cabana.create("a"), 2),
    (lambda cabana: cabana.sandbox("sbx-a").spawn("a", name="n"), 2),
    (lambda cabana: cabana.create(), 1),
    (lambda cabana: cabana.sandbox("sbx-a").exec("a"), 1),
    (lambda cabana: cabana.sandbox("sbx-a").spawn("a"), 1),
    (lambda cabana: cabana.sandbox("sbx-a").files.move("a", "b"), 1),
    (lambda cabana: cabana.sandbox("sbx-a").files.write("a", "x", if_match="*"), 1),
    (lambda cabana: cabana.sandbox("sbx-a").files.write("a", iter([b"x"])), 1),
]


@pytest.mark.parametrize(("call", "requests"), CALLS)
def test_a_lost_answer_is_asked_for_again_only_where_that_does_no_harm(call: Callable[[Cabana], Any], requests: int) -> None:
    answer = {"id": "sbx-a", "process": "p-1", "size_bytes": 1}
    cabana, asked = scripted(LOST, (200, json.dumps(answer).encode(), {}))
    if requests == 1:
        with pytest.raises(Interrupted) as lost:
            call(cabana)
        assert lost.value.code == "connection_lost"
    else:
        call(cabana)
    assert len(asked) == requests


def test_a_failure_may_come_with_the_status_of_a_success() -> None:
    late = b'   {"error":{"code":"too_many_requests","message":"full","retryable":false},"request_id":"r9"}'
    cabana, _ = scripted((200, late, {}))
    with pytest.raises(TooManyRequests) as refused:
        cabana.sandbox("sbx-a").files.stat("a")
    assert refused.value.request_id == "r9"


def test_an_error_in_the_middle_of_a_stream_is_raised_with_its_code() -> None:
    started = b'{"type":"started","process":"p-1","pid":1}\n'
    error = b'{"type":"error","code":"too_many_requests","message":"full","retryable":true,"details":{"reason":"memory"}}\n'
    box = scripted((200, started + error, {}))[0].sandbox("sbx-a")
    with pytest.raises(TooManyRequests) as refused:
        box.exec("a")
    assert refused.value.reason == "memory"
    box = scripted((200, error, {}))[0].sandbox("sbx-a")
    with pytest.raises(TooManyRequests):
        box.git.clone("u", on_progress=lambda _: None)
    with pytest.raises(TooManyRequests):
        next(box.files.watch())


def test_an_answer_that_is_not_of_the_service_is_an_error_with_its_status() -> None:
    cabana, _ = scripted((502, b"<html>", {"x-request-id": "r2"}))
    with pytest.raises(CabanaError) as refused:
        cabana.health()
    assert (refused.value.status, refused.value.request_id, refused.value.code) == (502, "r2", "agent_unavailable")


def test_errors_say_when_to_repeat_and_what_to_do() -> None:
    cabana, _ = scripted(refusal(429, "too_many_requests", headers={"retry-after": "2"}))
    with pytest.raises(TooManyRequests) as refused:
        cabana.sandbox("sbx-a").files.write("a", iter([b"x"]))
    assert refused.value.retry_after == 2
    cabana, asked = scripted(refusal(401, "unauthorized"))
    with pytest.raises(Unauthorized) as stranger:
        cabana.health()
    assert "key" in (stranger.value.next_step or "")
    assert asked[0].headers["authorization"] == "Bearer k"


def test_times_in_seconds_become_milliseconds() -> None:
    assert [milliseconds(value) for value in (None, 0, 0.0001, 0.25, 60)] == [None, 0, 1, 250, 60_000]
    cabana, asked = scripted((200, b'{"id":"sbx-a"}', {}))
    cabana.create(sleep_after=1.5, env={"A": None}, snapshot="s")
    assert json.loads(asked[0].content) == {"sleep_after_ms": 1500, "env": {"A": None}, "from": {"snapshot": "s"}}


def test_a_query_says_what_json_says() -> None:
    assert query_string({"path": "a b", "mode": None, "command": ["x", "y"], "env": {"A": None}, "follow": True}) == (
        "?path=a%20b&command=x&command=y&env=%7B%22A%22%3A%20null%7D&follow=true"
    )
    assert command_in_query(["it's"]) == "exec 'it'\\''s'"


def test_lines_are_found_wherever_the_pieces_end() -> None:
    data = '{"a":"é"}\n\n{"b":1}\nrest'.encode()

    def pieces(size: int) -> Iterator[bytes]:
        return (data[start : start + size] for start in range(0, len(data), size))

    for size in range(1, len(data) + 1):
        splitter = LineSplitter()
        assert [line for piece in pieces(size) for line in splitter.push(piece)] == [{"a": "é"}, {"b": 1}]


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_output_is_kept_whole_up_to_its_limit_and_at_both_ends_beyond_it(size: int) -> None:
    text = b"0123456789" * 10
    for limit, expected in ((100, text), (1000, text), (11, b"012345\n[89 bytes omitted]\n56789")):
        kept = Kept(limit)
        for start in range(0, len(text), size):
            kept.push(text[start : start + size])
        assert (kept.bytes(), kept.truncated) == (expected, limit < 100)


def test_answers_are_objects_whose_absent_fields_are_none() -> None:
    from cabana._models import Metadata, Process

    record = parse(Metadata, {"path": {"base64": "/w=="}, "size_bytes": 1, "newer": {"a": 1}})
    assert (record.path, record.size_bytes, record.etag) == (b"\xff", 1, None)
    assert record == parse(Metadata, {"path": {"base64": "/w=="}, "size_bytes": 1, "newer": {"a": 1}})
    assert "size_bytes=1" in repr(record)
    process = parse(Process, {"process": "p", "exit": {"type": "signalled", "signal": "SIGKILL", "code": 137}})
    assert process.exit is not None and isinstance(process.exit, Record) and process.exit.signal == "SIGKILL"
