"""Every method has its route and fields in the description; routes and fields without a method or parameter are shown."""

from __future__ import annotations

import inspect
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from cabana import AsyncCabana, Cabana

DESCRIPTION = json.loads((Path(__file__).resolve().parents[3] / "crates/protocol/openapi.json").read_text())
# What has no route here: pages for people, what speaks another protocol, and the socket, by which `terminal` and `ports.connect` go.
LEFT_OUT = {"docs", "openapi", "connect", "notebook", "mcp", "sandbox.mcp", "port.connect"}
# The names of parameters that are not those of the wire.
NAMES = {
    "from": "from_",
    "timeout_ms": "timeout",
    "grace_ms": "grace",
    "expires_in_ms": "expires_in",
    "sleep_after_ms": "sleep_after",
    "max_lifetime_ms": "max_lifetime",
    "snapshot_every_ms": "snapshot_every",
    "setup_timeout_ms": "setup_timeout",
}
# Fields that a method sets by what it is, or takes under another name.
SET = {
    "exec": {"detach", "name", "restart"},
    "sandbox.create": {"from"},
    "process.attach": {"process"},
    "process.end": {"process", "all"},
    "process.get": {"process"},
    "process.input": {"process"},
    "process.logs": {"process"},
    "process.remove": {"process", "ended"},
    "process.resize": {"process"},
    "process.signal": {"process"},
    "process.wait": {"process"},
    "code.interrupt": {"context"},
    "code.restart": {"context"},
    "code.delete": {"context"},
    "code.complete": {"context"},
    "code.inspect": {"context"},
    "code.export": {"context"},
    "session.delete": {"session"},
    "session.get": {"session"},
    "session.update": {"session"},
    "git.branch": {"action"},
    "file.read": {"encoding"},
    "file.write": {"offset", "if_match", "mode", "append"},
}


def calls(cabana: Any) -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    """The method of each operation, and what it is called with."""
    box = cabana.sandbox("sbx-a")
    files, git, ports, snapshots, archives = box.files, box.git, box.ports, box.snapshots, box.archives
    process, processes, session, sessions = box.processes.get("p"), box.processes, box.sessions.get("s"), box.sessions
    return {
        "health": (cabana.health, []),
        "key.list": (cabana.keys.list, []),
        "key.create": (cabana.keys.create, ["n"]),
        "key.get": (cabana.keys.get, ["k"]),
        "key.update": (cabana.keys.rename, ["k", "n"]),
        "key.delete": (cabana.keys.revoke, ["k"]),
        "kind.list": (cabana.kinds, []),
        "project.list": (cabana.projects.list, []),
        "project.create": (cabana.projects.create, ["n", "u"]),
        "project.get": (cabana.projects.get, ["n"]),
        "project.update": (cabana.projects.update, ["n"]),
        "project.delete": (cabana.projects.delete, ["n"]),
        "secret.list": (cabana.secrets.list, []),
        "secret.create": (cabana.secrets.put, ["n", "v"]),
        "secret.get": (cabana.secrets.get, ["n"]),
        "secret.delete": (cabana.secrets.delete, ["n"]),
        "network.get": (box.network, []),
        "sandbox.list": (cabana.list, []),
        "sandbox.create": (cabana.create, []),
        "sandbox.get": (box.info, []),
        "sandbox.update": (box.update, []),
        "sandbox.delete": (box.delete, []),
        "sandbox.env": (box.env, []),
        "sandbox.events": (box.events, []),
        "sandbox.fork": (box.fork, []),
        "sandbox.start": (box.start, []),
        "sandbox.stop": (box.stop, []),
        "sandbox.restart": (box.restart, []),
        "sandbox.upgrade": (box.upgrade, []),
        "archive.list": (archives.list, []),
        "archive.create": (archives.create, []),
        "archive.delete": (archives.delete, ["a"]),
        "archive.get": (archives.get, ["a"]),
        "archive.restore": (archives.restore, ["a"]),
        "archive.download": (files.archive, []),
        "archive.upload": (files.extract, ["p", b"x"]),
        "audit.list": (box.audit, []),
        "audit.verify": (box.verify_audit, []),
        "metrics.get": (box.metrics, []),
        "code.run": (box.code.run, ["1"]),
        "code.create": (box.code.create, []),
        "code.list": (box.code.list, []),
        "code.interrupt": (box.code.get("c").interrupt, []),
        "code.restart": (box.code.get("c").restart, []),
        "code.delete": (box.code.get("c").delete, []),
        "code.complete": (box.code.get("c").complete, ["i"]),
        "code.inspect": (box.code.get("c").inspect, ["i"]),
        "code.export": (box.code.get("c").export, []),
        "exec": (box._exec.stream, ["true"]),
        "file.changes": (files.changes, []),
        "file.chmod": (files.chmod, ["p", "0700"]),
        "file.copy": (files.copy, ["a", "b"]),
        "file.edit": (files.edit, ["p", []]),
        "file.find": (files.find, ["*"]),
        "file.list": (files.list, []),
        "file.mkdir": (files.mkdir, ["p"]),
        "file.move": (files.move, ["a", "b"]),
        "file.patch": (files.patch, ["p"]),
        "file.read": (files.read, ["p"]),
        "file.read_many": (files.read_many, [[]]),
        "file.remove": (files.remove, ["p"]),
        "file.search": (files.search, ["x"]),
        "file.stat": (files.stat, ["p"]),
        "file.stat_many": (files.stat_many, [[]]),
        "file.symlink": (files.symlink, ["p", "t"]),
        "file.watch": (files.watch, []),
        "file.write": (files.append, ["p", "x"]),
        "file.write_many": (files.write_many, [[]]),
        "file.delete": (files.remove, ["p"]),
        "file.download": (files.stream, ["p"]),
        "file.upload": (files.write, ["p", "x"]),
        "token.link": (files.link, ["p"]),
        "git.add": (git.add, []),
        "git.branch": (git.branches, []),
        "git.checkout": (git.checkout, []),
        "git.clone": (git.clone, ["u"]),
        "git.commit": (git.commit, ["m"]),
        "git.diff": (git.diff, []),
        "git.log": (git.log, []),
        "git.pull": (git.pull, []),
        "git.push": (git.push, []),
        "git.status": (git.status, []),
        "port.list": (ports.list, []),
        "port.exposed": (ports.exposed, []),
        "port.expose": (ports.expose, [1]),
        "port.close": (ports.close, [1]),
        "port.get": (ports.get, [1]),
        "port.proxy": (ports.request, [1, "/x"]),
        "process.attach": (process.attach, []),
        "process.end": (process.end, []),
        "process.get": (process.info, []),
        "process.input": (process.input, ["x"]),
        "process.list": (processes.list, []),
        "process.logs": (process.logs, []),
        "process.remove": (process.remove, []),
        "process.resize": (process.resize, [1, 1]),
        "process.signal": (process.signal, ["SIGTERM"]),
        "process.wait": (process.wait, []),
        "session.create": (sessions.create, []),
        "session.delete": (session.delete, []),
        "session.get": (session.info, []),
        "session.list": (sessions.list, []),
        "session.update": (session.update, []),
        "snapshot.list": (snapshots.list, []),
        "snapshot.create": (snapshots.create, []),
        "snapshot.delete": (snapshots.delete, ["s"]),
        "snapshot.get": (snapshots.get, ["s"]),
        "snapshot.restore": (snapshots.restore, ["s"]),
        "system.info": (box.system, []),
        "system.stats": (box.stats, []),
        "token.create": (box.token, []),
    }


# Methods that are called otherwise here, because their plain form is another operation.
OPTIONS: dict[str, dict[str, Any]] = {"file.read": {"lines": (1, None)}, "file.delete": {"if_match": "e"}}


def routes() -> dict[str, tuple[str, re.Pattern[str], dict[str, Any]]]:
    found = {}
    for path, methods in DESCRIPTION["paths"].items():
        for method, operation in methods.items():
            name = operation.get("operationId") if isinstance(operation, dict) else None
            if name and not name.endswith("_by_query") and name not in LEFT_OUT:
                found[name] = (method.upper(), re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path) + "$"), operation)
    return found


def refuse(asked: list[tuple[str, str]]) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path))
        raise httpx.ConnectError("no network")

    return answer


def check(name: str, asked: list[tuple[str, str]]) -> None:
    method, path, _ = routes()[name]
    assert asked, name
    assert asked[0][0] == method and path.match(asked[0][1]), (name, asked)
    asked.clear()


def test_every_method_has_its_route() -> None:
    asked: list[tuple[str, str]] = []
    http = httpx.Client(transport=httpx.MockTransport(refuse(asked)))
    methods = calls(Cabana("https://cabana.test", "k", retries=0, http=http))
    # What the service has gained, and the client has not yet, is shown: a client works without it.
    if gained := set(routes()) - set(methods):
        warnings.warn(f"there is no method for {', '.join(sorted(gained))}", stacklevel=1)
    assert set(methods) <= set(routes())
    for name, (method, arguments) in methods.items():
        with pytest.raises(Exception, match="connection|network"):
            answer = method(*arguments, **OPTIONS.get(name, {}))
            next(iter(answer))
        check(name, asked)


async def test_every_asynchronous_method_has_its_route() -> None:
    asked: list[tuple[str, str]] = []
    http = httpx.AsyncClient(transport=httpx.MockTransport(refuse(asked)))
    for name, (method, arguments) in calls(AsyncCabana("https://cabana.test", "k", retries=0, http=http)).items():
        with pytest.raises(Exception, match="connection|network"):
            answer = method(*arguments, **OPTIONS.get(name, {}))
            await (answer if inspect.isawaitable(answer) else anext(aiter(answer)))
        check(name, asked)


def test_fields_of_requests_without_a_parameter_are_shown() -> None:
    # What the service has gained, and the client has not yet: a client works without it, so it is no failure.
    methods = calls(Cabana("https://cabana.test", "k"))
    for name, (_, _, operation) in routes().items():
        if name not in methods:
            continue
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if "$ref" in schema:
            schema = DESCRIPTION["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        method = methods[name][0]
        # Of a method that takes any field, the documentation names them.
        known = set(inspect.signature(method).parameters) | set(re.findall(r"\w+", inspect.getdoc(method) or ""))
        missing = {field for field in schema.get("properties", {}) if NAMES.get(field, field) not in known} - SET.get(name, set())
        if missing and name != "project.update":
            warnings.warn(f"{name} has no parameter for {', '.join(sorted(missing))}", stacklevel=1)


def test_parameters_are_fields_of_the_wire() -> None:
    bodies: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content or b"{}"))
        raise httpx.ConnectError("no network")

    http = httpx.Client(transport=httpx.MockTransport(answer))
    for name, (method, arguments) in calls(Cabana("https://cabana.test", "k", retries=0, http=http)).items():
        schema = routes()[name][2].get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if "$ref" in schema:
            schema = DESCRIPTION["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        if "properties" not in schema or name == "file.watch":
            continue
        left_out = {"reconnect", "on_progress", "on_setup", "dispose", "options", "changes", "until", "offset", "length", "errors", "part_bytes", "max_output_bytes"}
        optional = {
            parameter.name: 1
            for parameter in inspect.signature(method).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in left_out
        }
        if name in ("file.edit", "file.remove", "file.read", "file.write", "file.delete"):
            optional = {}
        for one in optional:
            value: Any = "text" if one in ("stdin", "format") else ["x"] if one in ("include", "exclude", "paths", "label") else 1
            with pytest.raises(Exception, match="connection|network"):
                next(iter(method(*arguments, **{one: value})))
            unknown = set(bodies[-1]) - set(schema["properties"])
            assert not unknown, (name, one, unknown)
