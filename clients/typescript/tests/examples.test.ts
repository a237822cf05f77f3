import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { KEY, URL_ } from "./service.ts";

const OUTPUT = {
  quickstart: "0 hello from a sandbox\n\n",
  server: "<h1>It works</h1>\n",
  stream: "step 1\nstep 2\nstep 3\n0 building\ndone\n",
  migrated: '{"output":"4\\n","error":"","exitCode":0,"success":true}\n{"content":"Hello, Sandbox!"}\n45\n\n/workspace/empty\nexit 0\n',
};

for (const [name, expected] of Object.entries(OUTPUT)) {
  test(`the example ${name} prints what it is for`, async () => {
    const path = fileURLToPath(new URL(`../examples/${name}.js`, import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [path], { env: { ...process.env, CABANA_URL: URL_, CABANA_API_KEY: KEY } });
    assert.equal(stdout.replace(/step 1\n(step 2\n)?(step 3\n)?/, "step 1\nstep 2\nstep 3\n"), expected);
  });
}

test("the README begins with the example that is run, and docs/migrating.md ends with one", async () => {
  const read = (path: string) => readFile(new URL(`../../${path}`, import.meta.url), "utf8");
  assert.ok((await read("README.md")).includes(await read("examples/quickstart.ts")));
  const page = await read("../../docs/migrating.md");
  const migrated = await read("examples/migrated.ts");
  for (const part of migrated.split(/\n\n(?=\/\*\*)/).slice(1)) {
    const job = part.slice(0, part.indexOf("\n}\n") + 3);
    assert.ok(page.includes(job), job);
  }
});

test("the reference is that of the sources", async () => {
  await promisify(execFile)(process.execPath, [fileURLToPath(new URL("../../scripts/reference.js", import.meta.url)), "--check"]);
});
