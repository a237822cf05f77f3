"""Cabana as a sandbox of LangChain's Deep Agents."""

import httpx
from deepagents.backends.protocol import ExecuteResponse, FileDownloadResponse, FileUploadResponse
from deepagents.backends.sandbox import BaseSandbox

ERRORS = {"not_found": "file_not_found", "forbidden": "permission_denied", "conflict": "is_directory"}


class CabanaSandbox(BaseSandbox):
    def __init__(self, url, key, **settings):
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=None)
        settings = {"roots": ["/workspace", "/tmp"], **settings}
        self._id = self.http.post("/v1/sandboxes", json=settings).raise_for_status().json()["id"]

    @property
    def id(self):
        return self._id

    def _ask(self, method, route, **request):
        return self.http.request(method, f"/v1/sandboxes/{self._id}/{route}", **request)

    def execute(self, command, *, timeout=None):
        request = {"command": command, "stderr": "stdout", "timeout_ms": (timeout or 600) * 1000, "max_output_bytes": 4 << 20}
        output = self._ask("POST", "exec", json=request).raise_for_status().json()
        return ExecuteResponse(output["stdout"], output["exit"]["code"], output["truncated"])

    def _file(self, method, path, **request):
        if not path.startswith("/"):
            return None, "invalid_path"
        answer = self._ask(method, "files", params={"path": path}, **request)
        error = None if answer.is_success else answer.json()["error"]["code"]
        return answer.content, error and ERRORS.get(error, error)

    def upload_files(self, files):
        return [FileUploadResponse(path, self._file("PUT", path, content=content)[1]) for path, content in files]

    def download_files(self, paths):
        found = [(path, *self._file("GET", path)) for path in paths]
        return [FileDownloadResponse(path, None if error else content, error) for path, content, error in found]
