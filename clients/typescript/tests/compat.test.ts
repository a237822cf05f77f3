// An application of @cloudflare/sandbox 0.12, against the service.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { collectFile, getSandbox, parseSSEStream, proxyToSandbox, streamFile, type Sandbox } from "../src/compat/index.ts";
import { nameOf, spanOf } from "../src/compat/index.ts";
import { client, freshName, until } from "./service.ts";

let sandbox: Sandbox;
const name = freshName("compat");
before(() => void (sandbox = getSandbox(client(), name, { sleepAfter: "10m" })));
after(() => sandbox.destroy());

const events = async (stream: ReadableStream<Uint8Array>) => {
  const all: Record<string, unknown>[] = [];
  for await (const event of parseSSEStream<Record<string, unknown>>(stream)) all.push(event);
  return all;
};

test("commands share a session, as by default in 0.12", async () => {
  const result = await sandbox.exec("cd /tmp && export A=1; echo out; echo err >&2; (exit 3)");
  const { timestamp, duration, ...rest } = result;
  const expected = { success: false, exitCode: 3, stdout: "out\n", stderr: "err\n", command: result.command, sessionId: "default" };
  assert.deepEqual(rest, expected);
  assert.ok(Date.parse(timestamp) > 0 && duration >= 0);
  assert.equal((await sandbox.exec("pwd; echo $A")).stdout, "/tmp\n1\n");
  await sandbox.exec("cd /workspace");
});

test("options and callbacks are those of 0.12", async () => {
  const seen: string[] = [];
  let complete = 0;
  const result = await sandbox.exec("echo $B; pwd", { env: { B: "2" }, cwd: "/", stream: true, onOutput: (stream, data) => seen.push(stream + data), onComplete: () => (complete += 1) });
  assert.equal(result.stdout, "2\n/\n");
  assert.deepEqual([seen.join("").replaceAll("stdout", ""), complete], ["2\n/\n", 1]);
  assert.equal((await sandbox.exec("cat", { stdin: "typed" })).stdout, "typed");
  assert.equal((await sandbox.exec("sleep 100", { timeout: 200 })).exitCode, 124);
  let failed: Error | undefined;
  await assert.rejects(sandbox.exec("true", { cwd: "/none", onError: (error) => (failed = error) }));
  assert.match(failed!.message, /none/);
});

test("a command is streamed as server-sent events", async () => {
  const all = await events(await sandbox.execStream("echo one; echo two >&2; exit 4"));
  assert.deepEqual([all[0]?.["type"], all.at(-1)?.["type"], all.at(-1)?.["exitCode"]], ["start", "complete", 4]);
  assert.deepEqual(all.slice(1, -1).map(({ type, data }) => [type, data]).sort(), [["stderr", "two\n"], ["stdout", "one\n"]]);
});

test("processes are started, waited for, listed and killed", async () => {
  const seen: string[] = [];
  let code: number | null | undefined;
  const server = await sandbox.startProcess("echo Ready on 3210; exec python3 -m http.server 3210", { processId: "server", onOutput: (_, data) => seen.push(data), onExit: (exit) => (code = exit) });
  assert.deepEqual([server.id, server.status], ["server", "running"]);
  assert.deepEqual((await server.waitForLog(/ready on (\d+)/i)).match?.slice(), ["Ready on 3210", "3210"]);
  assert.equal((await server.waitForLog("Ready")).line, "Ready on 3210");
  await server.waitForPort(3210, { path: "/", status: { min: 200, max: 299 } });
  await server.waitForPort(3210, { mode: "tcp" });
  assert.match(await (await sandbox.containerFetch("http://localhost/", {}, 3210)).text(), /Directory listing/);
  assert.deepEqual((await sandbox.listProcesses()).filter(({ status }) => status === "running").map(({ id }) => id), ["server"]);
  assert.match((await sandbox.getProcessLogs("server")).stdout, /Ready on 3210/);
  await server.kill();
  assert.equal(await server.getStatus(), "killed");
  await until(() => code !== undefined);
  assert.match(seen.join(""), /Ready/);
  assert.equal(await sandbox.getProcess("none"), null);
  const quick = await sandbox.startProcess("echo done; exit 6");
  assert.deepEqual(await quick.waitForExit(), { exitCode: 6 });
  assert.equal((await sandbox.getProcess(quick.id))?.status, "failed");
  const all = await events(await sandbox.streamProcessLogs(quick.id));
  assert.deepEqual([all.at(-2)?.["data"], all.at(-1)?.["type"], all.at(-1)?.["exitCode"]], ["done\n", "exit", 6]);
  await sandbox.startProcess("sleep 100", { processId: "sleeper" });
  assert.equal(await sandbox.killAllProcesses(), 1);
  assert.equal(await sandbox.cleanupCompletedProcesses(), 3);
});

test("files have the shapes of 0.12", async () => {
  await sandbox.mkdir("/workspace/app/src", { recursive: true });
  assert.equal((await sandbox.writeFile("/workspace/app/a.txt", "text\n")).success, true);
  await sandbox.writeFile("/workspace/app/b.bin", "/wA=", { encoding: "base64" });
  const text = await sandbox.readFile("/workspace/app/a.txt");
  assert.deepEqual([text.content, text.encoding, text.isBinary, text.mimeType, text.size], ["text\n", "utf-8", false, "text/plain", 5]);
  const binary = await sandbox.readFile("/workspace/app/b.bin");
  assert.deepEqual([binary.content, binary.encoding, binary.isBinary], ["/wA=", "base64", true]);
  assert.deepEqual((await collectFile(await sandbox.readFileStream("/workspace/app/a.txt"))).content, "text\n");
  const chunks: unknown[] = [];
  for await (const chunk of streamFile(await sandbox.readFileStream("/workspace/app/b.bin"))) chunks.push(chunk);
  assert.deepEqual(chunks, [new Uint8Array([255, 0])]);
  const { files, count } = await sandbox.listFiles("/workspace/app", { recursive: true });
  assert.equal(count, 3);
  const first = files.find(({ name }) => name === "a.txt")!;
  assert.deepEqual([first.absolutePath, first.relativePath, first.type, first.size, first.permissions.readable], ["/workspace/app/a.txt", "a.txt", "file", 5, true]);
  assert.match(first.mode, /^rw-/);
  await sandbox.renameFile("/workspace/app/a.txt", "/workspace/app/c.txt");
  await sandbox.moveFile("/workspace/app/c.txt", "/workspace/app/src/c.txt");
  assert.equal((await sandbox.exists("/workspace/app/src/c.txt")).exists, true);
  await sandbox.deleteFile("/workspace/app/src/c.txt");
  assert.equal((await sandbox.exists("/workspace/app/src/c.txt")).exists, false);
  await sandbox.writeFile("/tmp/scratch", new Blob(["streamed"]).stream());
  assert.equal((await sandbox.readFile("/tmp/scratch")).content, "streamed");
});

test("changes are watched and checked", async () => {
  const first = await sandbox.checkChanges("/workspace/app");
  const seen: Record<string, unknown>[] = [];
  for await (const event of parseSSEStream<Record<string, unknown>>(await sandbox.watch("/workspace/app"))) {
    seen.push(event);
    if (event["type"] === "watching") await sandbox.writeFile("/workspace/app/new", "1");
    else break;
  }
  assert.deepEqual([seen[0]?.["type"], seen[1]?.["eventType"]], ["watching", "create"]);
  assert.equal((await sandbox.checkChanges("/workspace/app", { since: first.version })).status, "changed");
});

test("sessions keep to themselves", async () => {
  const session = await sandbox.createSession({ id: "build", env: { CI: "1" }, cwd: "/workspace/app" });
  assert.equal((await session.exec("pwd; echo $CI")).stdout, "/workspace/app\n1\n");
  await session.setEnvVars({ CI: undefined, X: "2" });
  assert.equal((await (await sandbox.getSession("build")).exec("echo [$CI] $X")).stdout, "[] 2\n");
  await sandbox.setEnvVars({ EVERYWHERE: "yes" });
  assert.equal((await sandbox.exec("echo $EVERYWHERE")).stdout, "yes\n");
  assert.equal((await sandbox.deleteSession("build")).sessionId, "build");
});

test("a sandbox's life is that of 0.12", async () => {
  await sandbox.setKeepAlive(true);
  await sandbox.setSleepAfter("1h");
  await sandbox.setLabels({ team: "a" });
  const info = await (await sandbox.box()).info();
  assert.deepEqual([info.keepAlive, info.sleepAfterMs, info.labels], [true, 3_600_000, { team: "a" }]);
  assert.equal((await sandbox.getState()).status, "healthy");
  await sandbox.stop();
  assert.equal((await sandbox.getState()).status, "stopped");
  assert.equal(await sandbox.ping(), "healthy");
  await assert.rejects(sandbox.gitCheckout("http://127.0.0.1:1/none.git", { branch: "main" }));
});

test("ports get URLs", async () => {
  const exposed = await sandbox.exposePort(3210, { hostname: "example.com", name: "web" }).catch((error: Error) => error);
  if (exposed instanceof Error) return assert.match(exposed.message, /CABANA_PREVIEW_DOMAIN/);
  assert.match(exposed.url, /3210-/);
  assert.equal(await sandbox.isPortExposed(3210), true);
  const [port] = await sandbox.getExposedPorts("example.com");
  assert.deepEqual([port?.port, port?.status], [3210, "active"]);
  assert.equal(await sandbox.validatePortToken(3210, "wrong"), false);
  await sandbox.unexposePort(3210);
  assert.equal(await sandbox.isPortExposed(3210), false);
});

test("code runs in contexts", async (context) => {
  // A list of contexts wakes nothing.
  await sandbox.ping();
  const { kernels } = await (await sandbox.box()).code.list();
  if (!kernels!.some((kernel) => kernel.startsWith("python"))) return context.skip("the sandbox has no kernel for Python");
  const own = await sandbox.createCodeContext({ language: "python", envVars: { A: "1" } });
  const printed: string[] = [];
  const execution = await sandbox.runCode("import os\nprint(os.environ['A'])\n6 * 7", { context: own, onStdout: ({ text }) => printed.push(text) });
  assert.deepEqual([execution.logs.stdout.join(""), printed.join(""), execution.results, execution.error], ["1\n", "1\n", [{ text: "42" }], undefined]);
  assert.equal((await sandbox.runCode("1 / 0", { context: own })).error?.name, "ZeroDivisionError");
  const all = await events(await sandbox.runCodeStream("'streamed'", { language: "python" }));
  assert.deepEqual(all.map(({ type }) => type), ["result", "execution_complete"]);
  assert.ok((await sandbox.listCodeContexts()).some(({ id }) => id === own.id));
  await sandbox.deleteCodeContext(own.id);
});

test("what is not there says what to use", async () => {
  for (const method of ["createBackup", "restoreBackup", "mountBucket", "unmountBucket", "wsConnect", "terminal", "getContainerPlacementId"] as const) {
    await assert.rejects(sandbox[method](), (error: Error) => error.message.includes(`${method} is not in cabana/compat: `), method);
  }
  assert.throws(() => sandbox.tunnels, /exposePort/);
  assert.throws(() => proxyToSandbox(), /remove the call/);
});

test("ids of 0.12 become names", async () => {
  assert.equal(await nameOf("user-1"), "user-1");
  const names = await Promise.all(["User-1", "a".repeat(63), "a".repeat(62), "ü", "a_b"].map(nameOf));
  assert.ok(names.every((name) => /^[a-z0-9-]{1,36}$/.test(name)), names.join());
  assert.equal(new Set(names).size, names.length);
  assert.deepEqual([spanOf(30), spanOf("10m"), spanOf("1h")], [30_000, 600_000, 3_600_000]);
  assert.throws(() => spanOf("soon"), /soon/);
});
