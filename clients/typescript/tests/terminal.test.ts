import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { NotFoundError, UnauthorizedError, type Sandbox, type Terminal } from "../src/index.ts";
import { client, freshSandbox, until } from "./service.ts";

let box: Sandbox;
before(async () => void (box = await freshSandbox("terminal")));
after(() => box.delete());

/** What a terminal has shown so far. */
function screen(terminal: Terminal): { text: string; ended: Promise<void> } {
  const seen = { text: "", ended: Promise.resolve() };
  seen.ended = (async () => {
    const decoder = new TextDecoder();
    for await (const bytes of terminal) seen.text += decoder.decode(bytes, { stream: true });
  })();
  return seen;
}

test("what is typed is read, and what is printed is shown", async () => {
  await using terminal = await box.terminal({ cols: 100, rows: 30, env: { PS1: "> " } });
  const seen = screen(terminal);
  terminal.write("stty size; echo $((6 * 7))\n");
  await until(() => seen.text.includes("30 100\r\n42\r\n"));
  terminal.resize(50, 20);
  terminal.write("stty size\n");
  await until(() => seen.text.includes("20 50\r\n"));
  terminal.write("exit 3\n");
  await seen.ended;
  assert.deepEqual(terminal.exit, { type: "exited", code: 3 });
});

test("all bytes pass a terminal, both ways", async () => {
  const terminal = await box.terminal({ command: "stty raw -echo; printf ready; head -c 256 | od -An -v -tu1 | tr -d '\\n'" });
  const seen = screen(terminal);
  await until(() => seen.text === "ready");
  terminal.write(Uint8Array.from({ length: 256 }, (_, index) => index));
  await seen.ended;
  assert.deepEqual(seen.text.slice(5).trim().split(/\s+/).map(Number), Array.from({ length: 256 }, (_, index) => index));
});

test("closing a terminal without a name ends what runs on it", async () => {
  const terminal = await box.terminal({ command: ["sleep", "72001"] });
  const process = terminal.process!;
  terminal.close();
  await until(async () => !(await box.exec(["pgrep", "-f", "^sleep 72001$"])).ok);
  assert.ok(process.length > 0);
});

test("a named terminal stays, and is found again with what it shows", async () => {
  const first = await box.terminal({ name: "main", command: "echo kept; cat" });
  const seen = screen(first);
  await until(() => seen.text.includes("kept"));
  first.close();
  const second = await box.terminal({ name: "main", command: "echo kept; cat" });
  assert.equal(second.process, first.process);
  const again = screen(second);
  await until(() => again.text.includes("kept"));
  second.signal("SIGKILL");
  await again.ended;
  assert.equal(second.exit?.type, "signalled");
});

test("a terminal is a stream of bytes, and ends with its signal", async () => {
  const text = await new Response((await box.terminal({ command: ["printf", "a\\nb"] })).readable).text();
  assert.equal(text, "a\r\nb");
  const abort = new AbortController();
  const terminal = await box.terminal({ command: ["sleep", "72002"], signal: abort.signal });
  const seen = screen(terminal);
  abort.abort(new Error("enough"));
  await assert.rejects(seen.ended, /enough/);
  await until(async () => !(await box.exec(["pgrep", "-f", "^sleep 72002$"])).ok);
});

test("a terminal that cannot start is a typed error", async () => {
  await assert.rejects(box.terminal({ command: ["no-such-program"] }), NotFoundError);
  await assert.rejects(box.terminal({ process: "none" }), NotFoundError);
  await assert.rejects(client({ key: "wrong" }).sandbox(box.id).terminal(), UnauthorizedError);
});
