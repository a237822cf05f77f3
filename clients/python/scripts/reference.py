"""Writes REFERENCE.md from the sources of the blocking half: what the package has, with its documentation. With --check it only compares."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
PACKAGE = HERE / "src/cabana"
PAGE = HERE / "REFERENCE.md"

# The modules in the order in which their classes are listed.
MODULES = (
    "_sync/client.py",
    "_sync/sandbox.py",
    "_wire.py",
    "_sync/execution.py",
    "_output.py",
    "_sync/process.py",
    "_sync/session.py",
    "_sync/files.py",
    "_sync/code.py",
    "_code.py",
    "_sync/git.py",
    "_sync/ports.py",
    "_sync/tunnel.py",
    "_frames.py",
    "_sync/terminal.py",
    "_errors.py",
    "deepagents.py",
    "inspect.py",
)
# Parts that only the client itself has to do with.
INTERNAL = {"Call", "LineSplitter", "Kept", "EventReader", "Fold", "Flow", "Operations"}

HEAD = """# Reference of the client for Python

Made from the sources by `scripts/reference.py`. `AsyncSandbox`, `AsyncCabana` and so on are the same with `await`. The classes of answers, such as
`Metadata`, have the fields of the [API](../../docs/api.md).
"""


def signature(function: ast.FunctionDef) -> str:
    """A method as it is called, without `self`."""
    arguments = function.args
    if arguments.args and arguments.args[0].arg in ("self", "cls"):
        # The defaults belong to the last ones.
        arguments.args = arguments.args[1:]
    returned = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"{function.name}({ast.unparse(arguments)}){returned}"


def decorators(node: ast.FunctionDef) -> set[str]:
    return {ast.unparse(decorator) for decorator in node.decorator_list}


def takes_transport(node: ast.FunctionDef) -> bool:
    """Whether only the client itself can call it."""
    return any(argument.arg == "transport" for argument in node.args.args)


def entry(text: str, said: str | None) -> str:
    if not said:
        return f"- `{text}`\n"
    lines = [f"  {line}".rstrip() for line in inspect.cleandoc(said).splitlines()]
    return "\n".join([f"- `{text}`", "", *lines, "", ""])


def members(cls: ast.ClassDef) -> Iterator[str]:
    """The fields and methods of a class. A text behind a field is what is said of it."""
    body = list(cls.body)
    for node, behind in zip(body, [*body[1:], None]):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            for line, next_line in zip(node.body, [*node.body[1:], None]):
                if isinstance(line, ast.AnnAssign) and ast.unparse(line.target).startswith("self.") and "._" not in ast.unparse(line.target):
                    yield entry(f"{ast.unparse(line.target)[5:]}: {ast.unparse(line.annotation)}", text_of(next_line))
                elif isinstance(line, ast.Assign) and isinstance(line.value, ast.Call) and (name := ast.unparse(line.targets[0])).startswith("self.") and "._" not in name:
                    yield entry(f"{name[5:]}: {ast.unparse(line.value.func)}", text_of(next_line))
        elif isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
            yield entry(f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}", text_of(behind))
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not takes_transport(node):
            said = ast.get_docstring(node)
            if "property" in decorators(node):
                yield entry(f"{node.name}: {ast.unparse(node.returns) if node.returns else 'Any'}", said)
            else:
                yield entry(f"{cls.name}.{signature(node)}" if "classmethod" in decorators(node) else signature(node), said)


def text_of(node: ast.stmt | None) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None


def sections() -> Iterator[str]:
    for module in MODULES:
        for node in ast.parse((PACKAGE / module).read_text()).body:
            if not isinstance(node, ast.ClassDef) or node.name.startswith("_") or node.name in INTERNAL:
                continue
            bases = [base for base in map(ast.unparse, node.bases) if base not in ("Operations", "Record", "TypedDict")]
            head = f"## {node.name}\n" + (f"\n`{', '.join(bases)}`\n" if bases else "")
            said = ast.get_docstring(node)
            yield "\n".join(filter(None, [head, f"{said}\n" if said else None, "".join(members(node)).rstrip() + "\n"]))


def main() -> None:
    text = "\n".join(section.rstrip() + "\n" for section in [HEAD, *sections()])
    if "--check" in sys.argv:
        if PAGE.read_text() != text:
            sys.exit("REFERENCE.md is not that of the sources: run scripts/reference.py")
    else:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
