"""An agent without a model: it mends a small repository's failing test by the tools alone, with the Python client of MCP, in both eras."""

import asyncio
import os
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

URL, KEY = os.environ["CABANA_TEST_URL"], os.environ["CABANA_TEST_API_KEY"]


async def text(client, tool, /, **arguments):
    """The text of a tool's answer."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, f"{tool} {arguments}: {result.content}"
    return result.content[0].text


async def mend(mode, sandbox):
    headers = {"Authorization": f"Bearer {KEY}"}
    # Longer than the longest wait of a tool.
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        async with Client(streamable_http_client(f"{URL}/mcp", http_client=http), mode=mode) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert {"bash", "read", "edit", "sandbox"} <= set(names) and len(names) <= 12, names
            made = await text(client, "sandbox", action="create", name=sandbox)
            id = made.split()[0]
            try:
                await text(client, "write", sandbox=id, path="mean.py", content="def mean(xs):\n    return sum(xs) / 2\n")
                case = "from mean import mean\nassert mean([1, 2, 6]) == 3, mean([1, 2, 6])\nprint('passed')\n"
                await text(client, "write", sandbox=id, path="test.py", content=case)
                failing = await text(client, "bash", sandbox=id, command="python3 test.py")
                assert "AssertionError: 4.5" in failing and "exit code 1" in failing, failing
                where = await text(client, "grep", sandbox=id, pattern="/ 2")
                path, line, _ = where.split(":", 2)
                shown = await text(client, "read", sandbox=id, path=path, offset=int(line), limit=1)
                old = shown.splitlines()[0]
                await text(client, "edit", sandbox=id, path=path, old=old, new=old.replace("/ 2", "/ len(xs)"))
                passing = await text(client, "bash", sandbox=id, command="python3 test.py")
                assert passing.startswith("passed\n[exit code 0"), passing
                missing = await client.call_tool("read", {"sandbox": id, "path": "none"})
                assert missing.is_error and "not_found" in missing.content[0].text, missing
            finally:
                await text(client, "sandbox", action="destroy", sandbox=id)
    print(f"{mode}: passed")


for mode in ["auto", "legacy", "2026-07-28"]:
    asyncio.run(mend(mode, f"agent-{os.getpid()}-{mode.replace('-', '')}"))
sys.exit(0)
