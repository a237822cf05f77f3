// Sandboxes, and what belongs to them: snapshots, ports, git, keys, projects.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CabanaError, ConflictError, NotFoundError, UnauthorizedError, type Sandbox, type Schema } from "../src/index.ts";
import { client, freshName, freshSandbox, until } from "./service.ts";

const cabana = client();
let box: Sandbox;
before(async () => void (box = await freshSandbox("control")));
after(() => box.delete());

test("a sandbox is made, found, described, changed and deleted", async () => {
  const name = freshName("life");
  let id: string;
  {
    await using made = await cabana.create({ name, labels: { team: name }, sleepAfterMs: 60_000 });
    id = made.id;
    const info = await made.info();
    assert.deepEqual([info.state, info.labels, info.sleepAfterMs], ["created", { team: name }, 60_000]);
    assert.equal((await cabana.create({ name, labels: { team: name }, sleepAfterMs: 60_000, dispose: "keep" })).id, id);
    await assert.rejects(cabana.create({ name, sleepAfterMs: 70_000 }), (error: ConflictError) => error instanceof ConflictError);
    assert.equal((await made.update({ env: { A: "1" }, keepAlive: true })).keepAlive, true);
    assert.equal((await made.exec("echo $A")).stdout, "1\n");
    assert.ok((await made.env()).items.some(({ name, origin }) => name === "A" && origin === "sandbox"));
    await until(async () => (await cabana.list({ label: [`team=${name}`] })).items.some((sandbox) => sandbox.id === id));
    const found: string[] = [];
    for await (const sandbox of cabana.sandboxes({ limit: 1, label: [`team=${name}`] })) found.push(sandbox.id);
    assert.deepEqual(found, [id]);
  }
  await assert.rejects(cabana.sandbox(id).info(), NotFoundError);
});

test("a sandbox is started, stopped and restarted", async () => {
  await box.files.write("kept", "1");
  assert.equal((await box.stop()).state, "sleeping");
  assert.deepEqual(await box.processes.list(), []);
  assert.equal((await box.start()).state, "running");
  assert.equal((await box.restart()).state, "running");
  assert.equal(await box.files.read("kept"), "1");
  const events = await box.events();
  assert.ok(events.some(({ state }) => state === "sleeping"));
  assert.ok((await box.events({ from: events[0]!.id })).length < events.length);
});

test("a sandbox tells of itself", async () => {
  assert.ok((await box.stats()).memory.totalBytes > 0);
  assert.equal((await box.system()).root, "/workspace");
  assert.equal((await box.metrics()).sandbox, box.id);
  await until(async () => (await box.audit({ limit: 5 })).items.length === 5);
  assert.equal((await box.verifyAudit()).intact, true);
  assert.equal((await cabana.health()).status, "ok");
  assert.ok((await cabana.kinds()).some(({ name }) => name === "sbx"));
});

test("a token is good for one sandbox", async () => {
  const { token } = await box.token({ readOnly: true });
  const reader = client({ key: token });
  assert.equal((await reader.sandbox(box.id).info()).id, box.id);
  await assert.rejects(reader.sandbox(box.id).exec("true"), (error: NotFoundError) => (error.code as string) === "forbidden");
  await assert.rejects(client({ key: "cabt_wrong" }).sandbox(box.id).info(), UnauthorizedError);
});

test("files are saved, brought back, and given to others", async () => {
  await using origin = await freshSandbox("snapshots");
  await using _ = { [Symbol.asyncDispose]: () => origin.delete() };
  await origin.files.write("state", "first");
  const snapshot = await origin.snapshots.create({ name: "first" });
  await origin.files.write("state", "second");
  assert.deepEqual((await origin.snapshots.list()).map(({ id }) => id), [snapshot.id]);
  assert.equal((await origin.snapshots.get(snapshot.id)).name, "first");
  const [fork] = await origin.fork({ count: 1 });
  assert.equal(await fork!.files.read("state"), "second");
  await fork!.delete();
  await origin.snapshots.restore(snapshot.id);
  assert.equal(await origin.files.read("state"), "first");
  await origin.snapshots.delete(snapshot.id);
  await assert.rejects(origin.snapshots.get(snapshot.id), NotFoundError);
});

test("a port gets a URL, and requests reach its program", async () => {
  const server = await box.exec("echo served > index.html; exec python3 -m http.server 3123", { detach: true, name: "web" });
  await server.wait({ port: 3123, http: { path: "/" } }, { timeoutMs: 60_000 });
  assert.ok((await box.ports.list()).some(({ port }) => port === 3123));
  const exposed = await box.ports.expose(3123, { name: "site" });
  assert.equal(exposed.port, 3123);
  assert.deepEqual((await box.ports.exposed()).map(({ port }) => port), [3123]);
  assert.equal((await box.ports.get(3123)).name, "site");
  assert.equal(await (await box.ports.fetch(3123)).text(), "served\n");
  assert.equal((await box.ports.fetch(3123, "/none?a=1")).status, 404);
  await box.ports.close(3123);
  await assert.rejects(box.ports.get(3123), NotFoundError);
  await server.end();
});

test("git works on a repository", async () => {
  const { git } = box;
  await box.exec("git init -q -b main repo && git init -q --bare -b main up.git && cp -r up.git /tmp/up.git");
  await box.files.write("repo/a", "1\n");
  const author = { name: "A", email: "a@example.com" };
  await git.add({ path: "repo", all: true });
  const { commit } = await git.commit("first", { path: "repo", author });
  assert.equal((await git.log({ path: "repo" })).items[0]?.commit, commit);
  await box.files.write("repo/a", "2\n");
  assert.equal((await git.status({ path: "repo" })).entries[0]?.path, "a");
  assert.match((await git.diff({ path: "repo" })).patch as string, /-1\n\+2/);
  await git.createBranch("next", { path: "repo" });
  assert.deepEqual((await git.branches({ path: "repo" })).map(({ name }) => name), ["main", "next"]);
  await git.checkout({ path: "repo", branch: "next" });
  await git.checkout({ path: "repo", branch: "main" });
  await git.deleteBranch("next", { path: "repo" });
});

test("git transfers tell of their progress, and of their failures", async () => {
  const { git } = box;
  await box.exec("git init -q -b main src && cd src && git -c user.name=A -c user.email=a@b commit -q --allow-empty -m one && git update-server-info && python3 -m http.server 3124", { detach: true, name: "remote" });
  await box.processes.get("remote").wait({ port: 3124 }, { timeoutMs: 60_000 });
  const progress: Schema<"TransferEvent">[] = [];
  const cloned = await git.clone("http://127.0.0.1:3124/.git", { path: "cloned", onProgress: (event) => progress.push(event) });
  assert.deepEqual([cloned.path, cloned.branch], ["cloned", "main"]);
  assert.ok(Array.isArray(progress));
  await git.pull({ path: "cloned" });
  await git.commit("ahead", { path: "cloned", allowEmpty: true, author: { name: "A", email: "a@example.com" } });
  await assert.rejects(git.push({ path: "cloned", onProgress: () => {} }), CabanaError);
  await assert.rejects(git.clone("http://127.0.0.1:1/none.git"), { code: "unprocessable" });
  await assert.rejects(git.clone("http://127.0.0.1:1/none.git", { onProgress: () => {} }), { status: 422 });
  await box.processes.get("remote").end();
});

test("keys are made, listed, renamed and revoked", async () => {
  const { id, key } = await cabana.keys.create({ name: "ts", scopes: { operations: ["file", "sandbox"] } });
  assert.equal((await client({ key }).list()).items.length >= 0, true);
  assert.equal((await cabana.keys.rename(id, "renamed")).name, "renamed");
  assert.equal((await cabana.keys.get(id)).name, "renamed");
  assert.ok((await cabana.keys.list({ limit: 100 })).items.some((listed) => listed.id === id));
  await cabana.keys.revoke(id);
  await assert.rejects(client({ key }).list(), UnauthorizedError);
});

test("projects are made, listed, changed and deleted", async () => {
  const name = freshName("project");
  await cabana.projects.create({ name, url: "http://127.0.0.1:1/none.git", env: { A: "1" } });
  assert.equal((await cabana.projects.update(name, { branch: "next" })).branch, "next");
  assert.equal((await cabana.projects.get(name)).branch, "next");
  assert.ok((await cabana.projects.list({ limit: 1000 })).items.some((project) => project.name === name));
  const events: Schema<"SetupEvent">[] = [];
  await assert.rejects(cabana.create({ name, project: name, onSetup: (event) => events.push(event) }), { code: "unprocessable" });
  assert.ok(events.length > 0);
  await cabana.sandbox(`sbx-${name}`).delete();
  await cabana.projects.delete(name);
  await assert.rejects(cabana.projects.get(name), NotFoundError);
});
