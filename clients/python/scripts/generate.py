"""Writes what is not written by hand: `_models.py` from the service's OpenAPI document, and `_sync/` from `_async/`.

Nothing of it is committed: it is made anew before every test and build, so that it cannot be older than the wire.
"""

from __future__ import annotations

import json
import keyword
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
DESCRIPTION = HERE.parent.parent / "crates/protocol/openapi.json"
PACKAGE = HERE / "src/cabana"

# Types whose names in the document have numbers, which change with other types: where they are found.
ALIASES = {
    "CommandUsage": ("exec", "usage"),
    "FileChange": ("file.changes", "changes"),
    "SystemUsage": ("system.stats", None),
}

HEAD = '''"""What the service answers with. Made by scripts/generate.py."""

from __future__ import annotations

from typing import Any, Literal

from ._record import Record

SERVICE_VERSION = {version!r}

# Operations of which a repeat after a lost answer does no harm.
IDEMPOTENT = frozenset({idempotent!r})
'''


class Models:
    """The classes of the document's schemas."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.schemas: dict[str, Any] = document["components"]["schemas"]
        self.made: dict[str, str] = {}

    def resolve(self, schema: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            return name, self.schemas[name]
        return None, schema

    def field(self, operations: list[dict[str, Any]], operation: str, field: str | None) -> str:
        """The class of an operation's answer, or of a field of it."""
        found = next(one for one in operations if one.get("operationId") == operation)
        schema = found["responses"]["200"]["content"]["application/json"]["schema"]
        part = schema if field is None else self.resolve(schema)[1]["properties"][field]
        record = self.annotate(part, camel(operation.replace(".", "_")))[1]
        assert record is not None, f"{operation} {field} is an object"
        return record

    def annotate(self, schema: dict[str, Any], name: str) -> tuple[str, str | None]:
        """The annotation of a schema, and the class of its objects where it has one."""
        own, schema = self.resolve(schema)
        name = own or name
        if name in ("Data", "FilePath", "Encoded"):
            return "str | bytes", None
        variants = [part for part in schema.get("oneOf", schema.get("anyOf", [])) if part.get("type") != "null"]
        if len(variants) == 1 and "const" not in variants[0]:
            return self.annotate(variants[0], name)
        if variants:
            return self.union(variants, name, schema)
        if "enum" in schema:
            return f"Literal[{', '.join(map(repr, schema['enum']))}]", None
        if "const" in schema:
            return f"Literal[{schema['const']!r}]", None
        kinds = schema.get("type")
        kind = next((kind for kind in kinds if kind != "null"), None) if isinstance(kinds, list) else kinds
        if kind == "array":
            inner, record = self.annotate(schema["items"], name + "Item")
            return f"list[{inner}]", record
        if kind == "object" and "properties" in schema:
            return self.record(name, schema), name
        plain = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "object": "dict[str, Any]"}
        return plain.get(kind or "", "Any"), None

    def union(self, variants: list[dict[str, Any]], name: str, schema: dict[str, Any]) -> tuple[str, str | None]:
        resolved = [self.resolve(variant)[1] for variant in variants]
        if all("const" in variant or "enum" in variant for variant in resolved):
            words = [word for variant in resolved for word in variant.get("enum", [variant.get("const")])]
            return f"Literal[{', '.join(map(repr, words))}]", None
        if all("properties" in variant for variant in resolved):
            return self.record(name, merge(resolved, schema)), name
        kinds = sorted({self.annotate(variant, name)[0] for variant in variants})
        return " | ".join(kinds), None

    def record(self, name: str, schema: dict[str, Any]) -> str:
        """Makes the class of an object."""
        if name in self.made:
            return name
        self.made[name] = ""
        required = set(schema.get("required", ()))
        lines = [f"class {name}(Record):", *docstring(schema.get("description", ""))]
        nested = {}
        for field, part in sorted(schema["properties"].items(), key=lambda item: item[0] not in required):
            annotation, record = self.annotate(part, name + camel(field))
            if record:
                nested[field] = record
            if keyword.iskeyword(field):
                continue
            description = one_line(part.get("description", ""))
            optional = field not in required
            lines.append(f"    {field}: {annotation}{' | None = None' if optional else ''}")
            if description:
                lines.append(f"    {json.dumps(description, ensure_ascii=False)}" if '"' in description else f'    """{description}"""')
        if len(lines) == 1:
            lines.append("    pass")
        table = ", ".join(f"{field!r}: {record!r}" for field, record in nested.items())
        lines.append(f"    _nested = {{{table}}}")
        self.made[name] = "\n".join(lines)
        return name


def merge(variants: list[dict[str, Any]], schema: dict[str, Any]) -> dict[str, Any]:
    """One object for variants that their `type` tells apart: a field that not all have is optional."""
    properties: dict[str, Any] = {}
    for variant in variants:
        for field, part in variant["properties"].items():
            if field == "type" and "const" in part:
                known = properties.setdefault("type", {"oneOf": []})
                known["oneOf"].append(part)
            else:
                properties.setdefault(field, part)
    required = set.intersection(*(set(variant.get("required", ())) for variant in variants))
    # A base schema may have fields of its own, beside its variants.
    properties = {**schema.get("properties", {}), **properties}
    return {"properties": properties, "required": sorted(required | set(schema.get("required", ()))), "description": schema.get("description", "")}


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def one_line(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\")


def docstring(text: str) -> list[str]:
    text = one_line(text)
    if not text:
        return []
    wrapped = textwrap.wrap(text.replace('"""', "'''"), 110, break_long_words=False)
    if len(wrapped) == 1 and not wrapped[0].endswith('"'):
        return [f'    """{wrapped[0]}"""', ""]
    return [f'    """{wrapped[0]}', *(f"    {line}" for line in wrapped[1:]), '    """', ""]


def models() -> str:
    document = json.loads(DESCRIPTION.read_text())
    made = Models(document)
    operations = [operation for path in document["paths"].values() for operation in path.values() if isinstance(operation, dict)]
    for name in sorted(document["components"]["schemas"]):
        made.annotate({"$ref": f"#/components/schemas/{name}"}, name)
    for operation in operations:
        schema = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
        name = operation.get("operationId", "")
        event = operation["responses"].get("200", {}).get("content", {}).get("application/x-ndjson", {}).get("x-event", {})
        if event and "$ref" not in event and not name.endswith("_by_query"):
            made.annotate(event, camel(name.replace(".", "_")) + "Event")
        # Most answers of operations have no name in the document: they are named after these.
        if "$ref" not in schema and not name.endswith("_by_query"):
            made.annotate(schema, camel(name.replace(".", "_")) + "Result")
    aliases = [f"{alias} = {made.field(operations, *place)}" for alias, place in ALIASES.items()]
    idempotent = sorted({operation["x-operation"] for operation in operations if operation.get("x-idempotent")})
    head = HEAD.format(version=document["info"]["version"], idempotent=idempotent)
    made.made["Fields"] = 'class Fields(Record):\n    """Fields of an answer that has several forms."""\n\n    def __getattr__(self, name: str) -> Any:\n        raise AttributeError(name)'
    classes = "\n\n\n".join(made.made[name] for name in sorted(made.made))
    return f"{head}\n\n{classes}\n\n\n{chr(10).join(aliases)}\n"


# What differs between the two halves, as words.
WORDS = {
    "async def": "def",
    "async with": "with",
    "async for": "for",
    "await ": "",
    "_async": "_sync",
    "_asyncio": "_syncio",
    "AsyncIterator": "Iterator",
    "AsyncIterable": "Iterable",
    "AsyncGenerator": "Generator",
    "AsyncCabana": "Cabana",
    "AsyncSandbox": "Sandbox",
    "AsyncExecution": "Execution",
    "AsyncProcess": "Process",
    "AsyncProcesses": "Processes",
    "AsyncSession": "Session",
    "AsyncSessions": "Sessions",
    "AsyncFiles": "Files",
    "AsyncGit": "Git",
    "AsyncCode": "Code",
    "AsyncContext": "Context",
    "AsyncPorts": "Ports",
    "AsyncArchives": "Archives",
    "AsyncSnapshots": "Snapshots",
    "AsyncTerminal": "Terminal",
    "AsyncTransport": "Transport",
    "AsyncTunnel": "Tunnel",
    "AsyncOperations": "Operations",
    "AsyncKeys": "Keys",
    "AsyncProjects": "Projects",
    "AsyncSecrets": "Secrets",
    "AsyncClient": "Client",
    "StopAsyncIteration": "StopIteration",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
    "aread": "read",
    "aiter_raw": "iter_raw",
}
PATTERN = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" if word[-1] != " " else rf"(?<!\w){re.escape(word)}" for word in sorted(WORDS, key=len, reverse=True)))


def synchronous(text: str) -> str:
    """The same code without a loop of events."""
    text = PATTERN.sub(lambda match: WORDS[match[0]], text)
    # A generator of one type argument less.
    return re.sub(r"\bGenerator\[(.+), None\]", r"Generator[\1, None, None]", text)


def main() -> None:
    (PACKAGE / "_models.py").write_text(models())
    target = PACKAGE / "_sync"
    # What was made of a file that is gone must go, too.
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for path in sorted((PACKAGE / "_async").glob("*.py")):
        (target / path.name).write_text(f"# Made by scripts/generate.py from _async/{path.name}.\n{synchronous(path.read_text())}")


if __name__ == "__main__":
    main()
