import { CabanaError, connectionLost } from "./errors.ts";
import { binaryFrame, type Frame } from "./frames.ts";
import { begin, ended, ID, openSocket } from "./socket.ts";
import { backoff, pause, type Transport } from "./transport.ts";
import type { CallOptions, RequestOf, Schema } from "./types.ts";
import { encode, fromWire } from "./wire.ts";

/** How long a lost socket is tried again: for as long as the service keeps the command for its caller. */
const RECONNECT_MS = 30_000;
/** Output that waits for its reader, at most. */
const BUFFER_BYTES = 16 << 20;

export interface TerminalOptions extends Pick<RequestOf<"exec">, "cwd" | "env" | "user" | "session" | "timeoutMs">, CallOptions {
  /** What runs on it. Default: bash. */
  command?: string | string[];
  cols?: number;
  rows?: number;
  /** Finds the terminal of this name, or starts it. It outlives its connection; without a name it ends with it. */
  name?: string;
  /** Attaches to this process instead of starting one. */
  process?: string;
}

/**
 * A terminal over a WebSocket, made for xterm.js:
 *
 * ```ts
 * xterm.onData((text) => terminal.write(text));
 * xterm.onResize(({ cols, rows }) => terminal.resize(cols, rows));
 * for await (const bytes of terminal) xterm.write(bytes);
 * ```
 *
 * A lost connection is made again, and goes on from the next byte.
 */
export class Terminal implements AsyncIterable<Uint8Array> {
  readonly #transport: Transport;
  readonly #sandbox: string;
  readonly #signal: AbortSignal | undefined;
  readonly #closed = new AbortController();
  readonly #waiting: Uint8Array[] = [];
  readonly #unsent: (() => void)[] = [];
  #waitingBytes = 0;
  #wake: () => void = () => {};
  #socket: WebSocket | undefined;
  #process: string | undefined;
  #next = 0;
  #end: Schema<"Exit"> | null | undefined;
  #error: unknown;
  #size: { cols: number; rows: number };

  private constructor(transport: Transport, sandbox: string, options: TerminalOptions) {
    this.#transport = transport;
    this.#sandbox = sandbox;
    this.#signal = options.signal;
    this.#size = { cols: options.cols ?? 80, rows: options.rows ?? 24 };
  }

  /** Starts a terminal, or attaches to one; resolves once it runs. */
  static async open(transport: Transport, sandbox: string, options: TerminalOptions): Promise<Terminal> {
    const terminal = new Terminal(transport, sandbox, options);
    const { signal, command = ["bash"], cols: _, rows: __, process, ...request } = options;
    if (process !== undefined) {
      terminal.#process = process;
    } else if (options.name !== undefined) {
      const exec = { command, tty: terminal.#size, detach: true, ...request };
      terminal.#process = (await transport.operation<{ process: string }>(sandbox, "exec", exec, { signal }, true)).process;
    }
    signal?.addEventListener("abort", () => terminal.close(), { once: true, signal: terminal.#closed.signal });
    if (terminal.#process === undefined) await terminal.#connect("exec", { command, tty: terminal.#size, ...request });
    else await terminal.#connect("process.attach", { process: terminal.#process, screen: true });
    void terminal.#keep();
    return terminal;
  }

  /** The id of its process. */
  get process(): string | undefined {
    return this.#process;
  }

  /** How its command ended; null where that is not known, undefined while it runs. */
  get exit(): Schema<"Exit"> | null | undefined {
    return this.#end;
  }

  /** Types on it. While the connection is being made again, what is typed waits. */
  write(data: string | Uint8Array): void {
    const bytes = typeof data === "string" ? encode(data) : data;
    this.#send(() => binaryFrame({ type: "input", id: ID, payload: { type: "stdin", bytes: "" } }, bytes));
  }

  /** Tells it its size. */
  resize(cols: number, rows: number): void {
    this.#size = { cols, rows };
    this.#send(() => JSON.stringify({ type: "input", id: ID, payload: { type: "resize", cols, rows } }));
  }

  /** Signals what runs on it. */
  signal(signal: string): void {
    this.#send(() => JSON.stringify({ type: "input", id: ID, payload: { type: "signal", signal } }));
  }

  /** Leaves it. One without a name ends, with everything that runs on it. */
  close(): void {
    this.#closed.abort();
    this.#socket?.close(1000);
    this.#wake();
  }

  /** What appears on it, from the first byte to its end. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    try {
      for (;;) {
        for (let bytes = this.#waiting.shift(); bytes; bytes = this.#waiting.shift()) {
          this.#waitingBytes -= bytes.length;
          yield bytes;
        }
        if (this.#error !== undefined) throw this.#error;
        this.#signal?.throwIfAborted();
        if (this.#end !== undefined || this.#closed.signal.aborted) return;
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.close();
    }
  }

  /** What appears on it, as a stream. */
  get readable(): ReadableStream<Uint8Array> {
    const pieces = this[Symbol.asyncIterator]();
    return new ReadableStream<Uint8Array>({
      async pull(controller) {
        const { done, value } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: () => this.close(),
    }, { highWaterMark: 0 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  #send(frame: () => string | Uint8Array<ArrayBuffer>): void {
    if (this.#end !== undefined || this.#closed.signal.aborted) return;
    if (this.#socket?.readyState === 1) this.#socket.send(frame());
    else this.#unsent.push(() => this.#socket?.send(frame()));
  }

  /** Opens a socket, sends the request, and hears of its first event. */
  async #connect(name: string, request: object): Promise<void> {
    this.#socket = await openSocket(this.#transport, this.#sandbox, this.#closed.signal);
    await begin(this.#socket, name, request, (frame) => this.#hear(frame));
    for (const send of this.#unsent.splice(0)) send();
  }

  #hear({ type, payload, bytes }: Frame): void {
    if (type === "result") {
      this.#end = fromWire<{ exit?: Schema<"Exit"> }>(payload).exit ?? null;
      this.#closed.abort();
      this.#socket?.close(1000);
    } else if (type === "error") {
      // On the way to another connection this is the socket's end, and not the terminal's.
      this.#socket?.close(1000);
    } else if (payload?.["type"] === "started") {
      this.#process = payload["process"] as string;
    } else if (bytes !== undefined) {
      this.#next = (payload?.["offset"] as number) + (payload?.["type"] === "screen" ? 0 : bytes.length);
      this.#waiting.push(bytes);
      this.#waitingBytes += bytes.length;
      // Nobody reads: the process is left until somebody does, so that nothing piles up here.
      if (this.#waitingBytes > BUFFER_BYTES) this.#socket?.close(1000);
    }
    this.#wake();
  }

  /** Connects again whenever the socket ends before the terminal. */
  async #keep(): Promise<void> {
    try {
      while (!this.#closed.signal.aborted) {
        await ended(this.#socket!, this.#closed.signal);
        if (this.#closed.signal.aborted) return;
        await this.#reconnect();
      }
    } catch (error) {
      if (!this.#closed.signal.aborted) this.#error = error;
    } finally {
      this.#wake();
    }
  }

  async #reconnect(): Promise<void> {
    const deadline = Date.now() + RECONNECT_MS;
    for (let attempt = 0; ; attempt += 1) {
      try {
        while (this.#waitingBytes > BUFFER_BYTES / 2) await pause(50, this.#closed.signal);
        await this.#connect("process.attach", { process: this.#process ?? "", from: this.#next });
        this.resize(this.#size.cols, this.#size.rows);
        return;
      } catch (error) {
        const known = error instanceof CabanaError ? error : connectionLost(error);
        if (this.#closed.signal.aborted) return;
        if ((known.code !== "connection_lost" && !known.retryable) || Date.now() > deadline) throw known;
        await pause(backoff(attempt), this.#closed.signal);
      }
    }
  }
}
