// The sandbox client of the OpenAI Agents SDK for JavaScript (`@openai/agents-extensions`), unmodified, against the bridge. The argument is the
// directory of its packages.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const { CloudflareSandboxClient } = createRequire(`${process.argv[2]}/`)("@openai/agents-extensions/sandbox/cloudflare");
const { CABANA_TEST_URL: workerUrl, CABANA_TEST_API_KEY: apiKey } = process.env;
const client = new CloudflareSandboxClient({ workerUrl, apiKey, exposedPorts: [3000], timeoutMs: 30_000 });
const session = await client.create();

const output = await session.execCommand({ cmd: "echo out; echo é >&2; pwd" });
assert.match(output, /out/);
assert.match(output, /é/);
assert.match(output, /\/workspace/);
assert.match(await session.execCommand({ cmd: "exit 7" }), /7/);
const many = await session.execCommand({ cmd: "head -c 300000 /dev/zero | tr '\\0' é | tail -c 9; echo end" });
assert.match(many, /end/);
console.log("commands: passed");

await session.createEditor().createFile({ type: "create_file", path: "made/odd name%25.txt", diff: "+one\n+two\n" });
assert.equal(new TextDecoder().decode(await session.readFile({ path: "made/odd name%25.txt" })).trim(), "one\ntwo");
assert.ok(await session.pathExists("made"));
assert.ok(!(await session.pathExists("none")));
await assert.rejects(session.readFile({ path: "none" }));
console.log("files: passed");

const started = await session.execCommand({ cmd: "read line; echo got $line; stty size", tty: true, yieldTimeMs: 500 });
const id = Number(/session ID (\d+)/i.exec(started)?.[1]);
assert.ok(id, started);
let shown = await session.writeStdin({ sessionId: id, chars: "typed\n", yieldTimeMs: 1000 });
for (let round = 0; round < 60 && !/24 80/.test(shown); round += 1) {
  shown += await session.writeStdin({ sessionId: id, chars: "", yieldTimeMs: 500 });
}
assert.match(shown, /got typed/);
console.log("terminals: passed");

const saved = await session.persistWorkspace();
const other = await client.create();
await other.hydrateWorkspace(saved);
assert.match(await other.execCommand({ cmd: "cat 'made/odd name%25.txt'" }), /one/);
await other.delete();
assert.ok(await session.running());
await session.delete();
console.log("workspaces: passed");
