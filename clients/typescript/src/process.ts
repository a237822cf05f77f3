import { attach, Execution } from "./execution.ts";
import { Operations } from "./operations.ts";
import { ExecResult } from "./output.ts";
import type { Transport } from "./transport.ts";
import type { CallOptions, Options, ResponseOf, Schema } from "./types.ts";
import type { Data } from "./wire.ts";

/** What to wait for. */
export type Until = Schema<"Until">;

/** A process of a sandbox, by its id or name. It runs on whoever leaves. */
export class Process extends Operations {
  /** Its id, or its name. */
  readonly id: string;
  readonly name: string | undefined;
  /** The kernel's number for it, where it is known. */
  readonly pid: number | undefined;

  constructor(transport: Transport, sandbox: string, id: string, name?: string | null, pid?: number | null) {
    super(transport, sandbox);
    this.id = id;
    this.name = name ?? undefined;
    this.pid = pid ?? undefined;
  }

  /** Its events from the first byte that is kept, over broken connections too. */
  [Symbol.asyncIterator](): ReturnType<Execution[typeof Symbol.asyncIterator]> {
    return this.attach()[Symbol.asyncIterator]();
  }

  /** Listens to it from an offset. Leaving the loop leaves the process as it is. */
  attach(options: { from?: number; screen?: boolean; maxOutputBytes?: number } & CallOptions = {}): Execution {
    const { signal, maxOutputBytes, ...request } = options;
    const { transport, sandbox, id } = this;
    const open = (signal: AbortSignal) => attach(transport, sandbox, { process: id, ...request }, signal);
    return new Execution({ transport, sandbox, open, process: id, from: options.from, owned: false, signal, maxOutputBytes });
  }

  /** Waits for its exit; answers with that and its output, as far as it is kept. */
  result(options: { maxOutputBytes?: number } & CallOptions = {}): Promise<ExecResult> {
    return this.attach(options).result();
  }

  /** Describes it. */
  info(options?: CallOptions): Promise<Schema<"Process">> {
    return this.call("process.get", { process: this.id }, options);
  }

  /** A page of what it has printed, without waiting for more. */
  logs(options: Options<"process.logs", "process"> = {}): Promise<ResponseOf<"process.logs">> {
    const { signal, ...request } = options;
    return this.call("process.logs", { process: this.id, ...request }, { signal });
  }

  /** Waits for its exit, a line of its output, or a port. */
  wait(until: Until = "exit", options: Options<"process.wait", "process" | "until"> = {}): Promise<ResponseOf<"process.wait">> {
    const { signal, ...request } = options;
    return this.call("process.wait", { process: this.id, until, ...request }, { signal });
  }

  /** Writes to its stdin, or types on its terminal. Answers when the process may have it. */
  async input(data: string | Uint8Array, options: { eof?: boolean } & CallOptions = {}): Promise<void> {
    await this.call("process.input", { process: this.id, data: data as Data, eof: options.eof ?? false }, options);
  }

  /** Closes its stdin. */
  async closeInput(options?: CallOptions): Promise<void> {
    await this.call("process.input", { process: this.id, eof: true }, options);
  }

  /** Tells it that its terminal has another size. */
  async resize(cols: number, rows: number, options?: CallOptions): Promise<void> {
    await this.call("process.resize", { process: this.id, cols, rows }, options);
  }

  /** Signals it and everything that it started. */
  async signal(signal: string, options?: CallOptions): Promise<void> {
    await this.call("process.signal", { process: this.id, signal }, options);
  }

  /** Ends it and everything that it started: SIGTERM, then SIGKILL after the grace. Answers when all of that is gone. */
  async end(options: { graceMs?: number } & CallOptions = {}): Promise<Schema<"Process"> | undefined> {
    const { signal, ...request } = options;
    const { items } = await this.call("process.end", { process: this.id, ...request }, { signal });
    return items[0];
  }

  /** Drops the record of one that has ended, and frees its name. */
  async remove(options?: CallOptions): Promise<void> {
    await this.call("process.remove", { process: this.id }, options);
  }
}

/** The processes of a sandbox. */
export class Processes extends Operations {
  /** The process of this id or name. Makes no call. */
  get(process: string): Process {
    return new Process(this.transport, this.sandbox, process);
  }

  /** Those that run, and for a while those detached ones that have ended. Wakes nothing. */
  async list(options: Options<"process.list"> = {}): Promise<Schema<"Process">[]> {
    const { signal, ...request } = options;
    return (await this.call("process.list", request, { signal })).items;
  }

  /** Ends all that run. */
  async endAll(options: { graceMs?: number } & CallOptions = {}): Promise<Schema<"Process">[]> {
    const { signal, ...request } = options;
    return (await this.call("process.end", { all: true, ...request }, { signal })).items;
  }

  /** Drops the records of all that have ended, and frees their names. */
  async removeEnded(options?: CallOptions): Promise<void> {
    await this.call("process.remove", { ended: true }, options);
  }
}
