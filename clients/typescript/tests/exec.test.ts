import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { GoneError, InvalidRequestError, NotFoundError, type ExecEvent, type Sandbox } from "../src/index.ts";
import { freshSandbox, until } from "./service.ts";

let box: Sandbox;
before(async () => void (box = await freshSandbox("exec")));
after(() => box.delete());

/** Whether a process of this marker runs in the sandbox. */
const runs = async (marker: string): Promise<boolean> => (await box.exec(["pgrep", "-f", `^sleep ${marker}$`])).ok;

test("a command answers with its output and its exit", async () => {
  const result = await box.exec("echo out; echo err >&2; exit 3");
  assert.deepEqual([result.stdout, result.stderr, result.exitCode, result.ok], ["out\n", "err\n", 3, false]);
  assert.deepEqual(result.exit, { type: "exited", code: 3 });
  assert.equal(result.truncated, false);
  assert.ok(result.durationMs >= 0 && result.process.length > 0);
});

test("an array is an exact argv", async () => {
  const result = await box.exec(["printf", "%s|", "a b", "$HOME", "*", "'"]);
  assert.equal(result.stdout, "a b|$HOME|*|'|");
});

test("options reach the command", async () => {
  const { stdout } = await box.exec("pwd; echo $A; cat", { cwd: "/tmp", env: { A: "x y" }, stdin: "typed" });
  assert.equal(stdout, "/tmp\nx y\ntyped");
  const { stdout: merged, stderr } = await box.exec("echo 1; echo 2 >&2; echo 3", { stderr: "stdout" });
  assert.deepEqual([merged, stderr], ["1\n2\n3\n", ""]);
});

test("bytes arrive exactly", async () => {
  const { stdoutBytes } = await box.exec("head -c 65536 /dev/urandom | tee r; cat r >&2", { maxOutputBytes: 1 << 20 });
  assert.deepEqual(stdoutBytes, await box.files.bytes("r"));
  const all = Uint8Array.from({ length: 256 }, (_, index) => index);
  assert.deepEqual((await box.exec("cat", { stdin: all })).stdoutBytes, all);
});

test("text that is cut between connections' pieces is not garbled", async () => {
  let text = "";
  for await (const event of box.exec("printf '\\xc3'; sleep 0.2; printf '\\xa9'", { stream: true })) {
    if (event.type === "stdout") text += event.text;
  }
  assert.equal(text, "é");
});

test("more output than is kept is cut in its middle", async () => {
  const result = await box.exec("seq 1 100000", { maxOutputBytes: 1000 });
  assert.ok(result.truncated);
  assert.ok(result.stdout.startsWith("1\n2\n") && result.stdout.endsWith("99999\n100000\n"));
  assert.ok(result.stdoutBytes.length < 1100);
});

test("a stream tells of a command as it runs", async () => {
  const seen: string[] = [];
  const execution = box.exec("echo one; read line; echo $line", { stream: true, stdin: "two\n" });
  for await (const event of execution) seen.push(event.type === "stdout" ? event.text.trim() : event.type);
  assert.deepEqual([seen.at(0), seen.at(-1)], ["started", "exit"]);
  assert.deepEqual(seen.slice(1, -1).join(" ").split(/\s+/), ["one", "two"]);
  assert.equal(execution.offset, 8);
});

test("a stream can be folded, or read as bytes", async () => {
  const result = await box.exec("echo folded; exit 4", { stream: true }).result();
  assert.deepEqual([result.stdout, result.exitCode], ["folded\n", 4]);
  const bytes = new Response(box.exec("echo err >&2; printf raw", { stream: true }).stdout());
  assert.equal(await bytes.text(), "raw");
});

test("a command that runs too long is timed out", async () => {
  const result = await box.exec("echo begun; sleep 100", { timeoutMs: 300 });
  assert.deepEqual([result.exit?.type, result.exitCode, result.stdout], ["timed_out", 124, "begun\n"]);
});

test("aborting ends the command and everything that it started", async () => {
  const abort = new AbortController();
  const running = box.exec("setsid sleep 70001 & sleep 70001", { signal: abort.signal });
  await until(() => runs("70001"));
  abort.abort(new Error("enough"));
  await assert.rejects(running, /enough/);
  await until(async () => !(await runs("70001")));
  await assert.rejects(box.exec("true", { signal: abort.signal }), /enough/);
});

test("leaving the loop ends the command", async () => {
  for await (const event of box.exec("echo up; sleep 70002", { stream: true })) {
    if (event.type === "stdout") break;
  }
  await until(async () => !(await runs("70002")));
});

test("cancelling a stream that waits ends the command", async () => {
  const execution = box.exec("sleep 70003", { stream: true });
  const events = execution[Symbol.asyncIterator]();
  assert.equal(((await events.next()).value as ExecEvent).type, "started");
  const waiting = events.next().catch(() => "ended");
  await execution.cancel();
  assert.equal(await waiting, "ended");
  await until(async () => !(await runs("70003")));
  const reader = box.exec("echo up; sleep 70004", { stream: true }).stdout().getReader();
  await reader.read();
  await reader.cancel();
  await until(async () => !(await runs("70004")));
});

test("input of any size is sent beside the request", async () => {
  const big = "x".repeat(1 << 20);
  assert.equal((await box.exec("wc -c", { stdin: big })).stdout.trim(), String(big.length));
  assert.equal((await box.exec(["cat"], { stdin: new Blob(["from a blob"]) })).stdout, "from a blob");
  const stream = new Blob(["from", " a stream"]).stream();
  assert.equal((await box.exec(["sh", "-c", "cat; echo $A"], { stdin: stream, env: { A: "1" } })).stdout, "from a stream1\n");
});

test("a slow reader slows the command and loses nothing", async () => {
  let bytes = 0;
  let next = 0;
  for await (const event of box.exec("head -c 8000000 /dev/zero | tr '\\0' a", { stream: true })) {
    if (event.type !== "stdout") continue;
    assert.equal(event.offset, next);
    next = event.offset + event.bytes.length;
    bytes += event.bytes.length;
    if (bytes % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert.equal(bytes, 8_000_000);
});

test("refusals are typed and say what to do", async () => {
  await assert.rejects(box.exec("true", { cwd: "/none" }), (error: NotFoundError) => {
    assert.ok(error instanceof NotFoundError);
    assert.deepEqual([error.code, error.status, error.retryable], ["not_found", 404, false]);
    assert.match(error.requestId ?? "", /./);
    assert.match(error.message, /\/none.*\[not_found, request /s);
    return true;
  });
  await assert.rejects(box.exec([]), InvalidRequestError);
  await assert.rejects(box.exec("true", { tmeout: 1 } as object), (error: InvalidRequestError) => error.reason === "unknown_field");
});

test("a session keeps directory and variables", async () => {
  const session = await box.sessions.create({ name: "kept", env: { A: "1" } });
  await session.exec("cd /tmp; export B=2; f() { echo f; }");
  assert.equal((await session.exec("pwd; echo $A $B; f")).stdout, "/tmp\n1 2\nf\n");
  await session.update({ env: { A: null }, cwd: "/" });
  assert.equal((await session.exec("pwd; echo [$A]")).stdout, "/\n[]\n");
  assert.equal((await session.info()).name, "kept");
  assert.equal((await box.sessions.list()).filter(({ name }) => name === "kept").length, 1);
  let text = "";
  for await (const event of session.exec("echo streamed", { stream: true })) if (event.type === "stdout") text += event.text;
  assert.equal(text, "streamed\n");
  assert.throws(() => session.exec("true", { reconnect: true }), /session/);
  await session.exec("mkdir -p /workspace/in/session && cd /workspace/in/session");
  await session.files.write("lane", "1");
  await session.files.append("json", "2");
  assert.equal(await session.files.read("lane"), "1");
  assert.deepEqual((await session.files.list()).items.map(({ path }) => path), ["json", "lane"]);
  assert.equal(await box.files.read("in/session/json"), "2");
  const ended = await session.exec("exit 5");
  assert.deepEqual([ended.exitCode, ended.sessionEnded], [5, true]);
  await assert.rejects(box.sessions.get(session.id).exec("true"), GoneError);
  {
    await using other = await box.sessions.create();
    assert.equal((await other.exec("echo here")).stdout, "here\n");
  }
  assert.deepEqual(await box.sessions.list(), []);
});

test("detached processes are found, heard, fed and ended", async () => {
  const echo = await box.exec("echo ready; while read line; do echo got $line; done; echo end >&2", { detach: true, name: "echo", stdin: { stream: true } });
  assert.ok(echo.pid! > 0);
  assert.equal((await echo.wait({ log: "ready" })).type, "logged");
  await echo.input("one\n");
  assert.deepEqual(await echo.wait({ regex: "got (.*)" }, { timeoutMs: 60_000 }), { type: "logged", line: "got one", groups: ["one"], to: 14 });
  assert.equal((await echo.logs()).stdout, "ready\ngot one\n");
  assert.equal((await echo.info()).name, "echo");
  assert.deepEqual((await box.processes.list({ state: "running" })).map(({ name }) => name), ["echo"]);
  const again = await box.exec("echo ready; while read line; do echo got $line; done; echo end >&2", { detach: true, name: "echo", stdin: { stream: true } });
  assert.equal(again.id, echo.id);
  await echo.closeInput();
  const result = await box.processes.get("echo").result();
  assert.deepEqual([result.stdout, result.stderr, result.exitCode], ["ready\ngot one\n", "end\n", 0]);
  let tail = "";
  for await (const event of echo.attach({ from: 6 })) if (event.type === "stdout") tail += event.text;
  assert.equal(tail, "got one\n");
  await echo.remove();
  await assert.rejects(echo.info(), NotFoundError);
  const sleeper = await box.exec(["sleep", "70005"], { detach: true });
  for await (const event of sleeper) if (event.type === "started") break;
  assert.ok(await runs("70005"), "leaving the loop leaves the process");
  await sleeper.signal("SIGSTOP");
  assert.equal((await sleeper.end({ graceMs: 100 }))?.exit?.type, "cancelled");
  await box.exec("sleep 70006", { detach: true });
  assert.equal((await box.processes.endAll()).length, 1);
  await box.processes.removeEnded();
  assert.deepEqual(await box.processes.list(), []);
});
