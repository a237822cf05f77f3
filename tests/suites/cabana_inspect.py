"""Cabana as a sandbox environment of Inspect."""

import httpx
from inspect_ai.util import ExecResult, OutputLimitExceededError, SandboxEnvironment, SandboxEnvironmentLimits as Limits

ERRORS = {"not_found": FileNotFoundError, "forbidden": PermissionError, "conflict": IsADirectoryError}


class CabanaEnvironment(SandboxEnvironment):
    def __init__(self, url, key, sandbox):
        headers = {"Authorization": f"Bearer {key}"}
        self.http = httpx.AsyncClient(base_url=f"{url}/v1/sandboxes/{sandbox}", headers=headers, timeout=None)

    async def exec(self, cmd, input=None, cwd=None, env=None, user=None, timeout=600, timeout_retry=True, concurrency=True):
        request = {"command": cmd, "cwd": cwd, "env": env or {}, "user": user, "timeout_ms": (timeout or 600) * 1000}
        if input is not None:
            await self.write_file("/tmp/.input", input)
            request["stdin"] = {"path": "/tmp/.input"}
        output = (await self.http.post("/exec", json={**request, "max_output_bytes": 16 << 20})).json()
        if error := output.get("error"):
            if error["details"]["reason"] == "not_executable":
                raise PermissionError(error["message"])
            return ExecResult(False, 1, "", error["message"])
        if output["exit"]["type"] == "timed_out":
            raise TimeoutError
        return ExecResult(output["exit"]["code"] == 0, output["exit"]["code"], output["stdout"], output["stderr"])

    async def write_file(self, file, contents, method="PUT"):
        answer = await self.http.request(method, "/files", params={"path": file}, content=contents)
        error = answer.json()["error"] if answer.is_error else {"code": None}
        if error["code"] == "forbidden" and error["details"]["reason"] == "outside_roots":
            said = (await self.exec(["cat", "--", file])).stderr  # Commands reach more.
            raise (IsADirectoryError if "Is a directory" in said else PermissionError)(said)
        if error["code"]:
            raise ERRORS[error["code"]](error["message"])
        return answer.content

    async def read_file(self, file, text=True):
        content = await self.write_file(file, None, "GET")
        if len(content) > Limits.MAX_READ_FILE_SIZE:
            raise OutputLimitExceededError(Limits.MAX_READ_FILE_SIZE_STR, None)
        return content.decode() if text else content

    sample_cleanup = classmethod(lambda *_: None)
