"""A service of Cabana."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .._models import Health, Key, KeyPage, NewKey, Project, Projects as ProjectPage, Sandbox as SandboxRecord, Sandboxes, SandboxKind, Secret, Secrets as SecretPage, SetupEvent
from .._record import parse
from .._wire import NDJSON, Call, Command, Env, given, milliseconds
from .operations import finish, get
from .sandbox import AsyncSandbox, Disposal
from .transport import AsyncTransport

if TYPE_CHECKING:
    import httpx


class AsyncCabana:
    """A service of Cabana. Makes no call by itself.

    `url` and `key` are those of the variables CABANA_URL and CABANA_API_KEY, where they are not given. `tenant` is the tenant that is
    meant, where the key is the operator's. `retries` says how often a request is repeated, where a repeat is safe.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        tenant: str | None = None,
        retries: int = 4,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._transport = AsyncTransport(url, key, tenant, retries, http)
        self.keys = AsyncKeys(self._transport)
        self.projects = AsyncProjects(self._transport)
        self.secrets = AsyncSecrets(self._transport)

    async def __aenter__(self) -> AsyncCabana:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes its connections."""
        await self._transport.aclose()

    async def create(
        self,
        name: str | None = None,
        *,
        kind: str | None = None,
        instance: str | dict[str, Any] | None = None,
        project: str | None = None,
        env: Env | None = None,
        labels: dict[str, str] | None = None,
        sleep_after: float | None = None,
        keep_alive: bool | None = None,
        max_lifetime: float | None = None,
        ephemeral: bool | None = None,
        snapshot_every: float | None = None,
        keep_snapshots: int | None = None,
        keep_snapshots_ms: int | None = None,
        before_sleep: Command | None = None,
        snapshot: str | None = None,
        network: dict[str, Any] | None = None,
        roots: builtins.list[Any] | None = None,
        credentials: dict[str, str] | None = None,
        dispose: Disposal = "delete",
        on_setup: Callable[[SetupEvent], None] | None = None,
    ) -> AsyncSandbox:
        """Makes a sandbox, or finds the one of its name. Its container starts with its first operation.

        `sleep_after`, `max_lifetime` and `snapshot_every` are in seconds. `snapshot` is the one that it begins with. `on_setup` hears how
        its project's setup goes. `dispose` says what becomes of it at the end of a `with` block.
        """
        body = given(
            name=name,
            kind=kind,
            instance=instance,
            project=project,
            env=env,
            labels=labels,
            sleep_after_ms=milliseconds(sleep_after),
            keep_alive=keep_alive,
            max_lifetime_ms=milliseconds(max_lifetime),
            ephemeral=ephemeral,
            snapshot_every_ms=milliseconds(snapshot_every),
            keep_snapshots=keep_snapshots,
            keep_snapshots_ms=keep_snapshots_ms,
            before_sleep=before_sleep,
            network=network,
            roots=roots,
            credentials=credentials,
            **{"from": None if snapshot is None else {"snapshot": snapshot}},
        )
        # Without a name, a repeat would make another one.
        idempotent = name is not None
        if on_setup is None:
            answer = await self._transport.json(Call("POST", "/v1/sandboxes", body=body, idempotent=idempotent))
        else:
            response = await self._transport.open(Call("POST", "/v1/sandboxes", body=body, idempotent=idempotent, headers=NDJSON))
            answer = await finish(response, lambda line: on_setup(parse(SetupEvent, line)))
        return AsyncSandbox(self._transport, answer["id"], dispose)

    def sandbox(self, id: str) -> AsyncSandbox:
        """The sandbox of this id, which exists. Makes no call."""
        return AsyncSandbox(self._transport, id)

    async def list(
        self,
        *,
        label: Iterable[str] | None = None,
        kind: str | None = None,
        project: str | None = None,
        state: str | None = None,
        name: str | None = None,
        tenant: str | None = None,
        sort: str | None = None,
        order: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Sandboxes:
        """A page of the sandboxes that the key may see."""
        query = given(
            label=label and builtins.list(label),
            kind=kind,
            project=project,
            state=state,
            name=name,
            tenant=tenant,
            sort=sort,
            order=order,
            limit=limit,
            cursor=cursor,
        )
        return await self._transport.record(Sandboxes, get("/v1/sandboxes", **query))

    async def sandboxes(self, **options: Any) -> AsyncGenerator[SandboxRecord, None]:
        """All sandboxes that the key may see, page by page. Takes what `list` takes."""
        cursor: str | None = None
        while True:
            page = await self.list(cursor=cursor, **options)
            for item in page.items:
                yield item
            cursor = page.cursor
            if cursor is None:
                return

    async def kinds(self) -> builtins.list[SandboxKind]:
        """The kinds of sandboxes of this deployment."""
        return [parse(SandboxKind, item) for item in (await self._transport.json(get("/v1/kinds")))["items"]]

    async def health(self) -> Health:
        """Whether the gateway is up, and its version."""
        return await self._transport.record(Health, get("/health"))


class AsyncKeys:
    """The API keys of a tenant."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
        self,
        name: str,
        *,
        tenant: str | None = None,
        scopes: dict[str, Any] | None = None,
        expires_at: str | None = None,
        expires_in: float | None = None,
    ) -> NewKey:
        """Makes one. This answer alone contains it."""
        body = given(name=name, tenant=tenant, scopes=scopes, expires_at=expires_at, expires_in_ms=milliseconds(expires_in))
        return await self._transport.record(NewKey, Call("POST", "/v1/keys", body=body))

    async def list(
        self, *, limit: int | None = None, cursor: str | None = None, revoked: bool | None = None, tenant: str | None = None
    ) -> KeyPage:
        """A page of them, the newest first."""
        return await self._transport.record(KeyPage, get("/v1/keys", **given(limit=limit, cursor=cursor, revoked=revoked, tenant=tenant)))

    async def get(self, key: str) -> Key:
        return await self._transport.record(Key, get(f"/v1/keys/{quote(key, safe='')}"))

    async def rename(self, key: str, name: str) -> Key:
        return await self._transport.record(Key, Call("PATCH", f"/v1/keys/{quote(key, safe='')}", body={"name": name}, idempotent=True))

    async def revoke(self, key: str) -> None:
        """Revokes one, and those that it made."""
        await self._transport.json(Call("DELETE", f"/v1/keys/{quote(key, safe='')}"))


class AsyncProjects:
    """The projects of a tenant: what sets sandboxes up from a repository."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
        self,
        name: str,
        url: str,
        *,
        branch: str | None = None,
        depth: int | None = None,
        path: str | None = None,
        setup: Any = None,
        setup_timeout: float | None = None,
        kind: str | None = None,
        instance: str | dict[str, Any] | None = None,
        env: Env | None = None,
        network: dict[str, Any] | None = None,
    ) -> Project:
        body = given(
            name=name,
            url=url,
            branch=branch,
            depth=depth,
            path=path,
            setup=setup,
            setup_timeout_ms=milliseconds(setup_timeout),
            kind=kind,
            instance=instance,
            env=env,
            network=network,
        )
        return await self._transport.record(Project, Call("POST", "/v1/projects", body=body))

    async def list(self, *, limit: int | None = None, cursor: str | None = None) -> ProjectPage:
        return await self._transport.record(ProjectPage, get("/v1/projects", **given(limit=limit, cursor=cursor)))

    async def get(self, name: str) -> Project:
        return await self._transport.record(Project, get(f"/v1/projects/{quote(name, safe='')}"))

    async def update(self, name: str, **changes: Any) -> Project:
        """Changes what is named; None resets a field."""
        return await self._transport.record(
            Project, Call("PATCH", f"/v1/projects/{quote(name, safe='')}", body=changes, idempotent=True)
        )

    async def delete(self, name: str) -> None:
        await self._transport.json(Call("DELETE", f"/v1/projects/{quote(name, safe='')}"))


class AsyncSecrets:
    """The secrets of a tenant: what the service adds to sandboxes' requests, outside the sandbox, by `network.secrets`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def put(self, name: str, value: str, *, hosts: builtins.list[str] | None = None) -> Secret:
        """Stores one, or puts a new value in place of the stored one. `hosts` limits where it may be sent."""
        return await self._transport.record(Secret, Call("POST", "/v1/secrets", body=given(name=name, value=value, hosts=hosts)))

    async def list(self, *, limit: int | None = None, cursor: str | None = None) -> SecretPage:
        return await self._transport.record(SecretPage, get("/v1/secrets", **given(limit=limit, cursor=cursor)))

    async def get(self, name: str) -> Secret:
        """One, without its value."""
        return await self._transport.record(Secret, get(f"/v1/secrets/{quote(name, safe='')}"))

    async def delete(self, name: str) -> None:
        await self._transport.json(Call("DELETE", f"/v1/secrets/{quote(name, safe='')}"))
