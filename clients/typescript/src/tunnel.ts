import { connectionLost } from "./errors.ts";
import { binaryFrame, type Frame } from "./frames.ts";
import { begin, closing, ended, failureOf, ID, openSocket } from "./socket.ts";
import type { Transport } from "./transport.ts";
import type { CallOptions, ResponseOf } from "./types.ts";
import { fromWire } from "./wire.ts";

/** Bytes that each side sends beyond what the other has taken. */
const WINDOW_BYTES = 1 << 20;
/** The most bytes that are sent at once. */
const PIECE_BYTES = 64 << 10;

export interface ConnectOptions extends CallOptions {
  /** The host that the port is on, as the sandbox sees it. Default: the sandbox itself. */
  host?: string;
}

/** How a connection ended: `reset` where the other side broke it off. */
export type ConnectionEnd = Pick<ResponseOf<"port.connect">, "reason" | "sentBytes" | "receivedBytes">;

/**
 * A connection to a port or a Unix socket of a sandbox: raw bytes of any protocol, both ways.
 *
 * ```ts
 * await using tunnel = await box.ports.connect(6379);
 * const writer = tunnel.writable.getWriter();
 * await writer.write(new TextEncoder().encode("PING\r\n"));
 * for await (const bytes of tunnel.readable) { … }
 * ```
 *
 * Each direction ends by itself, and a side that does not read holds up the other one. A connection that breaks is not made again: its streams fail.
 */
export class Tunnel {
  /** What comes. It fails where the connection breaks off. Leaving its loop closes the connection. */
  readonly readable: ReadableStream<Uint8Array>;
  /** What is sent. Closing it says that nothing more comes; the other direction goes on. */
  readonly writable: WritableStream<Uint8Array>;
  /** How the connection ended, once both sides have. Rejects where it broke, and where it was closed before. */
  readonly closed: Promise<ConnectionEnd>;
  readonly #left = new AbortController();
  readonly #pieces: Uint8Array[] = [];
  #socket: WebSocket | undefined;
  #hasEnded = false;
  #error: unknown;
  #end: ConnectionEnd | undefined;
  #sent = 0;
  #sentAndTaken = 0;
  #taken = 0;
  #acknowledged = 0;
  #waiting: (() => void)[] = [];

  private constructor() {
    this.readable = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        this.#acknowledge();
        await this.#until(() => this.#pieces.length > 0 || this.#hasEnded);
        const piece = this.#pieces.shift();
        if (piece) {
          this.#taken += piece.length;
          controller.enqueue(piece);
        } else if (this.#hasEnded) {
          controller.close();
        } else {
          throw this.#failure();
        }
      },
      cancel: () => this.close(),
    }, { highWaterMark: 0 });
    this.writable = new WritableStream<Uint8Array>({
      write: (bytes) => this.#write(bytes),
      close: () => this.#input({ type: "eof" }),
      abort: () => this.close(),
    });
    this.closed = this.#until(() => this.#end !== undefined).then(() => this.#end ?? Promise.reject(this.#failure()));
    // It is nobody's duty to wait for it.
    this.closed.catch(() => {});
  }

  /** Opens a connection; resolves once the other side has accepted it. */
  static async open(transport: Transport, sandbox: string, target: number | string, options: ConnectOptions): Promise<Tunnel> {
    const { signal, ...request } = options;
    signal?.throwIfAborted();
    const tunnel = new Tunnel();
    const left = tunnel.#left.signal;
    signal?.addEventListener("abort", () => tunnel.#leave(signal.reason), { once: true, signal: left });
    try {
      const socket = await openSocket(transport, sandbox, left);
      tunnel.#socket = socket;
      void ended(socket, left).then((code) => tunnel.#leave(closing(code)));
      const place = typeof target === "number" ? { port: target } : { path: target };
      await begin(socket, "port.connect", { ...place, ...request, windowBytes: WINDOW_BYTES }, (frame) => tunnel.#hear(frame));
      return tunnel;
    } catch (error) {
      tunnel.close();
      signal?.throwIfAborted();
      throw error;
    }
  }

  /** Closes the connection, both ways. */
  close(): void {
    this.#leave(undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** Ends it on this side, unless it has ended; what came before is still read. */
  #leave(error: unknown): void {
    if (!this.#left.signal.aborted) this.#error = error;
    this.#left.abort();
    this.#socket?.close(1000);
    this.#wake();
  }

  #hear(frame: Frame): void {
    const { type, payload, bytes } = frame;
    if (type === "result") {
      this.#end = fromWire<ConnectionEnd>(payload);
      this.#leave(undefined);
    } else if (type === "error") {
      this.#leave(failureOf(frame));
    } else if (bytes !== undefined) {
      this.#pieces.push(bytes);
    } else if (payload?.["type"] === "ack") {
      this.#sentAndTaken = payload["offset"] as number;
    } else if (payload?.["type"] === "eof") {
      this.#hasEnded = true;
    }
    this.#wake();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    const room = () => WINDOW_BYTES - (this.#sent - this.#sentAndTaken);
    for (let start = 0; start < bytes.length; ) {
      await this.#until(() => room() > 0);
      if (this.#left.signal.aborted) throw this.#failure();
      const piece = bytes.subarray(start, start + Math.min(PIECE_BYTES, room()));
      this.#socket?.send(binaryFrame({ type: "input", id: ID, payload: { type: "data", bytes: "" } }, piece));
      this.#sent += piece.length;
      start += piece.length;
    }
  }

  /** Says how much was read, a quarter of the window at a time. */
  #acknowledge(): void {
    if (this.#taken - this.#acknowledged < WINDOW_BYTES / 4) return;
    this.#acknowledged = this.#taken;
    this.#input({ type: "ack", offset: this.#taken });
  }

  #input(payload: object): void {
    if (!this.#left.signal.aborted) this.#socket?.send(JSON.stringify({ type: "input", id: ID, payload }));
  }

  /** Why there is nothing more. */
  #failure(): unknown {
    if (this.#error !== undefined) return this.#error;
    const end = this.#end;
    const message = end === undefined ? "the connection was closed" : `the other side broke the connection off after ${end.receivedBytes} bytes`;
    return connectionLost(undefined, message);
  }

  async #until(ready: () => boolean): Promise<void> {
    while (!ready() && !this.#left.signal.aborted) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
