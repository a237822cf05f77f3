// The answers of clients/vectors.json, without a service: both clients make the same of them.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Cabana, CabanaError } from "../src/index.ts";
import { encode, toWire } from "../src/wire.ts";

interface Reply { status: number; headers?: Record<string, string>; json?: unknown; text?: string; lines?: unknown[]; piece_bytes?: number }
interface Asked { method: string; path: string; json?: unknown }
interface Vector { name: string; call: string; replies: (Reply | "lost")[]; requests: Asked[]; result?: Record<string, unknown>; error?: Record<string, unknown> }

/** What a vector's call is here; its result is compared field by field. */
const CALLS: Record<string, (cabana: Cabana) => Promise<object>> = {
  stat: (cabana) => cabana.sandbox("sbx-a").files.stat("a b"),
  move: async (cabana) => (await cabana.sandbox("sbx-a").files.move("a", "b")) ?? {},
  exec: async (cabana) => {
    const { process, stdout, stderr, exitCode, exit, truncated } = await cabana.sandbox("sbx-a").exec(["cat", "a"]);
    return { process, stdout, stderr, exitCode, exit, truncated };
  },
  spawn: async (cabana) => ({ id: (await cabana.sandbox("sbx-a").exec("serve", { detach: true, name: "web" })).id }),
};

function answer(reply: Reply): Response {
  const { status, headers = {} } = reply;
  const body = encode(bodyOf(reply));
  const size = reply.piece_bytes ?? body.length;
  const pieces = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let start = 0; start < body.length; start += size) controller.enqueue(body.subarray(start, start + size));
      controller.close();
    },
  });
  return new Response(pieces, { status, headers });
}

function bodyOf({ json, text, lines }: Reply): string {
  if (lines !== undefined) return lines.map((line) => (line === "" ? "\n" : `${JSON.stringify(line)}\n`)).join("");
  return text ?? JSON.stringify(json);
}

const vectors = JSON.parse(await readFile(new URL("../../../vectors.json", import.meta.url), "utf8")) as Vector[];
for (const vector of vectors) {
  test(vector.name, async () => {
    const asked: Asked[] = [];
    const replies = [...vector.replies];
    const fetch = async (url: unknown, init: RequestInit = {}) => {
      const json = typeof init.body === "string" ? { json: JSON.parse(init.body) as unknown } : {};
      asked.push({ method: init.method ?? "GET", path: new URL(String(url)).pathname, ...json });
      const reply = replies.shift();
      if (reply === undefined || reply === "lost") throw new TypeError("fetch failed");
      return answer(reply);
    };
    const cabana = new Cabana({ url: "https://cabana.test", key: "k", fetch: fetch as typeof globalThis.fetch, retries: 2 });
    const outcome = await CALLS[vector.call]!(cabana).then((result) => ({ result }), (error: unknown) => ({ error }));
    assert.deepEqual(asked, vector.requests);
    if ("error" in outcome) {
      assert.ok(outcome.error instanceof CabanaError && vector.error !== undefined, String(outcome.error));
      const { code, status, reason, requestId, retryable } = outcome.error;
      assert.deepEqual({ ...toWire({ code, status, reason, requestId, retryable }), ...vector.error }, toWire({ code, status, reason, requestId, retryable }));
    } else {
      const result = toWire(outcome.result);
      assert.ok(vector.result !== undefined, JSON.stringify(result));
      assert.deepEqual({ ...result, ...vector.result }, result);
    }
  });
}
