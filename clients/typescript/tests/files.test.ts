import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ForbiddenError, NotFoundError, PreconditionFailedError, TooLargeError, type Sandbox, type WatchEvent } from "../src/index.ts";
import { freshSandbox } from "./service.ts";

let box: Sandbox;
before(async () => void (box = await freshSandbox("files")));
after(() => box.delete());

const collect = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
};

test("content is written from anything and read as anything", async () => {
  const { files } = box;
  assert.deepEqual({ ...(await files.write("d/text", "zoë")), etag: "" }, { created: true, sizeBytes: 4, etag: "" });
  assert.equal((await files.write("d/text", "again\nand\nagain\n")).created, false);
  assert.equal(await files.read("d/text"), "again\nand\nagain\n");
  assert.equal(await files.read("d/text", { lines: { from: 2, to: 2 } }), "and\n");
  assert.equal(await files.read("d/text", { offset: 6, length: 3 }), "and");
  assert.equal(await files.read("d/text", { length: 0 }), "");
  const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
  await files.write("bytes", bytes, { mode: "0751" });
  assert.deepEqual(await files.bytes("bytes"), bytes);
  assert.equal((await files.stat("bytes")).mode, "0751");
  await files.write("blob", new Blob([bytes]));
  await files.write("stream", new Blob([bytes]).stream());
  assert.equal((await box.exec("cmp bytes blob && cmp bytes stream")).exitCode, 0);
  await files.write("empty", "");
  assert.equal(await files.read("empty"), "");
  await files.append("d/text", "more");
  assert.equal(await files.read("d/text"), "again\nand\nagain\nmore");
});

test("names of all kinds survive", async () => {
  for (const name of ["a b", "50%", "ü/ö", "a+b&c=d", "#?", "'\""]) {
    await box.files.write(`names/${name}`, name);
    assert.equal(await box.files.read(`names/${name}`), name);
  }
});

test("a file is sent in parts", async () => {
  const content = new Uint8Array(1_000_003).map((_, index) => index * 31);
  for (const source of [content, new Blob([content]), new Blob([content]).stream()]) {
    const written = await box.files.write("parts", source, { partBytes: 300_000, mode: "0600" });
    assert.equal(written.sizeBytes, content.length);
    assert.deepEqual(await box.files.bytes("parts"), content);
    await box.files.remove("parts");
  }
  await box.files.write("parts", "longer than what follows");
  assert.equal((await box.files.write("parts", new Blob(["short"]).stream(), { partBytes: 4 })).created, false);
  assert.equal(await box.files.read("parts"), "short");
  await box.files.write("parts", new Blob([]).stream(), { partBytes: 4 });
  assert.equal(await box.files.read("parts"), "");
});

test("conditions decide who writes", async () => {
  const { files } = box;
  const { etag } = await files.write("one", "1", { ifNoneMatch: "*" });
  await assert.rejects(files.write("one", "2", { ifNoneMatch: "*" }), PreconditionFailedError);
  await files.write("one", "2", { ifMatch: etag });
  await assert.rejects(files.write("one", "3", { ifMatch: etag }), (error: PreconditionFailedError) => error instanceof PreconditionFailedError && /etag/.test(error.nextStep!));
  await assert.rejects(files.write("one", "too long", { maxBytes: 3 }), TooLargeError);
  await assert.rejects(files.removeIfMatch("one", etag), PreconditionFailedError);
  await files.removeIfMatch("one", (await files.stat("one")).etag!);
  assert.equal(await files.exists("one"), false);
});

test("many small files travel in one request", async () => {
  const { files } = box;
  const written = await files.writeMany([{ path: "many/a", content: "a" }, { path: "many/b", content: new Uint8Array([255]) }, { path: "/etc/no", content: "" }]);
  assert.deepEqual(written.map(({ type }) => type), ["file", "file", "error"]);
  const read = await files.readMany(["many/a", "many/b", "many/none"]);
  assert.deepEqual(read.map((item) => (item.type === "file" ? item.file.content : item.error.code)), ["a", { base64: "/w==" }, "not_found"]);
  const described = await files.statMany(["many/a", "many/none"]);
  assert.deepEqual(described.map(({ type }) => type), ["file", "error"]);
});

test("directories are listed, page by page", async () => {
  const { files } = box;
  await files.mkdir("tree/deep", { parents: true });
  await files.writeMany(["c", "a", "b", ".h", "deep/d"].map((path) => ({ path: `tree/${path}`, content: path })));
  const paths = (await files.list("tree")).items.map(({ path }) => path);
  assert.deepEqual(paths.map((path) => String(path).split("/").pop()), [".h", "a", "b", "c", "deep"]);
  const entries = await collect(files.entries("tree", { recursive: true, limit: 2 }));
  assert.equal(entries.length, 6);
  assert.equal((await files.find("*d*", { path: "tree" })).items.length, 2);
  const { files: found, matches } = await files.search("^[ab]$", { path: "tree" });
  assert.deepEqual([found.length, matches], [2, 2]);
});

test("files are moved, copied, linked, changed and removed", async () => {
  const { files } = box;
  await files.write("m/a", "one two");
  await files.move("m/a", "m/b");
  await files.copy("m", "n", { recursive: true });
  await files.symlink("n/link", "b");
  assert.deepEqual([(await files.stat("n/link")).kind, (await files.stat("n/link")).target], ["symlink", "b"]);
  await files.chmod("n/b", "0700");
  assert.equal((await files.stat("n/b")).mode, "0700");
  assert.equal((await files.edit("n/b", [{ old: "two", new: "three" }])).replacements, 1);
  await files.patch("--- a/b\n+++ b/b\n@@ -1 +1 @@\n-one three\n\\ No newline at end of file\n+four\n", { path: "n" });
  assert.equal(await files.read("n/b"), "four\n");
  await files.remove("n", { recursive: true });
  assert.equal(await files.exists("n"), false);
});

test("changes are told as they happen, and when asked for", async () => {
  const { files } = box;
  await files.mkdir("w");
  const { version } = await files.changes("w");
  const seen: WatchEvent[] = [];
  for await (const event of files.watch("w")) {
    seen.push(event);
    if (event.type === "ready") await files.write("w/new", "1");
    else break;
  }
  assert.deepEqual([seen[0]?.type, seen[1]?.type], ["ready", "created"]);
  const { changes } = await files.changes("w", { since: version });
  assert.ok(changes.some((change) => change.type === "created" && change.path === "new"), JSON.stringify(changes));
  const { reason } = await endOfWatch();
  assert.equal(reason, undefined);
  async function endOfWatch(): Promise<{ reason?: string }> {
    for await (const event of files.watch("w", { timeoutMs: 100 })) assert.equal(event.type, "ready");
    return {};
  }
});

test("a tree travels as an archive", async () => {
  const { files } = box;
  await files.writeMany([{ path: "src/a", content: "a" }, { path: "src/b.log", content: "b" }]);
  const archive = await new Response(await files.archive("src", { format: "tar.gz", exclude: ["*.log"] })).arrayBuffer();
  const { entries } = await files.extract("copy", archive);
  assert.ok(entries >= 1);
  assert.deepEqual((await files.list("copy")).items.map(({ path }) => path), ["a"]);
  await files.extract("copy2", await files.archive("src"));
  assert.equal(await files.read("copy2/b.log"), "b");
});

test("a link serves one file without another credential", async () => {
  await box.files.write("shared", "public");
  const { url, method } = await box.files.link("shared", "download");
  assert.equal(method, "GET");
  assert.equal(await (await fetch(url)).text(), "public");
  const upload = await box.files.link("in", "upload", { maxBytes: 10 });
  assert.equal((await fetch(upload.url, { method: "PUT", body: "sent" })).status, 201);
  assert.equal(await box.files.read("in"), "sent");
});

test("refusals name the path and the reason", async () => {
  await assert.rejects(box.files.read("none"), (error: NotFoundError) => error instanceof NotFoundError && error.reason === "no_such_file");
  await assert.rejects(box.files.write("/etc/passwd", "x"), ForbiddenError);
  await assert.rejects(box.files.exists("/etc/passwd"), ForbiddenError);
  await assert.rejects(box.files.stat("../../etc"), ForbiddenError);
});

test("an abort ends a transfer", async () => {
  await box.exec("head -c 20000000 /dev/zero > big");
  const abort = new AbortController();
  const reader = (await box.files.stream("big", { signal: abort.signal })).getReader();
  await reader.read();
  abort.abort();
  await assert.rejects(async () => {
    while (!(await reader.read()).done);
  }, { name: "AbortError" });
  await assert.rejects(box.files.write("never", "x", { signal: AbortSignal.abort() }), { name: "AbortError" });
});
