"""Jupyter's own checks of kernels, as jupyter_kernel_test ships them, of the kernels behind `code.run`."""

import os

import jupyter_kernel_test
from cabana_jupyter import CabanaKernelClient

# Left out: whether code is complete, for which Cabana has no operation, and pages beside the output, which Cabana shows in it.


class Checks(jupyter_kernel_test.KernelTests):
    language = ""
    supported_history_operations = ("tail",)

    @classmethod
    def setUpClass(cls):
        cls.kc = CabanaKernelClient(os.environ["CABANA_URL"], os.environ["CABANA_API_KEY"], cls.language)

    @classmethod
    def tearDownClass(cls):
        cls.kc.stop_channels()


class TestPython(Checks):
    language = language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples = [{"text": "zi", "matches": {"zip"}}]
    code_generate_error = "raise"
    code_execute_result = [{"code": "1+2+3", "result": "6"}, {"code": "[n*n for n in range(1, 4)]", "result": "[1, 4, 9]"}]
    code_display_data = [
        {"code": "from IPython.display import HTML, display; display(HTML('<b>test</b>'))", "mime": "text/html"},
        {"code": "from IPython.display import Math, display; display(Math('\\\\frac{1}{2}'))", "mime": "text/latex"},
    ]
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"


class TestTypeScript(Checks):
    language = language_name = "typescript"
    file_extension = ".ts"
    code_hello_world = "console.log('hello, world')"
    code_stderr = "console.error('test')"
    completion_samples = [{"text": "JSON.par", "matches": {"parse"}}]
    code_generate_error = "throw new Error('test')"
    code_clear_output = "await Deno.jupyter.broadcast('clear_output', { wait: false })"
    code_execute_result = [{"code": "1 + 2 + 3", "result": "6"}, {"code": "[1, 2].map((n: number) => n * n)", "result": "[ 1, 4 ]"}]
    code_display_data = [
        {"code": "await Deno.jupyter.display({ 'text/html': '<b>test</b>' }, { raw: true })", "mime": "text/html"},
        {"code": "await Deno.jupyter.display(Deno.jupyter.md`*test*`)", "mime": "text/markdown"},
    ]


class TestJavaScript(TestTypeScript):
    language = "javascript"
    code_execute_result = [{"code": "1 + 2 + 3", "result": "6"}, {"code": "[1, 2].map((n) => n * n)", "result": "[ 1, 4 ]"}]


class TestBash(Checks):
    language = language_name = "bash"
    file_extension = ".sh"
    code_hello_world = "echo 'hello, world'"
    completion_samples = [{"text": "unali", "matches": {"unalias"}}]
    code_generate_error = "false"


del Checks
