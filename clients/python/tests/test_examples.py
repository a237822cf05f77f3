from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import KEY, URL

HERE = Path(__file__).resolve().parent.parent
OUTPUT = {
    "quickstart": "hello from a sandbox\n\n",
    "background": "<h1>It works</h1>\nstep 1\nstep 2\nstep 3\n3\n",
    "asynchronous": "['0', '1', '2']\n",
}


@pytest.mark.parametrize("name", OUTPUT)
def test_an_example_prints_what_it_is_for(name: str) -> None:
    environment = {**os.environ, "CABANA_URL": URL, "CABANA_API_KEY": KEY}
    run = subprocess.run([sys.executable, HERE / f"examples/{name}.py"], env=environment, capture_output=True, text=True, check=False)
    assert (run.stdout, run.returncode) == (OUTPUT[name], 0), run.stderr


def test_the_readme_begins_with_the_example_that_is_run() -> None:
    assert (HERE / "examples/quickstart.py").read_text() in (HERE / "README.md").read_text()


def test_the_reference_is_that_of_the_sources() -> None:
    subprocess.run([sys.executable, HERE / "scripts/reference.py", "--check"], check=True)


def test_importing_the_client_imports_no_network() -> None:
    # What makes an import slow is what it imports.
    script = "import sys; from cabana import Sandbox; print([name for name in ('httpx', 'websockets', 'asyncio', 'ssl') if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": "src"}
    run = subprocess.run([sys.executable, "-c", script], cwd=HERE, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_name_of_the_package_is_there() -> None:
    import cabana

    assert all(getattr(cabana, name) is not None for name in cabana.__all__)
    assert sorted(cabana._PLACES) == sorted(cabana.__all__)
