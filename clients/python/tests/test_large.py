"""More than the memory that may be used, through each lane."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Iterator

from cabana import Sandbox

SIZE = 104 << 20
PIECE = b"a" * (1 << 16)
# What a transfer may hold beside what the process held before it.
MEMORY = 48 << 20


def content() -> Iterator[bytes]:
    """Content that is made as it is read."""
    for _ in range(SIZE // len(PIECE)):
        yield PIECE


def peak() -> int:
    """The most that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def drain(pieces: Iterable[bytes]) -> int:
    return sum(len(piece) for piece in pieces)


def test_every_lane_carries_more_than_the_process_holds(box: Sandbox) -> None:
    assert box.files.write("small", iter([PIECE] * 16)).size_bytes == 1 << 20
    before = peak()
    assert box.files.write("large", content()).size_bytes == SIZE
    assert drain(box.files.stream("large")) == SIZE
    assert box.exec("wc -c", stdin=content()).stdout.strip() == str(SIZE)
    assert drain(box.stream(f"head -c {SIZE} /dev/zero | tr '\\0' a").chunks()) == SIZE
    box.exec("mkdir tree && mv large tree/", check=True)
    box.files.extract("copied", box.files.archive("tree"))
    assert box.files.stat("copied/large").size_bytes == SIZE
    with box.terminal(f"stty -opost; head -c {SIZE} /dev/zero | tr '\\0' a") as terminal:
        assert drain(terminal) == SIZE
    held = peak() - before
    assert held < MEMORY, f"{held >> 20} MiB"
