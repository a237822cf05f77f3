from __future__ import annotations

import io
import urllib.request
from pathlib import Path, PurePosixPath

import pytest

from cabana import Forbidden, NotFound, PreconditionFailed, Sandbox, TooLarge


def test_content_is_written_from_anything_and_read_as_anything(box: Sandbox, tmp_path: Path) -> None:
    files = box.files
    written = files.write("d/text", "zoë")
    assert (written.created, written.size_bytes) == (True, 4)
    assert not files.write(PurePosixPath("d/text"), "again\nand\nagain\n").created
    assert files.read("d/text") == "again\nand\nagain\n"
    assert files.read("d/text", lines=(2, 2)) == "and\n"
    assert files.read("d/text", offset=6, length=3) == "and"
    assert files.read("d/text", length=0) == ""
    every = bytes(range(256))
    files.write("bytes", every, mode="0751")
    assert files.read_bytes("bytes") == every
    assert files.stat("bytes").mode == "0751"
    local = tmp_path / "local"
    local.write_bytes(every)
    files.write("path", local)
    files.write("file", io.BytesIO(every))
    files.write("pieces", iter([every[:100], every[100:]]))
    assert box.exec("cmp bytes path && cmp bytes file && cmp bytes pieces").ok
    files.download("bytes", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == every
    files.write("empty", "")
    assert files.read("empty") == ""
    files.append("d/text", "more")
    assert files.read("d/text").endswith("again\nmore")


@pytest.mark.parametrize("name", ["a b", "50%", "ü/ö", "a+b&c=d", "#?", "'\""])
def test_names_of_all_kinds_survive(box: Sandbox, name: str) -> None:
    box.files.write(f"names/{name}", name)
    assert box.files.read(f"names/{name}") == name


def test_a_file_is_sent_in_parts(box: Sandbox) -> None:
    content = bytes(index * 31 % 256 for index in range(1_000_003))
    for source in (content, io.BytesIO(content)):
        assert box.files.write("parts", source, part_bytes=300_000, mode="0600").size_bytes == len(content)
        assert box.files.read_bytes("parts") == content
        box.files.remove("parts")
    box.files.write("parts", "longer than what follows")
    assert not box.files.write("parts", b"short", part_bytes=4).created
    assert box.files.read("parts") == "short"
    box.files.write("parts", b"", part_bytes=4)
    assert box.files.read("parts") == ""


def test_conditions_decide_who_writes(box: Sandbox) -> None:
    files = box.files
    etag = files.write("one", "1", if_none_match="*").etag
    with pytest.raises(PreconditionFailed):
        files.write("one", "2", if_none_match="*")
    files.write("one", "2", if_match=etag)
    with pytest.raises(PreconditionFailed) as refused:
        files.write("one", "3", if_match=etag)
    assert "etag" in (refused.value.next_step or "")
    with pytest.raises(TooLarge):
        files.write("one", "too long", max_bytes=3)
    with pytest.raises(PreconditionFailed):
        files.remove("one", if_match=etag)
    files.remove("one", if_match=files.stat("one").etag)
    assert not files.exists("one")


def test_many_small_files_travel_in_one_request(box: Sandbox) -> None:
    files = box.files
    written = files.write_many([{"path": "many/a", "content": "a"}, {"path": "many/b", "content": b"\xff"}, {"path": "/etc/no", "content": ""}])
    assert [item.type for item in written] == ["file", "file", "error"]  # type: ignore[attr-defined]
    read = files.read_many(["many/a", "many/b", "many/none"])
    assert [item.file.content for item in read[:2]] == ["a", b"\xff"]  # type: ignore[attr-defined]
    assert read[2].error.code == "not_found"  # type: ignore[attr-defined]
    assert files.stat_many(["many/a"])[0].file.size_bytes == 1  # type: ignore[attr-defined]


def test_directories_are_listed_page_by_page_and_searched(box: Sandbox) -> None:
    files = box.files
    files.mkdir("tree/deep", parents=True)
    files.write_many([{"path": f"tree/{path}", "content": path} for path in ("c", "a", "b", ".h", "deep/d")])
    assert [item.path for item in files.list("tree").items] == [".h", "a", "b", "c", "deep"]
    assert len(list(files.entries("tree", recursive=True, limit=2))) == 6
    assert len(files.find("*d*", "tree").items) == 2
    found = files.search("^[ab]$", "tree", ignore_case=True)
    assert (len(found.files), found.matches) == (2, 2)


def test_files_are_moved_copied_linked_changed_and_removed(box: Sandbox) -> None:
    files = box.files
    files.write("m/a", "one two")
    files.move("m/a", "m/b")
    files.copy("m", "n", recursive=True)
    files.symlink("n/link", "b")
    assert (files.stat("n/link").kind, files.stat("n/link").target) == ("symlink", "b")
    files.chmod("n/b", "0700")
    assert files.stat("n/b").mode == "0700"
    assert files.edit("n/b", [{"old": "two", "new": "three"}]).replacements == 1
    files.patch("--- a/b\n+++ b/b\n@@ -1 +1 @@\n-one three\n\\ No newline at end of file\n+four\n", "n")
    assert files.read("n/b") == "four\n"
    files.remove("n", recursive=True)
    assert not files.exists("n")


def test_changes_are_told_as_they_happen_and_when_asked_for(box: Sandbox) -> None:
    files = box.files
    files.mkdir("w")
    version = files.changes("w").version
    seen = []
    for event in files.watch("w"):
        seen.append(event)
        if event.type != "ready":
            break
        files.write("w/new", "1")
    assert [event.type for event in seen] == ["ready", "created"]
    assert any(change.type == "created" and change.path == "new" for change in files.changes("w", since=version).changes)
    assert [event.type for event in files.watch("w", timeout=0.1)] == ["ready"]


def test_a_tree_travels_as_an_archive(box: Sandbox) -> None:
    files = box.files
    files.write_many([{"path": "src/a", "content": "a"}, {"path": "src/b.log", "content": "b"}])
    archive = b"".join(files.archive("src", format="tar.gz", exclude=["*.log"]))
    assert files.extract("copy", archive).entries >= 1
    assert [item.path for item in files.list("copy").items] == ["a"]
    files.extract("copy2", files.archive("src"))
    assert files.read("copy2/b.log") == "b"


def test_a_link_serves_one_file_without_another_credential(box: Sandbox) -> None:
    box.files.write("shared", "public")
    link = box.files.link("shared")
    with urllib.request.urlopen(link.url) as answer:
        assert answer.read() == b"public"
    assert box.files.link("in", "upload", max_bytes=10, expires_in=60).method == "PUT"


def test_refusals_name_the_path_and_the_reason(box: Sandbox) -> None:
    with pytest.raises(NotFound) as refused:
        box.files.read("none")
    assert refused.value.reason == "no_such_file"
    for call in (lambda: box.files.write("/etc/passwd", "x"), lambda: box.files.exists("/etc/passwd"), lambda: box.files.stat("../../etc")):
        with pytest.raises(Forbidden):
            call()
