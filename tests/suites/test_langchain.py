"""LangChain's standard tests of sandboxes, as langchain-tests ships them, in their default directory below /tmp."""

import os

import pytest
from cabana_deepagents import CabanaSandbox
from langchain_tests.integration_tests import SandboxIntegrationTests


class TestCabana(SandboxIntegrationTests):
    @pytest.fixture(scope="class")
    def sandbox(self):
        backend = CabanaSandbox(os.environ["CABANA_URL"], os.environ["CABANA_API_KEY"])
        yield backend
        backend._ask("DELETE", "").raise_for_status()
