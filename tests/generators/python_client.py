"""The client of openapi-python-client: a module for each operation. Makes the calls of calls.json, in their order."""

import enum
import importlib
import inspect
import io
import json
import os
import re
import typing

from generated import AuthenticatedClient
from generated.types import UNSET, File, Unset

CLIENT = AuthenticatedClient(
    base_url=os.environ["CABANA_URL"], token=os.environ["CABANA_API_KEY"], timeout=60, raise_on_unexpected_status=True
)
with open(os.environ["OPENAPI"]) as file:
    DESCRIPTION = json.load(file)
OPERATIONS = {
    operation["operationId"]: operation for methods in DESCRIPTION["paths"].values() for operation in methods.values()
}


def module(name):
    tag = OPERATIONS[name]["tags"][0]
    snake = name.replace(".", "_")
    keyword = lambda word: word + "_" if word == "exec" else word
    return importlib.import_module(f"generated.api.{keyword(tag)}.{keyword(snake)}")


def typed(value, annotation):
    """The value as the parameter of this type takes it."""
    for choice in typing.get_args(annotation) or (annotation,):
        if inspect.isclass(choice) and issubclass(choice, enum.Enum):
            return choice(value)
        if inspect.isclass(choice) and hasattr(choice, "from_dict") and isinstance(value, dict):
            return choice.from_dict(value)
        if choice is File:
            return File(payload=io.BytesIO(value))
    return value


def call(name, path, query, body):
    function = module(name).sync_detailed
    annotations = inspect.get_annotations(function, eval_str=True)
    # What is saved for later paths may have the name of a parameter of the query.
    places = {parameter["name"] for parameter in OPERATIONS[name].get("parameters", []) if parameter["in"] == "path"}
    given = {**{key: value for key, value in path.items() if key in places}, **{("from_" if key == "from" else key): value for key, value in (query or {}).items()}}
    if body is not None:
        given["body"] = body
    taken = {name: typed(value, annotations[name]) for name, value in given.items() if name in annotations}
    unknown = [name for name in (query or {}) if name not in annotations and f"{name}_" not in annotations]
    assert not unknown, f"{name}: no parameter {unknown}"
    return function(client=CLIENT, **taken)


def at(value, pointer):
    for name in pointer.split("/")[1:]:
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


def main():
    saved, archive = {"name": os.environ["NAME"]}, None
    fill = lambda value: json.loads(re.sub(r"\$\{(\w+)\}", lambda found: saved[found[1]], json.dumps(value)))
    with open(os.environ["CALLS"]) as file:
        steps = json.load(file)
    for step in steps:
        name = step["call"]
        body = archive if step.get("archived") else step["bytes"].encode() if "bytes" in step else fill(step.get("body"))
        path = {**saved, **fill(step.get("path", {}))}
        query = fill(step.get("query"))
        answer = call(name, path, query, body)
        # Beside other work a start may take longer than one request waits for it.
        while answer.status_code == 503:
            answer = call(name, path, query, body)
        assert answer.status_code == step["status"], f"{name}: {answer.status_code}: {answer.content[:500]}"
        made = answer.parsed
        if answer.status_code < 300 and answer.status_code != 204:
            assert made is not None and not isinstance(made, Unset), f"{name}: nothing came of the answer: {answer.content[:500]}"
        if isinstance(made, File):
            content = made.payload.read()
            assert step.get("gives") in (None, content.decode(errors="replace")), f"{name}: {content[:500]}"
            archive = content if step.get("archive") else archive
        elif hasattr(made, "to_dict"):
            said = made.to_dict()
            for pointer, expected in step.get("says", {}).items():
                assert at(said, pointer) == expected, f"{name}: {pointer}: {said}"
            saved |= {key: str(at(said, pointer)) for key, pointer in step.get("save", {}).items()}
        else:
            assert not step.get("says"), f"{name}: {made!r} has no fields"
        print(f"{name}: {int(answer.status_code)}")


main()
