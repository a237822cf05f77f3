import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { CodeEvent, Sandbox } from "../src/index.ts";
import { UnprocessableError } from "../src/index.ts";
import { freshSandbox } from "./service.ts";

let box: Sandbox;
let hasPython = false;
before(async () => {
  box = await freshSandbox("code");
  hasPython = (await box.code.list()).kernels!.some((kernel) => kernel.startsWith("python"));
});
after(() => box.delete());

test("a cell shows its value, and the next one knows its variables", async (context) => {
  if (!hasPython) return context.skip("the sandbox has no kernel for Python");
  const first = await box.code.run("x = 6\nprint('printed')\nx * 7");
  assert.deepEqual([first.status, first.text, first.logs.stdout, first.results[0]?.data["text/plain"]], ["ok", "42", "printed\n", "42"]);
  assert.equal((await box.code.run("x + 1")).text, "7");
  const failed = await box.code.run("1 / 0");
  assert.deepEqual([failed.status, failed.error?.name], ["error", "ZeroDivisionError"]);
  const timed = await box.code.run("import time; time.sleep(100)", { timeoutMs: 500 });
  assert.equal(timed.status, "timed_out");
});

test("a cell is heard as it runs, and a context keeps to itself", async (context) => {
  if (!hasPython) return context.skip("the sandbox has no kernel for Python");
  await using kernel = await box.code.create({ name: "own", env: { snake_case: "kept" } });
  const seen: CodeEvent[] = [];
  for await (const event of kernel.run("import os; print(os.environ['snake_case']); 'value'", { stream: true })) seen.push(event);
  assert.deepEqual([seen[0]?.type, seen.at(-1)?.type], ["started", "result"]);
  assert.ok(seen.some((event) => event.type === "stdout" && event.text === "kept\n"));
  assert.ok(seen.some((event) => event.type === "value" && event.data["text/plain"] === "'value'"));
  assert.equal(await kernel.interrupt(), false);
  assert.ok((await kernel.complete("import o", { cursor: 8 })).items.length > 0);
  assert.equal((await kernel.inspect("os")).found, true);
  assert.ok("cells" in ((await kernel.export()).notebook as object));
  assert.equal((await kernel.restart()).executionCount, 0);
  assert.deepEqual((await box.code.list()).items.map(({ name }) => name).filter((name) => name === "own"), ["own"]);
});

test("a language without a kernel is refused with what there is", async () => {
  await assert.rejects(box.code.run("1", { language: "cobol" }), (error: UnprocessableError) => error instanceof UnprocessableError && error.reason === "no_kernel");
});
