import assert from "node:assert/strict";
import { test } from "node:test";
import { Cabana, CabanaError, InterruptedError, NotReadyError, TooManyRequestsError, UnauthorizedError } from "../src/index.ts";
import { LineSplitter } from "../src/lines.ts";
import { Kept } from "../src/output.ts";
import { decode, encode, fromBase64, fromWire, toBase64, toWire } from "../src/wire.ts";

type Reply = Response | Error | (() => Response | Error);

/** A service that answers with these, in their order, and what it was asked. */
function scripted(...replies: Reply[]): { cabana: Cabana; asked: { method: string; url: string; body: unknown; headers: Headers }[] } {
  const asked: { method: string; url: string; body: unknown; headers: Headers }[] = [];
  const fetch = async (url: unknown, init: RequestInit = {}) => {
    asked.push({ method: init.method ?? "GET", url: String(url), body: init.body, headers: new Headers(init.headers) });
    const reply = replies.length > 1 ? replies.shift()! : replies[0]!;
    const answer = typeof reply === "function" ? reply() : reply instanceof Response ? reply.clone() : reply;
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { cabana: new Cabana({ url: "https://cabana.test/", key: "k", fetch: fetch as typeof globalThis.fetch, retries: 2 }), asked };
}

const refusal = (status: number, code: string, details?: object, headers: Record<string, string> = {}) =>
  Response.json({ error: { code, message: "no", retryable: status === 429 || status === 503, details }, request_id: "r1" }, { status, headers });

const lost = () => new TypeError("fetch failed");
const ok = () => Response.json({});

test("what was not carried out is repeated, whatever it is", async () => {
  for (const error of [refusal(503, "container_not_ready"), refusal(429, "too_many_requests", { retry_after_ms: 1 })]) {
    const { cabana, asked } = scripted(error, error.clone(), ok);
    await cabana.sandbox("sbx-a").files.move("a", "b");
    assert.equal(asked.length, 3);
    assert.deepEqual(asked.map(({ body }) => body), Array(3).fill(`{"from":"a","to":"b"}`));
  }
});

test("repeats come to an end", async () => {
  const { cabana, asked } = scripted(refusal(503, "container_not_ready"));
  await assert.rejects(cabana.sandbox("sbx-a").start(), NotReadyError);
  assert.equal(asked.length, 3);
});

test("a lost answer is asked for again only where that does no harm", async () => {
  const box = (cabana: Cabana) => cabana.sandbox("sbx-a");
  for (const [call, requests] of [
    [(cabana: Cabana) => box(cabana).files.stat("a"), 2],
    [(cabana: Cabana) => box(cabana).files.write("a", "x"), 2],
    [(cabana: Cabana) => box(cabana).delete(), 2],
    [(cabana: Cabana) => cabana.create({ name: "a" }), 2],
    [(cabana: Cabana) => box(cabana).exec("a", { detach: true, name: "n" }), 2],
    [(cabana: Cabana) => cabana.create(), 1],
    [(cabana: Cabana) => box(cabana).exec("a"), 1],
    [(cabana: Cabana) => box(cabana).exec("a", { detach: true }), 1],
    [(cabana: Cabana) => box(cabana).files.move("a", "b"), 1],
    [(cabana: Cabana) => box(cabana).files.write("a", "x", { ifMatch: "*" }), 1],
    [(cabana: Cabana) => box(cabana).files.write("a", new Blob(["x"]).stream()), 1],
  ] as const) {
    const { cabana, asked } = scripted(lost(), ok);
    const outcome = await call(cabana).then(() => "ok", (error: CabanaError) => error);
    assert.equal(asked.length, requests, String(call));
    if (requests === 1) assert.ok(outcome instanceof InterruptedError && outcome.code === "connection_lost" && /broke: fetch failed/.test(outcome.message));
  }
});

test("a body that breaks off is a lost answer", async () => {
  const broken = () => new Response(new ReadableStream({ pull: (controller) => controller.error(new TypeError("terminated")) }));
  const { cabana, asked } = scripted(broken, ok);
  await cabana.sandbox("sbx-a").files.stat("a");
  assert.equal(asked.length, 2);
});

test("a failure may come with the status of a success", async () => {
  const late = () => new Response(`   {"error":{"code":"too_many_requests","message":"full","retryable":false},"request_id":"r9"}`);
  const { cabana } = scripted(late);
  await assert.rejects(cabana.sandbox("sbx-a").files.stat("a"), (error: TooManyRequestsError) => error.requestId === "r9" && error instanceof TooManyRequestsError);
});

test("an answer that is not of the service is an error with its status", async () => {
  const { cabana } = scripted(new Response("<html>", { status: 502, headers: { "x-request-id": "r2" } }));
  await assert.rejects(cabana.health(), (error: CabanaError) => error.status === 502 && error.requestId === "r2" && error.code === "agent_unavailable");
});

test("the service's pause is kept, in its header too", async () => {
  const { cabana } = scripted(refusal(429, "too_many_requests", undefined, { "retry-after": "2" }));
  const abort = AbortSignal.timeout(20);
  await assert.rejects(cabana.health({ signal: abort }), { name: "TimeoutError" });
  const unreplayable = new Blob(["x"]).stream();
  await assert.rejects(cabana.sandbox("sbx-a").files.write("a", unreplayable), (error: CabanaError) => error.retryAfterMs === 2000);
});

test("credentials go in their header, and names in the wire's spelling", async () => {
  const { cabana, asked } = scripted(ok);
  await cabana.create({ name: "a", sleepAfterMs: 1000, env: { camelCase: "1" }, labels: { aB: "c" } });
  assert.equal(asked[0]?.url, "https://cabana.test/v1/sandboxes");
  assert.equal(asked[0]?.headers.get("authorization"), "Bearer k");
  assert.equal(asked[0]?.body, `{"name":"a","sleep_after_ms":1000,"env":{"camelCase":"1"},"labels":{"aB":"c"}}`);
  const unauthorized = scripted(refusal(401, "unauthorized"));
  await assert.rejects(unauthorized.cabana.health(), (error: UnauthorizedError) => error instanceof UnauthorizedError && /key/.test(error.nextStep!));
});

test("a client without url or key says so", () => {
  assert.throws(() => new Cabana({ url: "", key: "k" }), /url.*CABANA_URL/);
  assert.throws(() => new Cabana({ url: "https://a", key: "" }), /key.*CABANA_API_KEY/);
});

test("lines are found wherever the pieces end", () => {
  const bytes = encode(`{"a":"é"}\n\n{"b":1}\nrest`);
  for (let size = 1; size <= bytes.length; size += 1) {
    const splitter = new LineSplitter();
    const lines: string[] = [];
    for (let start = 0; start < bytes.length; start += size) lines.push(...splitter.push(bytes.subarray(start, start + size)));
    assert.deepEqual(lines, [`{"a":"é"}`, `{"b":1}`]);
  }
});

test("output is kept whole up to its limit, and at both ends beyond it", () => {
  for (const size of [1, 3, 7, 100]) {
    const text = "0123456789".repeat(10);
    for (const limit of [100, 1000]) {
      const kept = new Kept(limit);
      for (let start = 0; start < text.length; start += size) kept.push(encode(text.slice(start, start + size)));
      assert.deepEqual([decode(kept.bytes()), kept.truncated], [text, false]);
    }
    const kept = new Kept(11);
    for (let start = 0; start < text.length; start += size) kept.push(encode(text.slice(start, start + size)));
    assert.deepEqual([decode(kept.bytes()), kept.truncated], ["012345\n[89 bytes omitted]\n56789", true]);
  }
});

test("bytes and names survive the wire", () => {
  const all = Uint8Array.from({ length: 70_000 }, (_, index) => index);
  assert.deepEqual(fromBase64(toBase64(all)), all);
  assert.deepEqual(toWire({ content: new Uint8Array([255]), ifMatch: undefined, lines: [{ fromLine: 1 }] }), { content: { base64: "/w==" }, lines: [{ from_line: 1 }] });
  assert.deepEqual(fromWire({ size_bytes: 1, env: { A_b: 1 }, items: [{ a_b: null }] }), { sizeBytes: 1, env: { A_b: 1 }, items: [{ aB: null }] });
});

test("an error in the middle of a stream is thrown, with its code", async () => {
  const lines = `{"type":"started","process":"p-1","pid":1}\n{"type":"stdout","offset":0,"bytes":"a"}\n{"type":"error","code":"too_many_requests","message":"full","retryable":true,"details":{"reason":"memory"}}\n`;
  const streams = scripted(() => new Response(lines)).cabana.sandbox("sbx-a");
  const seen: string[] = [];
  await assert.rejects(async () => {
    for await (const event of streams.exec("a", { stream: true })) seen.push(event.type);
  }, (error: TooManyRequestsError) => error instanceof TooManyRequestsError && error.reason === "memory");
  assert.deepEqual(seen, ["started", "stdout"]);
  await assert.rejects(streams.git.clone("u", { onProgress: () => {} }), TooManyRequestsError);
  await assert.rejects(async () => {
    for await (const event of streams.files.watch()) seen.push(event.type);
  }, TooManyRequestsError);
});
