"""The sandbox client of the OpenAI Agents SDK (`openai-agents[cloudflare]`), unmodified, against the bridge."""

import asyncio
import io
import os
import sys
import tarfile
from pathlib import Path

from agents.extensions.sandbox.cloudflare import CloudflareSandboxClient, CloudflareSandboxClientOptions
from agents.sandbox.errors import WorkspaceReadNotFoundError

URL, KEY = os.environ["CABANA_TEST_URL"], os.environ["CABANA_TEST_API_KEY"]
# Sessions that are resumed take it from here: their state has no credentials.
os.environ["CLOUDFLARE_SANDBOX_API_KEY"] = KEY
OPTIONS = CloudflareSandboxClientOptions(worker_url=URL, api_key=KEY)


async def run(session, *command, **options):
    """What a command prints on stdout; it must succeed."""
    result = await session.exec(*command, **options)
    assert result.exit_code == 0, (command, result.exit_code, result.stdout, result.stderr)
    return result.stdout.decode()


async def commands(session):
    assert await run(session, "echo out; pwd") == "out\n/workspace\n"
    for code in (1, 7, 113, 255):
        assert (await session.exec(f"exit {code}")).exit_code == code
    result = await session.exec("printf '\\377\\0é'; echo err >&2", shell=["sh", "-c"])
    assert (result.stdout, result.stderr) == (b"\xff\x00" + "é".encode(), b"err\n"), result
    large = await session.exec("head -c 3000000 /dev/zero | tr '\\0' x")
    assert large.stdout == b"x" * 3_000_000
    assert (await session.exec("sleep 100", timeout=1.0)).exit_code == 124
    outputs = await asyncio.gather(*(run(session, f"sleep 0.2; echo {number}") for number in range(8)))
    assert outputs == [f"{number}\n" for number in range(8)]


async def files(session):
    for name, content in (("plain", b"text\n"), ("odd name%25 é", bytes(range(256))), ("like events", b"data: {\"type\": 1}\n\n")):
        path = Path("/workspace") / name
        await session.write(path, io.BytesIO(content))
        read = await session.read(path)
        assert read.read() == content, name
    try:
        await session.read(Path("/workspace/none"))
    except WorkspaceReadNotFoundError:
        pass
    else:
        raise AssertionError("a file that is not there was read")
    await session.mkdir(Path("/workspace/made/deep"), parents=True)
    assert {Path(entry.path).name for entry in await session.ls(Path("/workspace/made"))} == {"deep"}
    await session.rm(Path("/workspace/made"), recursive=True)
    assert (await session.exec("test -e made")).exit_code == 1


async def terminals(session):
    started = await session.pty_exec_start("read line; echo got $line; stty size; exit 9", tty=True, yield_time_s=1.0)
    assert started.process_id is not None and started.exit_code is None, started
    output, code = started.output, None
    update = await session.pty_write_stdin(session_id=started.process_id, chars="typed\n", yield_time_s=1.0)
    output += update.output
    for _ in range(60):
        if b"got typed" in output and b"24 80" in output:
            break
        update = await session.pty_write_stdin(session_id=started.process_id, chars="", yield_time_s=0.5)
        output += update.output
    assert b"got typed" in output and b"24 80" in output, output
    await session.pty_terminate_all()


async def workspaces(client, session):
    """Saves the workspace, loads it into another sandbox, and goes on in the first."""
    await run(session, "mkdir -p tree/cache; echo kept > tree/file; ln -s file tree/link; echo left > tree/cache/out; chmod 750 tree")
    saved = (await session.persist_workspace()).read()
    names = tarfile.open(fileobj=io.BytesIO(saved)).getnames()
    assert any(name.endswith("tree/file") for name in names), names
    other = await client.create(options=OPTIONS)
    async with other:
        await other.hydrate_workspace(io.BytesIO(saved))
        assert await run(other, "cat tree/link; stat -c %a tree") == "kept\n750\n"
    state = session.state
    resumed = await client.resume(client.deserialize_session_state(client.serialize_session_state(state)))
    assert await resumed.running()
    assert await run(resumed, "cat tree/file") == "kept\n"


async def main():
    client = CloudflareSandboxClient()
    session = await client.create(options=OPTIONS)
    await session.start()
    for check in (commands, files, terminals):
        await check(session)
        print(f"{check.__name__}: passed")
    await workspaces(client, session)
    print("workspaces: passed")
    await client.delete(session)
    assert not await (await client.resume(session.state)).running(), "a sandbox that was deleted runs"
    print("the end: passed")


asyncio.run(main())
sys.exit(0)
