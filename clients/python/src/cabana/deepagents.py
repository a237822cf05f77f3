"""A sandbox as the backend of LangChain's deepagents: `create_deep_agent(backend=CabanaBackend(box))`. Needs the package `deepagents`."""

from __future__ import annotations

from deepagents.backends.protocol import ExecuteResponse, FileDownloadResponse, FileUploadResponse
from deepagents.backends.sandbox import BaseSandbox

from ._errors import CabanaError
from ._sync.sandbox import Sandbox

# The most that a model is shown of a command's output.
OUTPUT_BYTES = 1 << 20
# Permission bits that let anybody read.
READABLE = 0o444

# The words of deepagents for what an agent may mend.
ERRORS = {
    "no_such_file": "file_not_found",
    "is_directory": "is_directory",
    "not_found": "file_not_found",
    "forbidden": "permission_denied",
    "invalid_request": "invalid_path",
    "conflict": "invalid_path",
}


class CabanaBackend(BaseSandbox):  # type: ignore[misc,unused-ignore]
    """Runs an agent's commands and keeps its files in a sandbox.

    Files are reached in the sandbox's roots: make it with `roots=["/workspace", "/tmp"]` where the agent uses `/tmp`.
    """

    def __init__(self, box: Sandbox, *, timeout: float = 1800) -> None:
        self._box = box
        self._timeout = timeout

    @property
    def id(self) -> str:
        return self._box.id

    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        """Runs a command; stdout and stderr come in the order in which they were printed. A timeout of 0 is the longest, a day."""
        seconds = self._timeout if timeout is None else timeout or 24 * 3600
        result = self._box.exec(command, stderr="stdout", timeout=seconds, max_output_bytes=OUTPUT_BYTES)
        return ExecuteResponse(output=result.stdout, exit_code=result.exit_code, truncated=result.truncated)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        return [FileUploadResponse(path=path, error=self._upload(path, content)) for path, content in files]

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        return [self._download(path) for path in paths]

    def _upload(self, path: str, content: bytes) -> str | None:
        if not path.startswith("/"):
            return "invalid_path"
        try:
            self._box.files.write(path, content)
        except CabanaError as error:
            return word_of(error)
        return None

    def _download(self, path: str) -> FileDownloadResponse:
        if not path.startswith("/"):
            return FileDownloadResponse(path=path, error="invalid_path")
        try:
            # The service reads what its own user may; an agent is told what its commands would be.
            if int(self._box.files.stat(path).mode, 8) & READABLE == 0:
                return FileDownloadResponse(path=path, error="permission_denied")
            return FileDownloadResponse(path=path, content=self._box.files.read_bytes(path))
        except CabanaError as error:
            return FileDownloadResponse(path=path, error=word_of(error))


def word_of(error: CabanaError) -> str:
    return ERRORS.get(error.reason or "", ERRORS.get(error.code, str(error)))
