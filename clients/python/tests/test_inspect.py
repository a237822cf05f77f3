"""Inspect's own checks of sandbox environments, where they are installed: `pip install inspect-ai`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from cabana import AsyncCabana, Cabana, NotFound, Sandbox
from conftest import KEY, RETRIES, URL, fresh_name

checks = pytest.importorskip("inspect_ai.util._sandbox.self_check")
# Each of them is a test, which asks for the fixture `sandbox_env`.
globals().update({name: check for name, check in vars(checks).items() if name.startswith("test_")})


@pytest.fixture(scope="module")
def made(cabana: Cabana) -> Iterator[Sandbox]:
    with cabana.create(fresh_name("inspect")) as box:
        yield box


# What does not hold where commands run as root.
PERMISSIONS = {"test_read_file_not_allowed", "test_write_text_file_without_permissions", "test_write_binary_file_without_permissions"}


@pytest.fixture
async def sandbox_env(made: Sandbox, request: pytest.FixtureRequest) -> AsyncIterator[object]:
    from cabana.inspect import CabanaSandboxEnvironment

    if request.node.originalname in PERMISSIONS and made.exec("id -u").stdout.strip() == "0":
        request.node.add_marker(pytest.mark.xfail(reason="commands run as root, whom permission bits do not hold back", strict=True))
    async with AsyncCabana(URL, KEY, retries=RETRIES) as cabana:
        yield CabanaSandboxEnvironment(cabana.sandbox(made.id))


async def test_a_sample_has_a_sandbox_of_its_own_which_goes_with_it(monkeypatch: pytest.MonkeyPatch, cabana: Cabana) -> None:
    from cabana.inspect import CabanaSandboxEnvironment
    from inspect_ai.util._sandbox.registry import registry_find_sandboxenv

    assert registry_find_sandboxenv("cabana") is CabanaSandboxEnvironment
    monkeypatch.setitem(os.environ, "CABANA_URL", URL)
    monkeypatch.setitem(os.environ, "CABANA_API_KEY", KEY)
    environments = await CabanaSandboxEnvironment.sample_init("task", None, {})
    environment = environments["default"]
    assert (await environment.exec(["echo", "hello"])).stdout == "hello\n"
    id = (await environment.connection()).command.split()[-1]
    await CabanaSandboxEnvironment.sample_cleanup("task", None, environments, False)
    with pytest.raises(NotFound):
        cabana.sandbox(id).info()
