// Connections that are cut on their way.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { InterruptedError, type Sandbox } from "../src/index.ts";
import { client, freshSandbox, Proxy, until } from "./service.ts";

let box: Sandbox;
let proxy: Proxy;
/** The same sandbox, behind a network that breaks. */
let far: Sandbox;
before(async () => {
  box = await freshSandbox("broken");
  proxy = await Proxy.open();
  far = client({ url: proxy.url }).sandbox(box.id);
});
after(async () => {
  proxy.close();
  await box.delete();
});

test("a detached process is heard to its end, each byte once, however often the connection breaks", async () => {
  const process = await far.exec("for i in $(seq 1 200000); do echo line $i; done", { detach: true, name: "lines" });
  const { connections } = proxy;
  proxy.cutAfter = 300_000;
  let text = "";
  let next = 0;
  for await (const event of process) {
    assert.notEqual(event.type, "gap");
    if (event.type !== "stdout") continue;
    assert.equal(event.offset, next);
    next += event.bytes.length;
    text += event.text;
  }
  proxy.cutAfter = Infinity;
  assert.equal(text, Array.from({ length: 200_000 }, (_, index) => `line ${index + 1}\n`).join(""));
  assert.ok(proxy.connections - connections > 3, `${proxy.connections - connections} connections`);
});

test("a download goes on where it broke off", async () => {
  await box.exec("head -c 3000000 /dev/urandom > random");
  const expected = await box.files.bytes("random");
  proxy.cutAfter = 700_000;
  assert.deepEqual(await far.files.bytes("random"), expected);
  assert.deepEqual(await far.files.bytes("random", { offset: 1_000_001, length: 1_500_000 }), expected.subarray(1_000_001, 2_500_001));
  proxy.cutAfter = Infinity;
});

test("an upload in parts goes on with the part that broke off", async () => {
  const content = new Uint8Array(2_000_000).map((_, index) => index * 7);
  let cut = false;
  const source = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(content.subarray(0, 1_200_000)),
    pull(controller) {
      if (!cut) proxy.cut();
      cut = true;
      controller.enqueue(content.slice(1_200_000));
      controller.close();
    },
  });
  await far.files.write("uploaded", source, { partBytes: 500_000 });
  assert.deepEqual(await box.files.bytes("uploaded"), content);
});

test("a command whose client lost its connection is ended, and the client is told", async () => {
  const execution = far.exec("echo up; sleep 71001", { stream: true });
  const events = execution[Symbol.asyncIterator]();
  let seen = "";
  while (!seen.includes("up")) {
    const { value } = await events.next();
    if (value?.type === "stdout") seen += value.text;
  }
  proxy.cut();
  await assert.rejects(events.next(), (error: InterruptedError) => error instanceof InterruptedError && /reconnect/.test(error.message));
  await until(async () => !(await box.exec(["pgrep", "-f", "^sleep 71001$"])).ok);
});

test("a command that reconnects is heard to its end, and ends with its caller", async () => {
  proxy.cutAfter = 300_000;
  const { stdout, exitCode, truncated } = await far.exec("seq 1 100000; exit 7", { reconnect: true, maxOutputBytes: 1 << 20 });
  proxy.cutAfter = Infinity;
  assert.equal(stdout, Array.from({ length: 100_000 }, (_, index) => `${index + 1}\n`).join(""));
  assert.deepEqual([exitCode, truncated], [7, false]);
  for await (const event of far.exec("echo up; sleep 71002", { reconnect: true, stream: true })) {
    if (event.type === "stdout") break;
  }
  await until(async () => !(await box.exec(["pgrep", "-f", "^sleep 71002$"])).ok);
  assert.equal((await far.exec("sleep 100", { reconnect: true, timeoutMs: 200 })).exit?.type, "timed_out");
});

test("a request whose answer is lost is an error that says so", async () => {
  const waiting = far.exec("sleep 1; true", { detach: true }).then(async (process) => {
    const answer = process.wait("exit");
    proxy.cut();
    return answer;
  });
  assert.equal((await waiting).type, "exited", "waiting does no harm, so it is repeated");
  await far.files.write("one", "1");
  const unreachable = client({ url: "http://127.0.0.1:1", retries: 0 }).sandbox(box.id);
  await assert.rejects(unreachable.files.move("one", "two"), (error: InterruptedError) => error.code === "connection_lost" && error.status === 0);
});

test("changes of state are followed over broken connections", async () => {
  const states: string[] = [];
  const followed = (async () => {
    for await (const { state } of far.follow()) {
      states.push(state);
      proxy.cut();
      if (state === "sleeping") return;
    }
  })();
  await until(() => states.includes("running"));
  await box.stop();
  await followed;
  assert.ok(states.indexOf("sleeping") > states.indexOf("running"), states.join());
  assert.equal(new Set(states).size <= states.length, true);
});

test("a terminal goes on from the last byte", async () => {
  const terminal = await far.terminal({ command: "stty -echo; while read line; do echo got $line; done", name: "kept" });
  let text = "";
  const read = (async () => {
    const decoder = new TextDecoder();
    for await (const bytes of terminal) text += decoder.decode(bytes, { stream: true });
  })();
  for (let round = 1; round <= 3; round += 1) {
    terminal.write(`${round}\n`);
    await until(() => text.includes(`got ${round}\r\n`));
    proxy.cut();
    await until(async () => (await box.processes.get("kept").info()).exit == null);
  }
  terminal.write("typed while away\n");
  await until(() => text.includes("got typed while away"));
  terminal.write("\x04");
  await read;
  assert.deepEqual(terminal.exit, { type: "exited", code: 0 });
  assert.equal(text.match(/got 1\r\n/g)?.length, 1);
  assert.deepEqual(text.match(/got \w+/g), ["got 1", "got 2", "got 3", "got typed"]);
});
