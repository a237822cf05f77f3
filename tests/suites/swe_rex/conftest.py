"""SWE-ReX's server in a sandbox: what its own tests, as its package ships them, call `remote_runtime`."""

import os
import subprocess

import httpx
import pytest
import pytest_asyncio
from swerex.runtime import abstract
from swerex.runtime.abstract import BashAction as _Action, Command as _Command
from swerex.runtime.remote import RemoteRuntime

KEY = {"Authorization": f"Bearer {os.environ['CABANA_API_KEY']}"}


class CabanaRuntime(RemoteRuntime):
    _headers = property(lambda self: {**RemoteRuntime._headers.fget(self), **KEY})


@pytest.fixture(scope="session")
def server():
    with httpx.Client(base_url=os.environ["CABANA_URL"], headers=KEY, timeout=None) as http:
        route = f"/v1/sandboxes/{http.post('/v1/sandboxes', json={}).raise_for_status().json()['id']}"
        packages = subprocess.check_output(["tar", "-C", os.environ["SWE_REX_PACKAGES"], "-c", "."])
        http.put(f"{route}/archive?path=packages", content=packages).raise_for_status()
        run = {"command": "exec python3 -m swerex --auth-token t --port 8000", "env": {"PYTHONPATH": "packages", "TERM": "dumb"}}
        http.post(f"{route}/exec", json={**run, "detach": True, "name": "swerex"}).raise_for_status()
        wait = {"process": "swerex", "until": {"port": 8000}, "timeout_ms": 120_000}
        http.post(f"{route}/process/wait", json=wait).raise_for_status()
        yield f"{os.environ['CABANA_URL']}{route}/ports/8000/proxy"
        http.delete(route).raise_for_status()


@pytest_asyncio.fixture
async def remote_runtime(server):
    return CabanaRuntime(host=server, auth_token="t", timeout=60)


@pytest_asyncio.fixture
async def runtime_with_default_session(remote_runtime):
    await remote_runtime.create_session(abstract.CreateBashSessionRequest(startup_timeout=30))
    yield remote_runtime
    await remote_runtime.close_session(abstract.CloseBashSessionRequest())
