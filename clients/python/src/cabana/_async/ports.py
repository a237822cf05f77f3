"""Ports, snapshots and archives of a sandbox."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, Literal

from .._models import Archive, ExposedPort, Extracted, Port, Sandbox as SandboxRecord, Snapshot
from .._record import parse
from .._wire import Call, given, milliseconds
from .operations import AsyncOperations, get
from .tunnel import AsyncTunnel

if TYPE_CHECKING:
    import httpx


class AsyncPorts(AsyncOperations):
    """The ports of a sandbox."""

    async def expose(
        self,
        port: int,
        *,
        name: str | None = None,
        access: Literal["token", "public", "private"] | None = None,
        token: str | None = None,
        expires_in: float | None = None,
        wakes: bool | None = None,
    ) -> ExposedPort:
        """Gives a port a URL, or finds the one that it has. `expires_in` is in seconds."""
        body = given(port=port, name=name, access=access, token=token, expires_in_ms=milliseconds(expires_in), wakes=wakes)
        return await self._transport.record(ExposedPort, Call("POST", self._route("/ports"), body=body, idempotent=True))

    async def exposed(self) -> builtins.list[ExposedPort]:
        """The ports that have a URL. Wakes nothing."""
        return [parse(ExposedPort, item) for item in (await self._transport.json(get(self._route("/ports"))))["items"]]

    async def get(self, port: int) -> ExposedPort:
        """The URL of one port."""
        return await self._transport.record(ExposedPort, get(self._route(f"/ports/{port}")))

    async def close(self, port: int) -> None:
        """Takes the URL of a port away."""
        await self._transport.json(Call("DELETE", self._route(f"/ports/{port}")))

    async def list(self) -> builtins.list[Port]:
        """What listens in the sandbox. Wakes nothing."""
        return [parse(Port, item) for item in (await self._call("port.list", {}))["items"]]

    async def connect(self, target: int | str, *, host: str | None = None) -> AsyncTunnel:
        """Connects to a TCP port, of the sandbox itself or of a `host` as it sees it, or to the Unix socket of an absolute path."""
        request = given(port=target, host=host) if isinstance(target, int) else given(path=target, host=host)
        return await AsyncTunnel.open(self._transport, self._sandbox, request)

    async def request(self, port: int, path: str = "/", method: str = "GET", **options: Any) -> httpx.Response:
        """Sends a request to the program on a port, by the API's own path: no domain is needed. The answer is the program's, whatever its status."""
        return await self._transport.forward(method, self._route(f"/ports/{port}/proxy/{path.removeprefix('/')}"), **options)


class AsyncSnapshots(AsyncOperations):
    """The snapshots of a sandbox's files."""

    async def create(self, name: str | None = None) -> Snapshot:
        """Saves the files as they are now."""
        return await self._transport.record(Snapshot, Call("POST", self._route("/snapshots"), body=given(name=name)))

    async def list(self) -> builtins.list[Snapshot]:
        """Those that there are, the newest first."""
        return [parse(Snapshot, item) for item in (await self._transport.json(get(self._route("/snapshots"))))["items"]]

    async def get(self, snapshot: str) -> Snapshot:
        """Describes one."""
        return await self._transport.record(Snapshot, get(self._route(f"/snapshots/{snapshot}")))

    async def restore(self, snapshot: str) -> SandboxRecord:
        """Brings its files back. The present files are kept as one more snapshot first, and the sandbox is stopped."""
        return await self._transport.record(SandboxRecord, Call("POST", self._route(f"/snapshots/{snapshot}/restore")))

    async def delete(self, snapshot: str) -> None:
        """Forgets one."""
        await self._transport.json(Call("DELETE", self._route(f"/snapshots/{snapshot}")))


class AsyncArchives(AsyncOperations):
    """Archives of a tenant's sandboxes, in the deployment's bucket."""

    async def create(
        self,
        path: str | None = None,
        *,
        name: str | None = None,
        exclude: builtins.list[str] | None = None,
        ignore_files: bool | None = None,
    ) -> Archive:
        """Makes one of a directory of this sandbox."""
        body = given(path=path, name=name, exclude=exclude, ignore_files=ignore_files)
        return await self._transport.record(Archive, Call("POST", self._route("/archives"), body=body))

    async def list(self) -> builtins.list[Archive]:
        """Those of the tenant, the newest first."""
        return [parse(Archive, item) for item in (await self._transport.json(get(self._route("/archives"))))["items"]]

    async def get(self, archive: str) -> Archive:
        """Describes one."""
        return await self._transport.record(Archive, get(self._route(f"/archives/{archive}")))

    async def restore(self, archive: str, path: str | None = None) -> Extracted:
        """Has a directory of this sandbox hold what the archive holds, and nothing else."""
        return await self._transport.record(Extracted, Call("POST", self._route(f"/archives/{archive}/restore"), body=given(path=path)))

    async def delete(self, archive: str) -> None:
        """Forgets one."""
        await self._transport.json(Call("DELETE", self._route(f"/archives/{archive}")))
