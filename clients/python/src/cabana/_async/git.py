"""Git in a sandbox."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from typing import Any, Literal

from .._models import BranchInfo, GitCheckoutResult, GitCloneResult, GitCommitResult, GitDiffResult, GitLogResult, GitStatusResult, GitPullResult, GitPushResult, TransferEvent
from .._record import parse
from .._wire import Path, given, milliseconds
from .operations import AsyncOperations

Progress = Callable[[TransferEvent], None]


class AsyncGit(AsyncOperations):
    """Git in a sandbox. `path` is the repository; default: the first root."""

    async def clone(
        self,
        url: str,
        path: Path | None = None,
        *,
        branch: str | None = None,
        depth: int | None = None,
        filter: str | None = None,
        credentials: dict[str, str] | None = None,
        timeout: float | None = None,
        on_progress: Progress | None = None,
    ) -> GitCloneResult:
        """Clones a repository over HTTP or HTTPS."""
        request = given(
            url=url, path=path, branch=branch, depth=depth, filter=filter, credentials=credentials, timeout_ms=milliseconds(timeout)
        )
        return await self._transfer(GitCloneResult, "git.clone", request, on_progress, TransferEvent)

    async def pull(
        self,
        path: Path | None = None,
        *,
        remote: str | None = None,
        branch: str | None = None,
        strategy: str | None = None,
        author: dict[str, str] | None = None,
        credentials: dict[str, str] | None = None,
        timeout: float | None = None,
        on_progress: Progress | None = None,
    ) -> GitPullResult:
        """Fetches a branch and brings the one that is checked out up to it."""
        request = given(
            path=path,
            remote=remote,
            branch=branch,
            strategy=strategy,
            author=author,
            credentials=credentials,
            timeout_ms=milliseconds(timeout),
        )
        return await self._transfer(GitPullResult, "git.pull", request, on_progress, TransferEvent)

    async def push(
        self,
        path: Path | None = None,
        *,
        remote: str | None = None,
        branch: str | None = None,
        force: bool | None = None,
        set_upstream: bool | None = None,
        credentials: dict[str, str] | None = None,
        timeout: float | None = None,
        on_progress: Progress | None = None,
    ) -> GitPushResult:
        """Pushes a branch to the branch of the same name."""
        request = given(
            path=path,
            remote=remote,
            branch=branch,
            force=force,
            set_upstream=set_upstream,
            credentials=credentials,
            timeout_ms=milliseconds(timeout),
        )
        return await self._transfer(GitPushResult, "git.push", request, on_progress, TransferEvent)

    async def status(self, path: Path | None = None, *, untracked: bool | None = None) -> GitStatusResult:
        """Which branch is checked out, and what has changed."""
        return await self._record(GitStatusResult, "git.status", given(path=path, untracked=untracked))

    async def diff(
        self,
        path: Path | None = None,
        *,
        from_: str | None = None,
        to: str | None = None,
        staged: bool | None = None,
        paths: Iterable[Path] | None = None,
    ) -> GitDiffResult:
        """What differs, as a unified diff and as counts."""
        request = given(path=path, to=to, staged=staged, paths=paths and list(paths), **{"from": from_})
        return await self._record(GitDiffResult, "git.diff", request)

    async def log(
        self,
        path: Path | None = None,
        *,
        revision: str | None = None,
        limit: int | None = None,
        skip: int | None = None,
        paths: Iterable[Path] | None = None,
    ) -> GitLogResult:
        """Commits, the newest first."""
        request = given(path=path, revision=revision, limit=limit, skip=skip, paths=paths and list(paths))
        return await self._record(GitLogResult, "git.log", request)

    async def branches(self, path: Path | None = None, *, remotes: bool | None = None) -> builtins.list[BranchInfo]:
        """The branches."""
        return await self._branch(path, remotes=remotes)

    async def create_branch(self, name: str, path: Path | None = None, *, start: str | None = None) -> builtins.list[BranchInfo]:
        """Makes a branch, without checking it out."""
        return await self._branch(path, action=given(type="create", name=name, start=start))

    async def delete_branch(self, name: str, path: Path | None = None, *, force: bool | None = None) -> builtins.list[BranchInfo]:
        """Deletes a branch; with `force` even if its commits are nowhere else."""
        return await self._branch(path, action=given(type="delete", name=name, force=force))

    async def _branch(self, path: Path | None, **fields: Any) -> builtins.list[BranchInfo]:
        answer = await self._call("git.branch", given(path=path, **fields))
        return [parse(BranchInfo, item) for item in answer["items"]]

    async def checkout(
        self, path: Path | None = None, *, branch: str | None = None, commit: str | None = None, create: bool | None = None
    ) -> GitCheckoutResult:
        """Checks out a branch, a new branch, or a commit."""
        return await self._record(GitCheckoutResult, "git.checkout", given(path=path, branch=branch, commit=commit, create=create))

    async def add(self, path: Path | None = None, *, all: Literal[True] | None = None, paths: Iterable[Path] | None = None) -> None:
        """Stages files as they are now."""
        await self._call("git.add", given(path=path, all=all, paths=paths and list(paths)))

    async def commit(
        self,
        message: str,
        path: Path | None = None,
        *,
        all: bool | None = None,
        allow_empty: bool | None = None,
        author: dict[str, str] | None = None,
    ) -> GitCommitResult:
        """Commits what is staged."""
        request = given(message=message, path=path, all=all, allow_empty=allow_empty, author=author)
        return await self._record(GitCommitResult, "git.commit", request)
