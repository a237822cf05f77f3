// Raw connections to ports and Unix sockets of a sandbox.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ConflictError, InterruptedError, InvalidRequestError, NotFoundError, type Sandbox, type Tunnel } from "../src/index.ts";
import { client, freshSandbox, Proxy, until } from "./service.ts";

/** What listens in the sandbox: an echo until its client has sent all, a sink, a source, and one that resets. */
const SERVERS = `
import os, socket, struct, threading
def echo(client):
    while piece := client.recv(65536): client.sendall(piece)
    client.sendall(b"end")
def sink(client):
    size = 0
    while piece := client.recv(65536): size += len(piece)
    client.sendall(str(size).encode())
def source(client):
    for number in range(256): client.sendall(bytes([number]) * 65536)
def reset(client):
    client.sendall(b"begun")
    client.recv(1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
def serve(listener, program):
    while True:
        client, _ = listener.accept()
        def run(client=client):
            program(client)
            client.close()
        threading.Thread(target=run).start()
for port, program in enumerate((echo, sink, source, reset), 7001):
    threading.Thread(target=serve, args=(socket.create_server(("127.0.0.1", port)), program)).start()
listener = socket.socket(socket.AF_UNIX)
listener.bind("/tmp/echo.sock")
listener.listen()
print("ready", flush=True)
serve(listener, echo)
`;
const [ECHO, SINK, SOURCE, RESET] = [7001, 7002, 7003, 7004];

let box: Sandbox;
before(async () => {
  box = await freshSandbox("tunnel");
  await box.files.write("servers.py", SERVERS);
  const servers = await box.exec(["python3", "servers.py"], { detach: true });
  await servers.wait({ log: "ready" });
});
after(() => box.delete());

const all = async (tunnel: Tunnel): Promise<Uint8Array> => new Uint8Array(await new Response(tunnel.readable).arrayBuffer());

async function send(tunnel: Tunnel, ...pieces: Uint8Array[]): Promise<void> {
  const writer = tunnel.writable.getWriter();
  for (const piece of pieces) await writer.write(piece);
  await writer.close();
}

test("all bytes pass, both ways, and each side ends by itself", async () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
  for (const target of [ECHO, "/tmp/echo.sock"]) {
    await using tunnel = await box.ports.connect(target);
    await send(tunnel, bytes);
    assert.deepEqual(await all(tunnel), Uint8Array.from([...bytes, ...new TextEncoder().encode("end")]));
    assert.deepEqual(await tunnel.closed, { reason: "closed", sentBytes: 256, receivedBytes: 259 });
  }
});

test("more than a window goes each way", async () => {
  await using sink = await box.ports.connect(SINK, { host: "localhost" });
  const piece = new Uint8Array(3_000_000);
  const [, answer] = await Promise.all([send(sink, piece, piece), new Response(sink.readable).text()]);
  assert.equal(answer, "6000000");
  await using source = await box.ports.connect(SOURCE);
  let size = 0;
  for await (const bytes of source.readable) {
    assert.ok(bytes.every((byte, index) => byte === Math.floor((size + index) / 65536)));
    size += bytes.length;
  }
  assert.equal(size, 256 * 65536);
});

test("a connection that is broken off fails, and is no end", async () => {
  await using tunnel = await box.ports.connect(RESET);
  const reader = tunnel.readable.getReader();
  assert.equal(new TextDecoder().decode((await reader.read()).value), "begun");
  const writer = tunnel.writable.getWriter();
  await writer.write(new Uint8Array(1));
  await assert.rejects(reader.read(), (error: InterruptedError) => error instanceof InterruptedError && /after 5 bytes/.test(error.message));
  assert.equal((await tunnel.closed).reason, "reset");
  await assert.rejects(writer.write(new Uint8Array(1)), InterruptedError);
});

test("leaving a connection closes it", async () => {
  const established = ["grep", "-cE", "^ *[0-9]+: [0-9A-F]+:1B59 [0-9A-F]+:[0-9A-F]+ 01 ", "/proc/net/tcp"];
  const open = async () => (await box.exec(established)).stdout.trim();
  const left = await box.ports.connect(ECHO);
  assert.notEqual(await open(), "0");
  left.close();
  await assert.rejects(left.closed, InterruptedError);
  const abort = new AbortController();
  const aborted = await box.ports.connect(ECHO, { signal: abort.signal });
  abort.abort(new Error("enough"));
  await assert.rejects(all(aborted), /enough/);
  const read = await box.ports.connect(ECHO);
  await read.readable.cancel();
  await until(async () => (await open()) === "0");
});

test("a connection whose network fails is an error", async () => {
  const proxy = await Proxy.open();
  try {
    const tunnel = await client({ url: proxy.url }).sandbox(box.id).ports.connect(ECHO);
    proxy.cut();
    await assert.rejects(all(tunnel), (error: InterruptedError) => error.code === "connection_lost");
  } finally {
    proxy.close();
  }
});

test("a connection that cannot be made is a typed error", async () => {
  await assert.rejects(box.ports.connect(7999), (error: ConflictError) => error instanceof ConflictError && error.reason === "connection_refused");
  await assert.rejects(box.ports.connect("/tmp/none.sock"), (error: NotFoundError) => error instanceof NotFoundError && error.reason === "no_socket");
  await assert.rejects(box.ports.connect(0), InvalidRequestError);
});
