import { attach, Execution, type Began } from "./execution.ts";
import type { ExecResult } from "./output.ts";
import { Process } from "./process.ts";
import { isStream, type Source } from "./source.ts";
import type { Call, Transport } from "./transport.ts";
import type { CallOptions, RequestOf, ResponseOf } from "./types.ts";

/** Above this a command's input is sent beside its request, and not in it. */
const INLINE_BYTES = 256 << 10;
/** How long a command may run that says nothing of it, detached or not. */
const TIMEOUT_MS = 600_000;

export interface ExecOptions extends Omit<RequestOf<"exec">, "command" | "stdin" | "detach">, CallOptions {
  /** What it reads: bytes of any size, a file of the sandbox, or with `stream` what `process.input` gives it. */
  stdin?: Source | { stream: true } | { path: string };
  /** Answers with its events as they come. */
  stream?: boolean;
  /**
   * Goes on when this client's own network fails, and not only when the service loses the connection, at the cost of one more request. The
   * command is detached then: if this program ends, it runs on until its time is up.
   */
  reconnect?: boolean;
  /** Answers as soon as it runs, with a handle. It outlives its connection. */
  detach?: boolean;
}

/** Runs a command: a string is a script for the shell, an array is an exact argv. A non-zero exit is a result, not an error. */
export interface Execute {
  (command: string | string[], options?: ExecOptions & { stream?: false; detach?: false }): Promise<ExecResult>;
  (command: string | string[], options: ExecOptions & { stream: true; detach?: false }): Execution;
  (command: string | string[], options: ExecOptions & { detach: true; stream?: false }): Promise<Process>;
}

export function execute(transport: Transport, sandbox: string, command: string | string[], options: ExecOptions): Execution | Promise<ExecResult | Process> {
  const { signal, stream, stdin, maxOutputBytes, reconnect, ...request } = options;
  const path = `/v1/sandboxes/${sandbox}/exec`;
  if (options.detach) {
    const call: Call = { method: "POST", path, json: { command, stdin: inline(stdin), ...request }, signal };
    // A name makes the launch idempotent.
    const launched = transport.json<ResponseOf<"exec">>({ ...call, idempotent: options.name !== undefined });
    return launched.then(({ process, pid }) => new Process(transport, sandbox, process, options.name, pid));
  }
  if (reconnect) {
    if (request.session != null) throw new TypeError("exec: `reconnect` does not go with a session, whose shell runs no detached commands");
    const open: Began["open"] = async (signal, began) => {
      // By its name the launch can be repeated, and by its time limit it ends, as it would with a connection.
      const launch = { command, stdin: inline(stdin), timeoutMs: TIMEOUT_MS, ...request, detach: true, name: `exec-${crypto.randomUUID()}` };
      const { process } = await transport.json<ResponseOf<"exec">>({ method: "POST", path, json: launch, signal, idempotent: true });
      began(process);
      return attach(transport, sandbox, { process }, signal);
    };
    const execution = new Execution({ transport, sandbox, open, owned: true, detached: true, signal, maxOutputBytes: maxOutputBytes ?? undefined });
    return stream ? execution : execution.result();
  }
  const open = (signal: AbortSignal) => {
    const headers = { accept: "application/x-ndjson" };
    const call: Call = { method: "POST", path, headers, signal };
    if (!isBody(stdin)) return transport.open({ ...call, json: { command, stdin, ...request } });
    return transport.open({ ...call, source: stdin, query: { command: inQuery(command), ...request } });
  };
  const execution = new Execution({ transport, sandbox, open, owned: true, signal, maxOutputBytes: maxOutputBytes ?? undefined });
  return stream ? execution : execution.result();
}

/** Whether an input goes as the body of the request. */
function isBody(stdin: ExecOptions["stdin"]): stdin is Source {
  if (typeof stdin === "string") return stdin.length > INLINE_BYTES;
  if (stdin instanceof Uint8Array || stdin instanceof ArrayBuffer) return stdin.byteLength > INLINE_BYTES;
  return stdin instanceof Blob || isStream(stdin);
}

/** The input of a command whose connection ends before it. */
function inline(stdin: ExecOptions["stdin"]): unknown {
  if (isBody(stdin) && typeof stdin !== "string" && !(stdin instanceof Uint8Array)) {
    throw new TypeError("exec: a detached command takes a string, bytes, { path } or { stream: true } as its stdin");
  }
  return stdin instanceof ArrayBuffer ? new Uint8Array(stdin) : stdin;
}

/** In a query a list of one is a text, and a text is a script: the shell is told to run the program as it is. */
const inQuery = (command: string | string[]): string | string[] =>
  Array.isArray(command) && command.length === 1 ? `exec '${command[0]?.replaceAll("'", "'\\''")}'` : command;
