"""Answers as objects. A field that an older client does not know is there all the same."""

from __future__ import annotations

import base64
from typing import Any, ClassVar, TypeVar

T = TypeVar("T", bound="Record")


class Record:
    """Fields of an answer. An optional field that is absent is None."""

    _nested: ClassVar[dict[str, str]] = {}

    def __init__(self, fields: dict[str, Any]) -> None:
        for name, value in fields.items():
            nested = self._nested.get(name)
            self.__dict__[name] = _value(value, _class(nested) if nested else None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    __hash__ = None  # type: ignore[assignment]


def _class(name: str) -> type[Record]:
    from . import _models

    found: type[Record] = getattr(_models, name)
    return found


def _value(value: Any, cls: type[Record] | None) -> Any:
    if isinstance(value, list):
        return [_value(item, cls) for item in value]
    if not isinstance(value, dict):
        return value
    # Bytes that are not UTF-8.
    if len(value) == 1 and isinstance(value.get("base64"), str):
        return base64.b64decode(value["base64"])
    return cls(value) if cls else value


def parse(cls: type[T], fields: Any) -> T:
    """An answer as an object of this class."""
    return cls(fields)
