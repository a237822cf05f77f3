// More than the memory that may be used, through each lane.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Sandbox } from "../src/index.ts";
import { freshSandbox } from "./service.ts";

const SIZE = 104 << 20;
const PIECE = 1 << 16;
/** What a transfer may hold beside what the process held before it. */
const MEMORY = 32 << 20;

let box: Sandbox;
before(async () => void (box = await freshSandbox("large")));
after(() => box.delete());

/** Content that is made as it is read. */
function content(): ReadableStream<Uint8Array> {
  let left = SIZE;
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      if (left === 0) return controller.close();
      controller.enqueue(new Uint8Array(PIECE).fill(97));
      left -= PIECE;
    },
  }, { highWaterMark: 0 });
}

/** Reads all of it, and what the process holds at most meanwhile. */
async function drain(pieces: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const piece of pieces) bytes += piece.length;
  return bytes;
}

// What is no longer used is collected before it is counted.
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Runs a transfer; fails if the process holds much of it. */
async function inConstantMemory<T>(transfer: () => Promise<T>): Promise<T> {
  const held = () => {
    collect();
    const { external, heapUsed } = process.memoryUsage();
    return external + heapUsed;
  };
  const before = held();
  let most = 0;
  const timer = setInterval(() => (most = Math.max(most, held() - before)), 200);
  try {
    return await transfer();
  } finally {
    clearInterval(timer);
    assert.ok(most < MEMORY, `${most >> 20} MiB`);
  }
}

test("files in and out", async () => {
  const written = await inConstantMemory(() => box.files.write("large", content()));
  assert.equal(written.sizeBytes, SIZE);
  assert.equal(await inConstantMemory(async () => drain(await box.files.stream("large"))), SIZE);
});

test("archives in and out", async () => {
  await box.exec("mkdir -p tree && head -c 109051904 /dev/zero > tree/a");
  const { entries } = await inConstantMemory(async () => box.files.extract("copied", await box.files.archive("tree")));
  assert.ok(entries >= 1);
  assert.equal((await box.files.stat("copied/a")).sizeBytes, SIZE);
});

test("a command's input and output", async () => {
  assert.equal((await inConstantMemory(() => box.exec("wc -c", { stdin: content() }))).stdout.trim(), String(SIZE));
  assert.equal(await inConstantMemory(() => drain(box.exec("head -c 109051904 /dev/zero | tr '\\0' a", { stream: true }).stdout())), SIZE);
});

test("a terminal's output", async () => {
  const terminal = await box.terminal({ command: "stty -opost; head -c 109051904 /dev/zero | tr '\\0' a" });
  assert.equal(await inConstantMemory(() => drain(terminal)), SIZE);
});
