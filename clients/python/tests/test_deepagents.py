"""LangChain's standard tests of sandboxes, where they are installed: `pip install deepagents langchain-tests`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cabana import Cabana
from conftest import KEY, RETRIES, URL, fresh_name

langchain = pytest.importorskip("langchain_tests.integration_tests.sandboxes")


class TestBackend(langchain.SandboxIntegrationTests):  # type: ignore[name-defined,misc]
    @pytest.fixture(scope="class")
    def sandbox(self) -> Iterator[object]:
        from cabana.deepagents import CabanaBackend

        with Cabana(URL, KEY, retries=RETRIES) as cabana, cabana.create(fresh_name("deepagents"), roots=["/workspace", "/tmp"]) as box:
            yield CabanaBackend(box)
