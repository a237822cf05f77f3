import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** The most that the client may cost a page, compressed. */
const LIMIT = 15 << 10;

test("the client fits into its budget, and needs nothing of Node", async () => {
  for (const entry of ["index", "compat/index"]) {
    const entryPoint = fileURLToPath(new URL(`../src/${entry}.js`, import.meta.url));
    const { outputFiles } = await build({ entryPoints: [entryPoint], bundle: true, minify: true, format: "esm", platform: "neutral", write: false });
    const size = gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
    assert.ok(size <= LIMIT, `${entry}: ${size} bytes`);
  }
});
