"""The files of a sandbox."""

from __future__ import annotations

import builtins
import os
import pathlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any, Literal

from .. import _asyncio as io
from .._errors import CabanaError, connection_lost
from .._models import (
    FileChange,
    FileChangesResult,
    FileEditResult,
    Extracted,
    FileLink,
    FileListResult,
    FileFindResult,
    FileSearchResult,
    Metadata,
    FilePatchResult,
    Written,
)
from .._record import Record, parse
from .._wire import NDJSON, Call, Path, backoff, broke_off, failure, given, milliseconds, operation, result_of
from .operations import AsyncOperations, lines
from .transport import AsyncTransport

PIECE_BYTES = 256 << 10
# A part of an upload that is sent in parts, where the caller does not say: below what Cloudflare's plans take in one request.
PART_BYTES = 32 << 20
# How often a download goes on after it broke off without a byte.
RESUMES = 5


class AsyncFiles(AsyncOperations):
    """The files of a sandbox. Relative paths begin at its first root, `/workspace`; those of a session's files in its directory."""

    def __init__(self, transport: AsyncTransport, sandbox: str, session: str | None = None) -> None:
        super().__init__(transport, sandbox)
        self._session = session

    async def _call(self, name: str, request: dict[str, Any]) -> Any:
        return await super()._call(name, {**request, **given(session=self._session)})

    def _place(self, path: Path, **more: Any) -> dict[str, Any]:
        """A path in a query, and where a relative one begins."""
        return given(path=path, session=self._session, **more)

    async def read(self, path: Path, *, lines: tuple[int, int | None] | None = None, offset: int = 0, length: int | None = None, errors: str = "replace") -> str:
        """The text of a file of any size, or of a range of its lines (from 1, the last included) or bytes."""
        if lines is not None:
            request = {"path": path, "lines": given(**{"from": lines[0], "to": lines[1]}), "encoding": "text"}
            content: str = (await self._call("file.read", request))["content"]
            return content
        return (await self.read_bytes(path, offset=offset, length=length)).decode(errors=errors)

    async def read_bytes(self, path: Path, *, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes of a file, or of a range of it."""
        content = bytearray()
        async for piece in self.stream(path, offset=offset, length=length):
            content += piece
        return bytes(content)

    async def stream(self, path: Path, *, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """The content of a file as it comes. A download that breaks off goes on where it was, as long as the file is the same."""
        import httpx

        end = None if length is None else offset + length
        etag: str | None = None
        attempt = 0
        while end is None or offset < end:
            headers = given(**{"range": _range(offset, end), "if-match": etag, "accept-encoding": "identity"})
            try:
                response = await self._transport.open(Call("GET", self._route("/files"), query=self._place(path), headers=headers))
            except CabanaError as error:
                if etag is None or error.code != "connection_lost" or attempt >= RESUMES:
                    raise
                attempt += 1
                await io.sleep(backoff(attempt))
                continue
            etag = response.headers.get("etag")
            try:
                async for piece in response.aiter_raw():
                    offset += len(piece)
                    attempt = 0
                    yield piece
                return
            except httpx.TransportError as cause:
                attempt += 1
                if etag is None or attempt > RESUMES:
                    raise connection_lost(f"the download broke off: {cause}") from cause
            finally:
                await response.aclose()
            await io.sleep(backoff(attempt))

    async def download(self, path: Path, to: str | os.PathLike[str]) -> None:
        """Writes a file of the sandbox to one of this machine."""
        with open(to, "wb") as file:
            async for piece in self.stream(path):
                file.write(piece)

    async def write(
        self,
        path: Path,
        content: Any,
        *,
        mode: str | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
        max_bytes: int | None = None,
        part_bytes: int | None = None,
    ) -> Written:
        """Writes a file of any size, and makes missing directories.

        `content` is text, bytes, a `pathlib.Path` of this machine, a file object, or anything that gives bytes. It appears whole.
        With `part_bytes` it is sent in parts, each of which is repeated where its connection breaks; readers see the parts as they
        arrive.
        """
        if isinstance(content, pathlib.Path):
            with content.open("rb") as file:
                size = content.stat().st_size
                conditional = if_match or if_none_match or max_bytes is not None
                if part_bytes is None and size > PART_BYTES and not conditional:
                    part_bytes = PART_BYTES
                return await self.write(
                    path, file, mode=mode, if_match=if_match, if_none_match=if_none_match, max_bytes=max_bytes, part_bytes=part_bytes
                )
        content = content.encode() if isinstance(content, str) else content
        if part_bytes is not None:
            return await self._write_parts(path, content, mode, part_bytes)
        headers = given(**{"if-match": if_match, "if-none-match": if_none_match})
        # With a condition on what was there before, a repeat after a lost answer would fail on its own success.
        idempotent = not headers and max_bytes is None
        body = content if isinstance(content, bytes) else io.pieces(content, PIECE_BYTES)
        query = self._place(path, mode=mode, max_bytes=max_bytes)
        return await self._transport.record(Written, Call("PUT", self._route("/files"), query=query, content=body, headers=headers, idempotent=idempotent))

    async def _write_parts(self, path: Path, content: Any, mode: str | None, size: int) -> Written:
        offset = 0
        created: bool | None = None
        written: Written | None = None
        async for part, last in _parts(content, size):
            if not part and offset == 0:
                return await self.write(path, b"", mode=mode)
            if not part:
                break
            # A file that was longer ends where the last part says.
            total = offset + len(part) if last else "*"
            headers = {"content-range": f"bytes {offset}-{offset + len(part) - 1}/{total}"}
            call = Call("PUT", self._route("/files"), query=self._place(path, mode=mode), content=part, headers=headers)
            written = await self._transport.record(Written, call)
            created = written.created if created is None else created
            offset += len(part)
        assert written is not None, "a part was sent"
        written.created = bool(created)
        return written

    async def append(self, path: Path, content: str | bytes) -> Written:
        """Appends to a file, which is made where it is missing. At most 8 MiB."""
        return await self._record(Written, "file.write", {"path": path, "content": content, "append": True})

    async def read_many(self, paths: Iterable[Path], *, encoding: Literal["text", "base64"] | None = None) -> builtins.list[Record]:
        """Reads up to 1,000 small files. Each has a `file` or an `error`."""
        return _items(await self._call("file.read_many", given(paths=list(paths), encoding=encoding)))

    async def write_many(self, files: Iterable[dict[str, Any]]) -> builtins.list[Record]:
        """Writes up to 1,000 small files, `{"path", "content", "mode"?}`. Each has a `file` or an `error`."""
        return _items(await self._call("file.write_many", {"files": list(files)}))

    async def stat(self, path: Path) -> Metadata:
        """Describes one path, without following a symlink at its end."""
        return await self._record(Metadata, "file.stat", {"path": path})

    async def stat_many(self, paths: Iterable[Path]) -> builtins.list[Record]:
        """Describes up to 1,000 paths. Each has a `file` or an `error`."""
        return _items(await self._call("file.stat_many", {"paths": list(paths)}))

    async def exists(self, path: Path) -> bool:
        """Whether there is something of this path."""
        item = (await self._call("file.stat_many", {"paths": [path]}))["items"][0]
        if item["type"] == "file":
            return True
        if item["error"]["code"] == "not_found":
            return False
        raise failure(item["error"])

    async def list(
        self,
        path: Path = ".",
        *,
        depth: int | None = None,
        recursive: bool | None = None,
        hidden: bool | None = None,
        glob: str | None = None,
        limit: int | None = None,
        cursor: str | bytes | None = None,
    ) -> FileListResult:
        """One page of a directory, sorted by name; `cursor` begins the next."""
        request = given(path=path, depth=depth, recursive=recursive, hidden=hidden, glob=glob, limit=limit, cursor=cursor)
        return await self._record(FileListResult, "file.list", request)

    async def entries(self, path: Path = ".", **options: Any) -> AsyncIterator[Metadata]:
        """All entries of a directory, page by page. Takes what `list` takes."""
        cursor: str | bytes | None = None
        while True:
            page = await self.list(path, cursor=cursor, **options)
            for item in page.items:
                yield item
            cursor = page.cursor
            if cursor is None:
                return

    async def mkdir(self, path: Path, *, parents: bool | None = None) -> None:
        """Makes a directory."""
        await self._call("file.mkdir", given(path=path, parents=parents))

    async def remove(self, path: Path, *, recursive: bool | None = None, if_match: str | None = None) -> None:
        """Removes a file, a symlink, or a directory; with `if_match` only the file of this ETag."""
        if if_match is None:
            await self._call("file.remove", given(path=path, recursive=recursive))
        else:
            await self._transport.json(Call("DELETE", self._route("/files"), query=self._place(path), headers={"if-match": if_match}))

    async def move(self, from_: Path, to: Path) -> None:
        """Renames a file, symlink or directory."""
        await self._call("file.move", {"from": from_, "to": to})

    async def copy(self, from_: Path, to: Path, *, recursive: bool | None = None) -> None:
        """Copies a file, a symlink, or with `recursive` a directory."""
        await self._call("file.copy", given(to=to, recursive=recursive, **{"from": from_}))

    async def symlink(self, path: Path, target: Path) -> None:
        """Makes a symlink at `path`."""
        await self._call("file.symlink", {"path": path, "target": target})

    async def chmod(self, path: Path, mode: str) -> None:
        """Sets the permission bits, in octal: `"0755"`."""
        await self._call("file.chmod", {"path": path, "mode": mode})

    async def find(
        self,
        pattern: str,
        path: Path = ".",
        *,
        kind: Literal["file", "directory", "symlink", "other"] | None = None,
        exclude: Iterable[str] | None = None,
        hidden: bool | None = None,
        ignored: bool | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> FileFindResult:
        """Finds files by a glob, however deep they are."""
        request = given(
            path=path,
            pattern=pattern,
            kind=kind,
            exclude=exclude and list(exclude),
            hidden=hidden,
            ignored=ignored,
            limit=limit,
            timeout_ms=milliseconds(timeout),
        )
        return await self._record(FileFindResult, "file.find", request)

    async def search(self, pattern: str, path: Path = ".", *, timeout: float | None = None, **options: Any) -> FileSearchResult:
        """Searches files line by line for a regular expression.

        Takes the fields of `file.search`: `include`, `exclude`, `context`, `ignore_case`, `word`, `literal`, `hidden`, `ignored`, `binary`,
        `limit`, `max_per_file`.
        """
        request = given(path=path, pattern=pattern, timeout_ms=milliseconds(timeout), **options)
        return await self._record(FileSearchResult, "file.search", request)

    async def edit(self, path: Path, edits: Iterable[dict[str, Any]], *, if_match: str | None = None) -> FileEditResult:
        """Replaces text in a file, `{"old", "new", "all"?}`: all the edits, or none."""
        return await self._record(FileEditResult, "file.edit", given(path=path, edits=list(edits), if_match=if_match))

    async def patch(self, patch: str | bytes, path: Path = ".", *, dry_run: bool | None = None, strip: int | None = None) -> FilePatchResult:
        """Applies a unified diff below a directory: all of it, or nothing."""
        return await self._record(FilePatchResult, "file.patch", given(path=path, patch=patch, dry_run=dry_run, strip=strip))

    async def changes(
        self,
        path: Path = ".",
        *,
        since: str | None = None,
        recursive: bool | None = None,
        include: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
    ) -> FileChangesResult:
        """What has changed in a directory since the last time it was asked."""
        request = given(path=path, since=since, recursive=recursive, include=include and list(include), exclude=exclude and list(exclude))
        return await self._record(FileChangesResult, "file.changes", request)

    async def watch(
        self,
        path: Path = ".",
        *,
        recursive: bool | None = None,
        include: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[FileChange, None]:
        """Changes in a directory as they happen; the first is `ready`. Leaving the loop ends the watch. A broken connection is an error: what happened meanwhile is not known."""
        request = given(
            path=path,
            recursive=recursive,
            include=include and list(include),
            exclude=exclude and list(exclude),
            limit=limit,
            timeout_ms=milliseconds(timeout),
        )
        stream = lines(await self._transport.open(operation(self._sandbox, "file.watch", {**request, **given(session=self._session)}, headers=NDJSON)))
        try:
            async for line in stream:
                if result_of(line) is not None:
                    return
                yield parse(FileChange, line)
        finally:
            await stream.aclose()
        raise broke_off("the watch")

    async def archive(
        self,
        path: Path = ".",
        *,
        format: Literal["tar", "tar.gz", "tar.zst"] | None = None,
        include: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """A directory, or a file, as a tar archive. A download that breaks off ends in an error."""
        import httpx

        query = self._place(path, format=format, include=include and list(include), exclude=exclude and list(exclude))
        response = await self._transport.open(Call("GET", self._route("/archive"), query=query))
        try:
            async for piece in response.aiter_raw():
                yield piece
        except httpx.TransportError as cause:
            raise connection_lost(f"the archive broke off: {cause}") from cause
        finally:
            await response.aclose()

    async def extract(self, path: Path, archive: Any) -> Extracted:
        """Extracts a tar archive, plain or compressed, into a directory: bytes, a file object, or anything that gives bytes."""
        body = archive if isinstance(archive, bytes) else io.pieces(archive, PIECE_BYTES)
        return await self._transport.record(Extracted, Call("PUT", self._route("/archive"), query=self._place(path), content=body))

    async def link(
        self,
        path: Path,
        action: Literal["download", "upload"] = "download",
        *,
        max_bytes: int | None = None,
        expires_in: float | None = None,
    ) -> FileLink:
        """A URL that downloads or uploads this one file without another credential. `expires_in` is in seconds."""
        body = given(path=path, action=action, max_bytes=max_bytes, expires_in_ms=milliseconds(expires_in))
        return await self._transport.record(FileLink, Call("POST", self._route("/links"), body=body))


def _range(offset: int, end: int | None) -> str | None:
    if end is not None:
        return f"bytes={offset}-{end - 1}"
    return f"bytes={offset}-" if offset else None


def _items(answer: dict[str, Any]) -> builtins.list[Record]:
    return [parse(Item, item) for item in answer["items"]]


class Item(Record):
    """What came of one of many files: a `file`, or an `error`."""

    type: Literal["file", "error"]
    path: str | bytes
    file: Any = None
    error: Any = None
    _nested = {"file": "Fields", "error": "Error"}


async def _parts(content: Any, size: int) -> AsyncIterator[tuple[bytes, bool]]:
    """The content in parts of this size, and whether each is the last: one is held."""
    held = bytearray()
    async for piece in io.pieces([content] if isinstance(content, bytes) else content, PIECE_BYTES):
        held += piece
        # A part is sent once more comes: so the last one is known to be the last.
        while len(held) > size:
            yield bytes(held[:size]), False
            del held[:size]
    yield bytes(held), True

