import { CabanaError, connectionLost, errorOf, type ErrorCode } from "./errors.ts";
import { jsonLines } from "./lines.ts";
import { ExecResult, Kept, type Ended } from "./output.ts";
import { backoff, failure, pause, type Transport } from "./transport.ts";
import { fromWire, toBytes, type Data } from "./wire.ts";

/** Bytes kept of stdout and of stderr each, where the caller does not say. */
const KEPT_BYTES = 1 << 20;
/** How long a lost connection is tried again: for as long as the service keeps the command for its caller. */
const RECONNECT_MS = 30_000;

/** What a running command says. */
export type ExecEvent =
  | { type: "started"; process: string; pid: number }
  | { type: "stdout" | "stderr"; offset: number; bytes: Uint8Array; text: string }
  | { type: "gap"; from: number; to: number }
  | { type: "screen"; offset: number; cols: number; rows: number; bytes: Uint8Array }
  | ({ type: "exit" } & Ended);

type Line =
  | { type: "started"; process: string; pid: number }
  | { type: "stdout" | "stderr"; offset: number; bytes: Data }
  | { type: "gap"; from: number; to: number }
  | { type: "screen"; offset: number; cols: number; rows: number; bytes: Data }
  | ({ type: "result" } & Omit<Ended, "exitCode">)
  | { type: "error"; code: ErrorCode; message: string; retryable?: boolean; details?: Record<string, unknown>; request_id?: string };

/** How an execution reaches its process, and what ends with it. */
export interface Began {
  transport: Transport;
  sandbox: string;
  /** Sends the request that begins it, and says which process that is as soon as it is known. */
  open: (signal: AbortSignal, began: (process: string) => void) => Promise<Response>;
  /** The process and the offset, where it is known before the first event. */
  process?: string | undefined;
  from?: number | undefined;
  /** Ends the process when the caller leaves. False for one that was detached. */
  owned: boolean;
  /** Whether it is detached: the service does not end it with its connection. */
  detached?: boolean;
  signal?: AbortSignal | undefined;
  maxOutputBytes?: number | undefined;
}

const exitCode = (exit: Ended["exit"]): number | null => (exit && "code" in exit ? exit.code : null);

/**
 * A command that runs, as its events. Each byte comes once: after a lost connection it goes on from the next byte.
 *
 * Leaving the loop, or aborting the signal, ends the command with everything that it started; a detached one runs on.
 */
export class Execution implements AsyncIterable<ExecEvent> {
  readonly #source: Began;
  readonly #abort = new AbortController();
  #process: string | undefined;
  #next: number;
  #text = { stdout: new TextDecoder(), stderr: new TextDecoder() };
  #events: AsyncGenerator<ExecEvent, void, void> | undefined;

  constructor(source: Began) {
    this.#source = source;
    this.#process = source.process;
    this.#next = source.from ?? 0;
  }

  /** The id of its process, once the first event has come. */
  get process(): string | undefined {
    return this.#process;
  }

  /** The offset of the next byte: where `process.attach` would go on. */
  get offset(): number {
    return this.#next;
  }

  /** The events, in one loop. */
  [Symbol.asyncIterator](): AsyncGenerator<ExecEvent, void, void> {
    this.#events ??= this.#run();
    return this.#events;
  }

  /** Reads what is left, and answers with the exit and the output. */
  async result(): Promise<ExecResult> {
    const limit = this.#source.maxOutputBytes ?? KEPT_BYTES;
    const kept = { stdout: new Kept(limit), stderr: new Kept(limit) };
    let missing = false;
    for await (const event of this) {
      if (event.type === "stdout" || event.type === "stderr") kept[event.type].push(event.bytes);
      else if (event.type === "gap") missing = true;
      else if (event.type === "exit") return new ExecResult(event, kept.stdout, kept.stderr, missing);
    }
    throw connectionLost(undefined, "the events of this command have been read already");
  }

  /** The bytes of its standard output alone. Cancelling the stream ends the command. */
  stdout(): ReadableStream<Uint8Array> {
    const events = this[Symbol.asyncIterator]();
    return new ReadableStream<Uint8Array>({
      async pull(controller) {
        for (;;) {
          const { done, value } = await events.next();
          if (done) return controller.close();
          if (value.type === "gap") throw errorOf({ code: "gone", message: `output from ${value.from} to ${value.to} is no longer kept` });
          if (value.type === "stdout") return controller.enqueue(value.bytes);
        }
      },
      async cancel() {
        await events.return();
      },
    }, { highWaterMark: 0 });
  }

  /** Ends the command, as leaving its loop does. */
  async cancel(): Promise<void> {
    // The loop may be waiting for an event: it is woken first.
    this.#abort.abort();
    await this.#events?.return();
  }

  async *#run(): AsyncGenerator<ExecEvent, void, void> {
    const { signal } = this.#source;
    const forward = () => this.#abort.abort(signal?.reason);
    signal?.throwIfAborted();
    signal?.addEventListener("abort", forward, { once: true });
    let ended = false;
    try {
      for await (const event of this.#lines()) {
        // What ends is noted first: the caller may leave the loop with the last event.
        ended = event.type === "exit";
        yield event;
      }
      ended = true;
    } catch (error) {
      // An abort is answered at once: the end goes its way beside it.
      if (signal?.aborted || this.#abort.signal.aborted) void this.#end();
      ended = true;
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", forward);
      this.#abort.abort();
      if (!ended) await this.#end();
    }
  }

  /** Ends a process that belongs to this client. The service would notice a closed connection, too, but only when it next writes to it. */
  async #end(): Promise<void> {
    if (!this.#source.owned || this.#process === undefined) return;
    const { transport, sandbox } = this.#source;
    await transport.operation(sandbox, "process.end", { process: this.#process }, {}).catch(() => {});
  }

  /** Whether there was a connection, and whether there was more than one. */
  #connected = false;
  #resumed = false;

  /** The events over as many connections as it takes. */
  async *#lines(): AsyncGenerator<ExecEvent, void, void> {
    let deadline: number | undefined;
    for (let attempt = 0; ; attempt += 1) {
      let lost: CabanaError;
      try {
        for await (const event of this.#connection(attempt > 0)) {
          deadline = undefined;
          attempt = 0;
          yield event;
          if (event.type === "exit") return;
        }
        lost = connectionLost(undefined, "the stream broke off before the command's exit");
      } catch (cause) {
        if (this.#abort.signal.aborted) throw cause;
        lost = cause instanceof CabanaError ? cause : connectionLost(cause);
        if (attempt > 0 && (lost.code === "not_found" || lost.code === "gone")) throw forgotten(lost);
        const reconnects = lost.code === "connection_lost" || (lost.code === "interrupted" && lost.reason === "reconnect") || (this.#resumed && lost.retryable);
        if (!reconnects) throw lost;
      }
      // Without its process the command cannot be found again: it may run, or never have started.
      if (this.#process === undefined || !this.#connected) throw lost;
      deadline ??= Date.now() + RECONNECT_MS;
      if (Date.now() > deadline) throw lost;
      await pause(backoff(attempt), this.#abort.signal);
    }
  }

  async *#connection(again: boolean): AsyncGenerator<ExecEvent, void, void> {
    const { transport, sandbox, open } = this.#source;
    const signal = this.#abort.signal;
    const response = again
      ? await attach(transport, sandbox, { process: this.#process ?? "", from: this.#next }, signal)
      : await open(signal, (process) => (this.#process = process));
    this.#process ??= response.headers.get("x-cabana-process") ?? undefined;
    if (!response.body) throw connectionLost(undefined, "the answer has no body");
    this.#connected = true;
    this.#resumed ||= again;
    for await (const line of jsonLines<Line>(response.body)) {
      const event = this.#event(line, again);
      if (event) yield event;
    }
  }

  #event(line: Line, again: boolean): ExecEvent | undefined {
    switch (line.type) {
      case "started":
        this.#process = line.process;
        // It has been said on the first connection.
        return again ? undefined : line;
      case "stdout":
      case "stderr": {
        const bytes = toBytes(line.bytes);
        this.#next = line.offset + bytes.length;
        // Most pieces are text already, and end between two characters.
        const text = this.#text[line.type].decode(bytes, { stream: true });
        return { type: line.type, offset: line.offset, bytes, text };
      }
      case "gap":
        this.#next = line.to;
        return line;
      case "screen":
        this.#next = line.offset;
        return { ...line, bytes: toBytes(line.bytes) };
      case "result": {
        const { type: _, ...result } = fromWire<{ type: string } & Omit<Ended, "exitCode">>(line);
        const event: ExecEvent = { type: "exit", ...result, exitCode: exitCode(result.exit) };
        if (this.#resumed && this.#source.owned && !this.#source.detached && result.exit?.type === "cancelled") throw tookForHangUp(event);
        return event;
      }
      case "error":
        throw failure({ error: line, request_id: line.request_id });
    }
  }
}

/** The service cannot tell a client whose network failed from one that hung up, and ends the command of either. */
function tookForHangUp(event: Ended): CabanaError {
  const message = "the connection broke, and the command was ended; start it with `reconnect: true` if it is to outlive its connection";
  return errorOf({ code: "interrupted", message, details: { process: event.process, exit: event.exit } });
}

/** The connection broke, and the service knows nothing of the process any more. */
function forgotten(cause: CabanaError): CabanaError {
  const { requestId } = cause;
  return errorOf({ code: "interrupted", message: "the connection broke, and the process is not known any more", requestId, cause });
}

/** Listens to a process, from an offset. */
export function attach(transport: Transport, sandbox: string, request: { process: string; from?: number | undefined; screen?: boolean | undefined }, signal?: AbortSignal): Promise<Response> {
  const path = `/v1/sandboxes/${sandbox}/process/attach`;
  return transport.open({ method: "POST", path, json: request, headers: { accept: "application/x-ndjson" }, idempotent: true, signal });
}
