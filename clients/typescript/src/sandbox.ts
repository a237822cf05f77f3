import { Code } from "./code.ts";
import { execute, type Execute, type ExecOptions } from "./exec.ts";
import { Files } from "./files.ts";
import { Git } from "./git.ts";
import { jsonLines } from "./lines.ts";
import { Operations } from "./operations.ts";
import { Ports } from "./ports.ts";
import { Processes } from "./process.ts";
import { Sessions } from "./session.ts";
import { Archives } from "./archives.ts";
import { Snapshots } from "./snapshots.ts";
import { Terminal, type TerminalOptions } from "./terminal.ts";
import { backoff, pause, type Transport } from "./transport.ts";
import type { CallOptions, QueryOf, RequestOf, ResponseOf, Schema } from "./types.ts";
import { CabanaError } from "./errors.ts";
import { fromWire } from "./wire.ts";

/** What becomes of a sandbox at the end of the block that `await using` names it in. */
export type Disposal = "delete" | "stop" | "keep";

/** A sandbox, by its id. The first operation starts it, and any later one wakes it. */
export class Sandbox extends Operations {
  readonly id: string;
  readonly files: Files;
  readonly processes: Processes;
  readonly sessions: Sessions;
  readonly code: Code;
  readonly git: Git;
  readonly ports: Ports;
  readonly snapshots: Snapshots;
  readonly archives: Archives;
  readonly #disposal: Disposal;

  constructor(transport: Transport, id: string, disposal: Disposal = "keep") {
    super(transport, encodeURIComponent(id));
    this.id = id;
    this.#disposal = disposal;
    const sandbox = this.sandbox;
    this.files = new Files(transport, sandbox);
    this.processes = new Processes(transport, sandbox);
    this.sessions = new Sessions(transport, sandbox);
    this.code = new Code(transport, sandbox);
    this.git = new Git(transport, sandbox);
    this.ports = new Ports(transport, sandbox);
    this.snapshots = new Snapshots(transport, sandbox);
    this.archives = new Archives(transport, sandbox);
  }

  /**
   * Runs a command: a string is a script for the shell, an array is an exact argv. A non-zero exit is a result, not an error.
   *
   * With `stream: true` it is the events as they come; with `detach: true`, a handle to a process that outlives its connection.
   * Aborting `signal` ends the command with everything that it started.
   */
  exec: Execute = ((command: string | string[], options: ExecOptions = {}) => execute(this.transport, this.sandbox, command, options)) as Execute;

  /** Opens a terminal, or attaches to one. */
  terminal(options: TerminalOptions = {}): Promise<Terminal> {
    return Terminal.open(this.transport, this.sandbox, options);
  }

  /** Shows it without waking it. */
  info(options: CallOptions = {}): Promise<Schema<"Sandbox">> {
    return this.transport.json({ path: this.route(""), ...options });
  }

  /** Changes what is named; null resets a field. */
  update(changes: RequestOf<"sandbox.update">, options: CallOptions = {}): Promise<Schema<"Sandbox">> {
    return this.transport.json({ method: "PATCH", path: this.route(""), json: changes, idempotent: true, ...options });
  }

  /** Starts it; answers when it is up. */
  start(options: CallOptions = {}): Promise<Schema<"Sandbox">> {
    return this.transport.json({ method: "POST", path: this.route("/start"), idempotent: true, ...options });
  }

  /** Saves its files and ends its container. */
  stop(options: CallOptions = {}): Promise<Schema<"Sandbox">> {
    return this.transport.json({ method: "POST", path: this.route("/stop"), idempotent: true, ...options });
  }

  /** Stops it and starts it. */
  restart(options: CallOptions = {}): Promise<Schema<"Sandbox">> {
    return this.transport.json({ method: "POST", path: this.route("/restart"), ...options });
  }

  /** Destroys it, with its files. */
  async delete(options: CallOptions = {}): Promise<void> {
    await this.transport.json({ method: "DELETE", path: this.route(""), ...options });
  }

  /** Moves it to its kind's present image; to restore `before` is the way back. */
  upgrade(options: CallOptions = {}): Promise<Schema<"Upgraded">> {
    return this.transport.json({ method: "POST", path: this.route("/upgrade"), ...options });
  }

  /** Makes sandboxes that begin with its files. */
  async fork(options: Schema<"ForkSandbox"> & CallOptions = {}): Promise<Sandbox[]> {
    const { signal, ...request } = options;
    const { items } = await this.transport.json<Schema<"Forks">>({ method: "POST", path: this.route("/fork"), json: request, signal });
    return items.map(({ id }) => new Sandbox(this.transport, id));
  }

  /** The variables that new commands get, with their origin. */
  env(options: CallOptions = {}): Promise<Schema<"VariableList">> {
    return this.transport.json({ path: this.route("/env"), ...options });
  }

  /** The rules for what it reaches outside, what they have let pass, and the last requests that were denied. */
  network(options: CallOptions = {}): Promise<Schema<"NetworkReport">> {
    return this.transport.json({ path: this.route("/network"), ...options });
  }

  /** The last changes of its state. Wakes nothing. */
  async events(options: { from?: number } & CallOptions = {}): Promise<Schema<"LifeEvent">[]> {
    const { signal, ...query } = options;
    return (await this.transport.json<Schema<"History">>({ path: this.route("/events"), query, signal })).items;
  }

  /** The changes of its state as they happen, over broken connections too. Ends with the sandbox. */
  async *follow(options: { from?: number } & CallOptions = {}): AsyncGenerator<Schema<"LifeEvent">, void, void> {
    let { from } = options;
    for (let attempt = 0; ; attempt += 1) {
      try {
        const call = { path: this.route("/events"), query: { follow: true, from }, headers: { accept: "application/x-ndjson" } };
        const response = await this.transport.open({ ...call, signal: options.signal });
        for await (const line of jsonLines<{ id: number; state: string }>(response.body!)) {
          attempt = 0;
          from = line.id;
          yield fromWire<Schema<"LifeEvent">>(line);
          if (line.state === "destroyed") return;
        }
      } catch (error) {
        options.signal?.throwIfAborted();
        if (error instanceof CabanaError && error.code === "not_found" && from !== undefined) return;
        if (error instanceof CabanaError && error.code !== "connection_lost") throw error;
      }
      await pause(backoff(attempt), options.signal);
    }
  }

  /** A page of its audit trail, the newest first. */
  audit(options: QueryOf<"audit.list"> & CallOptions = {}): Promise<Schema<"AuditPage">> {
    const { signal, ...query } = options;
    return this.transport.json({ path: this.route("/audit"), query, signal });
  }

  /** Checks the chain of its audit trail. */
  verifyAudit(options: QueryOf<"audit.verify"> & CallOptions = {}): Promise<Schema<"AuditVerification">> {
    const { signal, ...query } = options;
    return this.transport.json({ path: this.route("/audit/verify"), query, signal });
  }

  /** Requests, bytes, durations, and use of the machine. */
  metrics(options: CallOptions = {}): Promise<Schema<"Metrics">> {
    return this.transport.json({ path: this.route("/metrics"), ...options });
  }

  /** How much of it is used at this moment. Wakes nothing. */
  stats(options?: CallOptions): Promise<ResponseOf<"system.stats">> {
    return this.call("system.stats", {} as never, options);
  }

  /** Its system, and which programs it has. */
  system(options?: CallOptions): Promise<ResponseOf<"system.info">> {
    return this.call("system.info", {} as never, options);
  }

  /** A token that is good for this sandbox alone: for a web page, for instance. */
  token(options: Schema<"CreateToken"> & CallOptions = {}): Promise<Schema<"ConnectToken">> {
    const { signal, ...request } = options;
    return this.transport.json({ method: "POST", path: this.route("/tokens"), json: request, signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposal === "delete") await this.delete();
    if (this.#disposal === "stop") await this.stop();
  }
}
