"""The same with `await`: what is not only another spelling of the blocking half."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cabana import AsyncCabana, AsyncSandbox, Interrupted, NotFound
from conftest import KEY, RETRIES, URL, Proxy, fresh_name


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def abox() -> AsyncIterator[AsyncSandbox]:
    async with AsyncCabana(URL, KEY, retries=RETRIES) as cabana, await cabana.create(fresh_name("async")) as box:
        await box.exec("true")
        yield box


async def ended(box: AsyncSandbox, marker: str) -> None:
    """Waits until no process of this marker runs."""
    while (await box.exec(["pgrep", "-f", f"^sleep {marker}$"])).ok:
        await asyncio.sleep(0.02)


async def test_commands_files_and_sessions(abox: AsyncSandbox) -> None:
    result = await abox.exec("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
    await abox.files.write("a", "text")
    assert await abox.files.read("a") == "text"
    assert [entry.path async for entry in abox.files.entries()] == ["a"]
    async with await abox.sessions.create() as session:
        await session.exec("cd /tmp")
        assert (await session.exec("pwd")).stdout == "/tmp\n"
    process = await abox.spawn("echo spawned")
    assert [event.text async for event in process if event.type == "stdout"] == ["spawned\n"]

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"from ", b"pieces"):
            yield piece

    assert (await abox.exec("cat", stdin=pieces())).stdout == "from pieces"
    await abox.files.write("b", pieces())
    assert await abox.files.read("b") == "from pieces"
    with pytest.raises(NotFound):
        await abox.files.read("none")


async def test_many_commands_run_at_once(abox: AsyncSandbox) -> None:
    results = await asyncio.gather(*(abox.exec(f"echo {index}") for index in range(20)))
    assert [result.stdout for result in results] == [f"{index}\n" for index in range(20)]


async def test_cancelling_ends_the_command_and_everything_that_it_started(abox: AsyncSandbox) -> None:
    task = asyncio.create_task(abox.exec("setsid sleep 76001 & echo up > started; sleep 76001"))
    while not await abox.files.exists("started"):
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ended(abox, "76001")
    with pytest.raises((TimeoutError, asyncio.TimeoutError)):
        await asyncio.wait_for(abox.exec("sleep 76002"), 0.5)
    await ended(abox, "76002")


async def test_leaving_a_block_ends_the_command(abox: AsyncSandbox) -> None:
    async with abox.stream("echo up; sleep 76003") as stream:
        async for event in stream:
            if event.type == "stdout":
                break
    await ended(abox, "76003")


async def test_connections_that_break_are_made_again(abox: AsyncSandbox, proxy: Proxy) -> None:
    async with AsyncCabana(proxy.url, KEY, retries=RETRIES) as cabana:
        far = cabana.sandbox(abox.id)
        process = await far.spawn("seq 1 100000", name="numbers")
        proxy.cut_after = 200_000
        text = "".join([event.text async for event in process if event.type == "stdout"])
        assert text == "".join(f"{number}\n" for number in range(1, 100_001))
        proxy.cut_after = float("inf")
        stream = far.stream("echo up; sleep 76004")
        with pytest.raises(Interrupted):
            async for event in stream:
                if event.type == "stdout":
                    proxy.cut()
    await ended(abox, "76004")


async def test_a_terminal_is_typed_on_while_it_is_read(abox: AsyncSandbox) -> None:
    async with await abox.terminal("stty -echo; while read line; do echo got $line; done") as terminal:
        shown = b""
        await terminal.write("one\n")
        async for piece in terminal:
            shown += piece
            if b"got one" in shown and b"got two" not in shown:
                await terminal.write("two\n\x04")
        assert terminal.exit is not None and terminal.exit.code == 0
    assert b"got two" in shown
