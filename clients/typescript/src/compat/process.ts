import type { ExecEvent } from "../execution.ts";
import type { Process as CabanaProcess } from "../process.ts";
import type { ResponseOf, Schema } from "../types.ts";
import { toBytes, type Data } from "../wire.ts";

export type ProcessStatus = "starting" | "running" | "completed" | "failed" | "killed" | "error";

/** The status in the words of 0.12. */
export function statusOf(exit: Schema<"Exit"> | null | undefined): ProcessStatus {
  if (!exit) return "running";
  if (exit.type === "exited") return exit.code === 0 ? "completed" : "failed";
  return exit.type === "lost" ? "error" : "killed";
}

const codeOf = (exit: Schema<"Exit"> | null | undefined): number | undefined => (exit && "code" in exit ? exit.code : undefined);

export interface WaitForPortOptions { mode?: "http" | "tcp"; path?: string; status?: number | { min: number; max: number }; timeout?: number; interval?: number }

/** A process, as `startProcess` gives it. */
export class Process {
  readonly id: string;
  readonly pid: number | undefined;
  readonly command: string;
  readonly startTime: Date;
  status: ProcessStatus;
  endTime: Date | undefined;
  exitCode: number | undefined;
  readonly #process: CabanaProcess;

  constructor(process: CabanaProcess, record: Pick<Schema<"Process">, "pid" | "command" | "startedAt" | "exit" | "durationMs"> & { name?: string | null; process: string }) {
    this.#process = process;
    this.id = record.name ?? record.process;
    this.pid = record.pid;
    this.command = typeof record.command === "string" ? record.command : record.command.join(" ");
    this.startTime = new Date(record.startedAt);
    this.status = statusOf(record.exit);
    this.exitCode = codeOf(record.exit);
    if (record.exit) this.endTime = new Date(this.startTime.getTime() + (record.durationMs ?? 0));
  }

  /** Signals it and all that it started. */
  async kill(signal = "SIGTERM"): Promise<void> {
    if (signal === "SIGTERM") await this.#process.end();
    else await this.#process.signal(signal);
  }

  async getStatus(): Promise<ProcessStatus> {
    const { exit } = await this.#process.info();
    this.exitCode = codeOf(exit);
    this.status = statusOf(exit);
    return this.status;
  }

  /** What it has printed, as far as it is kept. */
  getLogs(): Promise<{ stdout: string; stderr: string }> {
    return logsOf(this.#process);
  }

  /** Waits for a line of its output. */
  async waitForLog(pattern: string | RegExp, timeout?: number): Promise<{ line: string; match?: string[] }> {
    const until = typeof pattern === "string" ? { log: pattern } : { regex: inline(pattern) };
    const waited = await this.#process.wait(until, { timeoutMs: timeout ?? null });
    if (waited.type !== "logged") throw ended(this.id, "the line", waited);
    const line = waited.line as string;
    return typeof pattern === "string" ? { line } : { line, match: pattern.exec(line) ?? [line] };
  }

  /** Waits for a port, by default until it answers a GET. */
  async waitForPort(port: number, options: WaitForPortOptions = {}): Promise<void> {
    const { mode = "http", path = "/", status, timeout } = options;
    const range = typeof status === "object" ? [status.min, status.max] : status === undefined ? null : [status, status];
    const until = mode === "tcp" ? { port } : { port, http: { path, status: range } };
    const waited = await this.#process.wait(until, { timeoutMs: timeout ?? null });
    if (waited.type === "exited") throw ended(this.id, `port ${port}`, waited);
  }

  async waitForExit(timeout?: number): Promise<{ exitCode: number }> {
    const waited = await this.#process.wait("exit", { timeoutMs: timeout ?? null });
    this.exitCode = waited.type === "exited" ? codeOf(waited.exit) : undefined;
    this.status = waited.type === "exited" ? statusOf(waited.exit) : this.status;
    return { exitCode: this.exitCode ?? -1 };
  }
}

const ended = (id: string, what: string, waited: ResponseOf<"process.wait">): Error =>
  new Error(`process ${id} ended before ${what} was there: ${JSON.stringify(waited)}`);

/** A regular expression for the service, which writes flags inline. */
const inline = (pattern: RegExp): string => (/[ims]/.test(pattern.flags) ? `(?${pattern.flags.replace(/[^ims]/g, "")})` : "") + pattern.source;

/** All output that is kept, page by page. */
export async function logsOf(process: CabanaProcess): Promise<{ stdout: string; stderr: string }> {
  const logs = { stdout: "", stderr: "" };
  const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
  for (let from = 0; ; ) {
    const page = await process.logs({ from });
    for (const channel of ["stdout", "stderr"] as const) {
      logs[channel] += decoders[channel].decode(toBytes(page[channel] as Data), { stream: true });
    }
    if (page.to >= page.outputBytes || page.to <= from) return logs;
    from = page.to;
  }
}

/** The events of a command in the words of 0.12. */
export async function* commandEvents(events: AsyncIterable<ExecEvent>, command: string, end: "complete" | "exit"): AsyncGenerator<object, void, void> {
  for await (const event of events) {
    if (event.type === "started") yield { type: "start", command, pid: event.pid, processId: event.process };
    else if (event.type === "stdout" || event.type === "stderr") yield { type: event.type, data: event.text };
    else if (event.type === "exit") yield { type: end, exitCode: event.exitCode ?? -1 };
  }
}
