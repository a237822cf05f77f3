"""Frames of the WebSocket, of which each has one operation here, and what they say of a connection: without input or output."""

from __future__ import annotations

import json
import struct
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

from ._errors import CabanaError, connection_lost, error_of
from ._record import Record, parse
from ._wire import failure, wire

# The id of the one operation on a socket.
ID = "1"
# What closes a socket for good.
FINAL = {4401: ("unauthorized", "the credentials ended or were revoked"), 4404: ("not_found", "the sandbox was destroyed")}
# Bytes of a connection that each side sends beyond what the other has taken.
WINDOW = 1 << 20
# The most bytes that are sent at once.
PIECE = 64 << 10


def request_frame(name: str, request: Mapping[str, Any]) -> str:
    """The request of an operation."""
    return json.dumps({"id": ID, "type": name, "payload": wire(request)})


def input_frame(payload: Mapping[str, Any]) -> str:
    """An input without bytes."""
    return json.dumps({"type": "input", "id": ID, "payload": payload})


def bytes_frame(kind: str, data: bytes) -> bytes:
    """An input of bytes."""
    head = input_frame({"type": kind, "bytes": ""}).encode()
    return struct.pack(">I", len(head)) + head + data


def read_frame(message: str | bytes) -> tuple[str, dict[str, Any], bytes]:
    """The kind, the payload and the bytes of a frame; another kind for what is not of the operation."""
    data = b""
    if isinstance(message, bytes):
        (length,) = struct.unpack_from(">I", message)
        data = message[4 + length :]
        message = message[4 : 4 + length].decode()
    frame = json.loads(message)
    return (frame["type"] if frame.get("id") == ID else "", frame.get("payload") or {}, data)


def closing(code: int) -> CabanaError:
    """The error of a socket that was closed with this code."""
    return error_of(*FINAL[code]) if code in FINAL else connection_lost("the connection to the sandbox broke")


class ConnectionEnd(Record):
    """How a connection ended."""

    reason: Literal["closed", "reset"]
    """`reset`: the other side broke it off, and what was sent last may be lost."""
    sent_bytes: int
    """Bytes that were written to it."""
    received_bytes: int
    """Bytes that came from it."""


class Flow:
    """What a connection has sent and received. Each side sends at most a window beyond what the other has taken."""

    def __init__(self) -> None:
        self.connected = False
        self.pieces: deque[bytes] = deque()
        self.has_ended = False
        """Whether the other side sends nothing more."""
        self.end: ConnectionEnd | None = None
        self.error: CabanaError | None = None
        self._sent = self._sent_and_taken = self._taken = self._acknowledged = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be sent, and nothing more comes."""
        return self.end is not None or self.error is not None

    @property
    def room(self) -> int:
        """How many bytes may be sent now."""
        return WINDOW - (self._sent - self._sent_and_taken)

    def hear(self, message: str | bytes) -> None:
        """What the service says."""
        kind, payload, data = read_frame(message)
        if kind == "result":
            self.end = parse(ConnectionEnd, payload)
        elif kind == "error":
            self.fail(failure(payload))
        elif kind == "event":
            self.connected = True
            if payload["type"] == "data":
                self.pieces.append(data)
            elif payload["type"] == "eof":
                self.has_ended = True
            elif payload["type"] == "ack":
                self._sent_and_taken = payload["offset"]

    def fail(self, error: CabanaError) -> None:
        """The connection has ended so, unless it has ended already."""
        if not self.is_over:
            self.error = error

    def send(self, data: memoryview) -> bytes:
        """As many of these bytes as may be sent now."""
        piece = bytes(data[: min(PIECE, self.room)])
        self._sent += len(piece)
        return piece

    def take(self) -> bytes:
        """The next bytes that have come."""
        piece = self.pieces.popleft()
        self._taken += len(piece)
        return piece

    def acknowledgement(self) -> str | None:
        """What tells the other side how much was taken, a quarter of the window at a time."""
        if self._taken - self._acknowledged < WINDOW // 4:
            return None
        self._acknowledged = self._taken
        return input_frame({"type": "ack", "offset": self._taken})

    def failure(self) -> CabanaError:
        """Why there is nothing more."""
        if self.error is not None or self.end is None:
            return self.error or connection_lost("the connection was closed")
        return connection_lost(f"the other side broke the connection off after {self.end.received_bytes} bytes")
