// Every method has its route in the description, and routes without a method are shown.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Cabana } from "../src/index.ts";

interface Description { paths: Record<string, Record<string, { operationId?: string }>> }

/** What has no route here: pages for people, what speaks another protocol, and the socket, by which `terminal` and `ports.connect` go. */
const LEFT_OUT = new Set(["docs", "openapi", "connect", "notebook", "mcp", "sandbox.mcp", "port.connect"]);

const calls = (cabana: Cabana): Record<string, () => unknown> => {
  const box = cabana.sandbox("sbx-a");
  const process = box.processes.get("p");
  const session = box.sessions.get("s");
  const context = box.code.get("c");
  const { archives, files, git, ports, snapshots } = box;
  return {
    "health": () => cabana.health(),
    "key.list": () => cabana.keys.list(), "key.create": () => cabana.keys.create({ name: "n" }), "key.get": () => cabana.keys.get("k"),
    "key.update": () => cabana.keys.rename("k", "n"), "key.delete": () => cabana.keys.revoke("k"),
    "kind.list": () => cabana.kinds(),
    "project.list": () => cabana.projects.list(), "project.create": () => cabana.projects.create({ name: "n", url: "u" }),
    "project.get": () => cabana.projects.get("n"), "project.update": () => cabana.projects.update("n", {}), "project.delete": () => cabana.projects.delete("n"),
    "secret.list": () => cabana.secrets.list(), "secret.create": () => cabana.secrets.put({ name: "n", value: "v" }), "secret.get": () => cabana.secrets.get("n"),
    "secret.delete": () => cabana.secrets.delete("n"), "network.get": () => box.network(),
    "sandbox.list": () => cabana.list(), "sandbox.create": () => cabana.create(), "sandbox.get": () => box.info(), "sandbox.update": () => box.update({}),
    "sandbox.delete": () => box.delete(), "sandbox.env": () => box.env(), "sandbox.events": () => box.events(), "sandbox.fork": () => box.fork(),
    "sandbox.start": () => box.start(), "sandbox.stop": () => box.stop(), "sandbox.restart": () => box.restart(), "sandbox.upgrade": () => box.upgrade(),
    "archive.list": () => archives.list(), "archive.create": () => archives.create(), "archive.delete": () => archives.delete("a"), "archive.get": () => archives.get("a"),
    "archive.restore": () => archives.restore("a"),
    "archive.download": () => files.archive(), "archive.upload": () => files.extract("p", new Uint8Array(1)),
    "audit.list": () => box.audit(), "audit.verify": () => box.verifyAudit(), "metrics.get": () => box.metrics(),
    "code.run": () => box.code.run("1"), "code.create": () => box.code.create(), "code.list": () => box.code.list(), "code.interrupt": () => context.interrupt(),
    "code.restart": () => context.restart(), "code.delete": () => context.delete(), "code.complete": () => context.complete("i"), "code.inspect": () => context.inspect("i"),
    "code.export": () => context.export(),
    "exec": () => box.exec("true"),
    "file.changes": () => files.changes(), "file.chmod": () => files.chmod("p", "0700"), "file.copy": () => files.copy("a", "b"), "file.edit": () => files.edit("p", []),
    "file.find": () => files.find("*"), "file.list": () => files.list(), "file.mkdir": () => files.mkdir("p"), "file.move": () => files.move("a", "b"),
    "file.patch": () => files.patch("p"), "file.read": () => files.read("p", { lines: { from: 1 } }), "file.read_many": () => files.readMany([]), "file.remove": () => files.remove("p"),
    "file.search": () => files.search("x"), "file.stat": () => files.stat("p"), "file.stat_many": () => files.statMany([]), "file.symlink": () => files.symlink("p", "t"),
    "file.watch": () => files.watch().next(), "file.write": () => files.append("p", "x"), "file.write_many": () => files.writeMany([]),
    "file.delete": () => files.removeIfMatch("p", "e"), "file.download": () => files.read("p"), "file.upload": () => files.write("p", "x"), "token.link": () => files.link("p", "download"),
    "git.add": () => git.add({}), "git.branch": () => git.branches(), "git.checkout": () => git.checkout({}), "git.clone": () => git.clone("u"), "git.commit": () => git.commit("m"),
    "git.diff": () => git.diff(), "git.log": () => git.log(), "git.pull": () => git.pull(), "git.push": () => git.push(), "git.status": () => git.status(),
    "port.list": () => ports.list(), "port.exposed": () => ports.exposed(), "port.expose": () => ports.expose(1), "port.close": () => ports.close(1), "port.get": () => ports.get(1),
    "port.proxy": () => ports.fetch(1, "/x"),
    "process.attach": () => process.attach().result(), "process.end": () => process.end(), "process.get": () => process.info(), "process.input": () => process.input("x"),
    "process.list": () => box.processes.list(), "process.logs": () => process.logs(), "process.remove": () => process.remove(), "process.resize": () => process.resize(1, 1),
    "process.signal": () => process.signal("SIGTERM"), "process.wait": () => process.wait(),
    "session.create": () => box.sessions.create(), "session.delete": () => session.delete(), "session.get": () => session.info(), "session.list": () => box.sessions.list(),
    "session.update": () => session.update({}),
    "snapshot.list": () => snapshots.list(), "snapshot.create": () => snapshots.create(), "snapshot.delete": () => snapshots.delete("s"), "snapshot.get": () => snapshots.get("s"),
    "snapshot.restore": () => snapshots.restore("s"),
    "system.info": () => box.system(), "system.stats": () => box.stats(), "token.create": () => box.token(),
  };
};

test("every method has its route", async (context) => {
  const description = JSON.parse(await readFile(new URL("../../../../crates/protocol/openapi.json", import.meta.url), "utf8")) as Description;
  const routes = new Map<string, [method: string, path: RegExp]>();
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, { operationId }] of Object.entries(methods)) {
      if (operationId === undefined || operationId.endsWith("_by_query") || LEFT_OUT.has(operationId)) continue;
      routes.set(operationId, [method.toUpperCase(), new RegExp(`^${path.replace(/\{[^}]+\}/g, "[^/]+")}$`)]);
    }
  }
  let asked: [method: string, path: string] | undefined;
  const fetch = async (url: unknown, init: RequestInit = {}) => {
    asked = [init.method ?? "GET", new URL(String(url)).pathname];
    throw new TypeError("no network");
  };
  const methods = calls(new Cabana({ url: "https://cabana.test", key: "k", fetch: fetch as typeof globalThis.fetch, retries: 0 }));
  // What the service has gained, and the client has not yet, is shown: a client works without it.
  const gained = [...routes.keys()].filter((name) => !(name in methods));
  if (gained.length > 0) context.diagnostic(`there is no method for ${gained.join(", ")}`);
  assert.deepEqual(Object.keys(methods).filter((name) => !routes.has(name)), []);
  for (const [name, call] of Object.entries(methods)) {
    asked = undefined;
    await Promise.resolve(call()).catch(() => {});
    const [method, path] = routes.get(name)!;
    assert.ok(asked, name);
    assert.equal(asked[0], method, name);
    assert.match(asked[1], path, name);
  }
});
