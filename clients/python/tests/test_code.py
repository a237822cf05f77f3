from __future__ import annotations

import pytest

from cabana import Sandbox, Unprocessable
from cabana._code import CodeResult


@pytest.fixture(scope="module")
def python(box: Sandbox) -> Sandbox:
    if not any(kernel.startswith("python") for kernel in box.code.list().kernels or []):
        pytest.skip("the sandbox has no kernel for Python")
    return box


def test_a_cell_shows_its_value_and_the_next_one_knows_its_variables(python: Sandbox) -> None:
    first = python.code.run("x = 6\nprint('printed')\nx * 7")
    assert (first.status, first.text, first.logs.stdout, first.outputs[0].text) == ("ok", "42", "printed\n", "42")
    assert python.code.run("x + 1").text == "7"
    failed = python.code.run("1 / 0")
    assert not failed.ok and failed.error is not None and failed.error.name == "ZeroDivisionError"
    assert python.code.run("import time; time.sleep(100)", timeout=0.5).status == "timed_out"


def test_a_cell_is_heard_as_it_runs_and_a_context_keeps_to_itself(python: Sandbox) -> None:
    with python.code.create(name="own", env={"KEPT": "kept"}) as context:
        events = list(context.stream("import os; print(os.environ['KEPT']); 'value'"))
        assert events[0].type == "started"
        assert any(event.type == "stdout" and event.text == "kept\n" for event in events)
        assert any(event.type == "value" and event.data and event.data["text/plain"] == "'value'" for event in events)
        assert context.run("os.getpid() > 0").text == "True"
        assert not context.interrupt()
        assert context.complete("import o", cursor=8).items
        assert context.inspect("os").found
        assert "cells" in context.export().notebook
        assert context.restart().execution_count == 0
        assert [item.name for item in python.code.list().items if item.name] == ["own"]


def test_a_language_without_a_kernel_is_refused_with_what_there_is(box: Sandbox) -> None:
    with pytest.raises(Unprocessable) as refused:
        box.code.run("1", language="cobol")
    assert refused.value.reason == "no_kernel"


def test_results_display_themselves_in_notebooks(capsys: pytest.CaptureFixture[str]) -> None:
    result = CodeResult(
        {
            "context": "c",
            "status": "ok",
            "state_kept": True,
            "duration_ms": 1,
            "results": [{"is_value": True, "data": {"text/plain": "plot", "text/html": "<b>", "image/png": "aGk="}}],
            "logs": {"stdout": "", "stderr": ""},
        }
    )
    (output,) = result.outputs
    assert output._repr_mimebundle_() == ({"text/plain": "plot", "text/html": "<b>", "image/png": "aGk="}, {})
    assert (output.text, output.html, output.png, result.ok) == ("plot", "<b>", b"hi", True)
    assert capsys.readouterr().out == ""
