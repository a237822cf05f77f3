"""Sandboxes, and what belongs to them: snapshots, ports, git, keys, projects."""

from __future__ import annotations

from typing import Any

import pytest

from cabana import Cabana, CabanaError, Conflict, Forbidden, NotFound, Sandbox, Unauthorized, Unprocessable
from conftest import KEY, RETRIES, URL, fresh_name, until


def test_a_sandbox_is_made_found_described_changed_and_deleted(cabana: Cabana) -> None:
    name = fresh_name("life")
    settings: dict[str, Any] = {"labels": {"team": name}, "sleep_after": 60}
    with cabana.create(name, **settings) as made:
        info = made.info()
        assert (info.state, info.sleep_after_ms, info.labels) == ("created", 60_000, {"team": name})
        assert cabana.create(name, dispose="keep", **settings).id == made.id
        with pytest.raises(Conflict):
            cabana.create(name, sleep_after=70)
        assert made.update(env={"A": "1"}, keep_alive=True, sleep_after=90).sleep_after_ms == 90_000
        assert made.exec("echo $A").stdout == "1\n"
        assert any(item.name == "A" and item.origin == "sandbox" for item in made.env().items)
        until(lambda: any(item.id == made.id for item in cabana.list(label=[f"team={name}"]).items))
        assert [item.id for item in cabana.sandboxes(limit=1, label=[f"team={name}"])] == [made.id]
    with pytest.raises(NotFound):
        made.info()


def test_a_sandbox_can_be_used_without_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CABANA_URL", URL)
    monkeypatch.setenv("CABANA_API_KEY", KEY)
    with Sandbox.create(labels={"a": "b"}) as box, Sandbox.connect(box.id) as same:
        assert same.info().labels == {"a": "b"}
    with pytest.raises(NotFound):
        Sandbox.connect(box.id)


def test_a_sandbox_is_started_stopped_and_restarted(box: Sandbox) -> None:
    box.files.write("kept", "1")
    assert box.stop().state == "sleeping"
    assert box.processes.list() == []
    assert box.start().state == "running"
    assert box.restart().state == "running"
    assert box.files.read("kept") == "1"
    events = box.events()
    assert any(event.state == "sleeping" for event in events)
    assert len(box.events(from_=events[0].id)) < len(events)


def test_a_sandbox_tells_of_itself(box: Sandbox, cabana: Cabana) -> None:
    assert box.stats().memory.total_bytes > 0
    assert box.system().root == "/workspace"
    assert box.metrics().sandbox == box.id
    until(lambda: len(box.audit(limit=5).items) == 5)
    assert box.verify_audit().intact
    assert cabana.health().status == "ok"
    assert any(kind.name == "sbx" for kind in cabana.kinds())


def test_a_token_is_good_for_one_sandbox(box: Sandbox) -> None:
    token = box.token(read_only=True, expires_in=60).token
    with Cabana(URL, token) as reader:
        assert reader.sandbox(box.id).info().id == box.id
        with pytest.raises(Forbidden):
            reader.sandbox(box.id).exec("true")
    with Cabana(URL, "cabt_wrong") as stranger, pytest.raises(Unauthorized):
        stranger.sandbox(box.id).info()


def test_files_are_saved_brought_back_and_given_to_others(cabana: Cabana) -> None:
    with cabana.create(fresh_name("snapshots")) as origin:
        origin.files.write("state", "first")
        snapshot = origin.snapshots.create("first")
        origin.files.write("state", "second")
        assert [item.id for item in origin.snapshots.list()] == [snapshot.id]
        assert origin.snapshots.get(snapshot.id).name == "first"
        (fork,) = origin.fork(count=1)
        assert fork.files.read("state") == "second"
        fork.delete()
        with cabana.create(fresh_name("from"), snapshot=snapshot.id) as copy:
            assert copy.files.read("state") == "first"
        origin.snapshots.restore(snapshot.id)
        assert origin.files.read("state") == "first"
        origin.snapshots.delete(snapshot.id)
        with pytest.raises(NotFound):
            origin.snapshots.get(snapshot.id)


def test_a_port_gets_a_url_and_requests_reach_its_program(box: Sandbox) -> None:
    server = box.spawn("echo served > index.html; exec python3 -m http.server 3123", name="web")
    assert server.wait(port=3123, http="/", timeout=60).type == "listening"
    assert any(port.port == 3123 for port in box.ports.list())
    assert box.ports.expose(3123, name="site").port == 3123
    assert [port.port for port in box.ports.exposed()] == [3123]
    assert box.ports.get(3123).name == "site"
    assert box.ports.request(3123).text == "served\n"
    assert box.ports.request(3123, "/none").status_code == 404
    box.ports.close(3123)
    with pytest.raises(NotFound):
        box.ports.get(3123)
    server.end()


def test_git_works_on_a_repository(box: Sandbox) -> None:
    git = box.git
    box.exec("git init -q -b main repo", check=True)
    box.files.write("repo/a", "1\n")
    git.add("repo", all=True)
    commit = git.commit("first", "repo", author={"name": "A", "email": "a@example.com"}).commit
    assert git.log("repo").items[0].commit == commit
    box.files.write("repo/a", "2\n")
    assert git.status("repo").entries[0].path == "a"
    assert "-1\n+2" in str(git.diff("repo").patch)
    git.create_branch("next", "repo")
    assert [branch.name for branch in git.branches("repo")] == ["main", "next"]
    git.checkout("repo", branch="next")
    git.checkout("repo", branch="main")
    git.delete_branch("next", "repo")


def test_git_transfers_tell_of_their_progress_and_of_their_failures(box: Sandbox) -> None:
    git = box.git
    commit = "git -c user.name=A -c user.email=a@b commit -q --allow-empty -m one"
    remote = box.spawn(f"git init -q -b main src && cd src && {commit} && git update-server-info && exec python3 -m http.server 3124")
    remote.wait(port=3124, timeout=60)
    progress: list[Any] = []
    assert git.clone("http://127.0.0.1:3124/.git", "cloned", on_progress=progress.append).branch == "main"
    git.pull("cloned")
    git.commit("ahead", "cloned", allow_empty=True, author={"name": "A", "email": "a@example.com"})
    with pytest.raises(CabanaError):
        git.push("cloned", on_progress=progress.append)
    with pytest.raises(Unprocessable):
        git.clone("http://127.0.0.1:1/none.git", on_progress=progress.append)
    remote.end()


def test_keys_are_made_listed_renamed_and_revoked(cabana: Cabana) -> None:
    made = cabana.keys.create("py", scopes={"operations": ["file", "sandbox"]}, expires_in=600)
    with Cabana(URL, made.key) as holder:
        holder.list()
        assert cabana.keys.rename(made.id, "renamed").name == "renamed"
        assert cabana.keys.get(made.id).name == "renamed"
        assert any(item.id == made.id for item in cabana.keys.list(limit=100).items)
        cabana.keys.revoke(made.id)
        with pytest.raises(Unauthorized):
            holder.list()


def test_secrets_are_stored_shown_without_values_and_deleted(cabana: Cabana) -> None:
    name = fresh_name("secret")
    for value in ("first-value", "second-value"):
        secret = cabana.secrets.put(name, value, hosts=["api.example.com"])
        assert secret.name == name and value not in repr(secret)
    assert any(item.name == name for item in cabana.secrets.list(limit=1000).items)
    rules = {"secrets": [{"host": "api.example.com", "header": "Authorization", "secret": name}]}
    with cabana.create(fresh_name("rules"), network=rules) as box:
        assert box.network().counters.denied == 0
    cabana.secrets.delete(name)
    with pytest.raises(NotFound):
        cabana.secrets.get(name)


def test_projects_are_made_listed_changed_and_deleted(cabana: Cabana) -> None:
    name = fresh_name("project")
    cabana.projects.create(name, "http://127.0.0.1:1/none.git", env={"A": "1"})
    assert cabana.projects.update(name, branch="next").branch == "next"
    assert cabana.projects.get(name).branch == "next"
    assert any(item.name == name for item in cabana.projects.list(limit=1000).items)
    events: list[Any] = []
    with pytest.raises(CabanaError):
        cabana.create(name, project=name, on_setup=events.append)
    assert events
    cabana.sandbox(f"sbx-{name}").delete()
    cabana.projects.delete(name)
    with pytest.raises(NotFound):
        cabana.projects.get(name)


def test_the_operator_speaks_for_a_tenant(cabana: Cabana) -> None:
    with Cabana(URL, KEY, tenant="py-tenant", retries=RETRIES) as tenant, tenant.create(fresh_name("tenant")) as box:
        assert box.info().tenant == "py-tenant"
        with pytest.raises(NotFound):
            cabana.sandbox(box.id).info()
