import { NotFoundError } from "../errors.ts";
import type { ExecOptions as CabanaExecOptions } from "../exec.ts";
import type { FileChange } from "../files.ts";
import type { Sandbox } from "../sandbox.ts";
import type { Schema } from "../types.ts";
import { fromBase64, toBase64, type Data } from "../wire.ts";
import { commandEvents, logsOf, Process } from "./process.ts";
import { fileEvents, toSse } from "./sse.ts";

export interface ExecOptions {
  timeout?: number;
  env?: Record<string, string | undefined>;
  cwd?: string;
  stdin?: string;
  signal?: AbortSignal;
  stream?: boolean;
  encoding?: string;
  onOutput?: (stream: "stdout" | "stderr", data: string) => void;
  onComplete?: (result: ExecResult) => void;
  onError?: (error: Error) => void;
}

export interface ExecResult {
  success: boolean;
  exitCode: number;
  stdout: string;
  stderr: string;
  command: string;
  duration: number;
  timestamp: string;
  sessionId?: string;
}

export interface ProcessOptions extends Omit<ExecOptions, "onComplete" | "stream"> {
  processId?: string;
  autoCleanup?: boolean;
  onStart?: (process: Process) => void;
  onExit?: (code: number | null) => void;
}

export interface FileInfo {
  name: string;
  absolutePath: string;
  relativePath: string;
  type: "file" | "directory" | "symlink" | "other";
  size: number;
  modifiedAt: string;
  mode: string;
  permissions: { readable: boolean; writable: boolean; executable: boolean };
}

const timestamp = () => new Date().toISOString();
const done = (path: string) => ({ success: true as const, path, timestamp: timestamp() });

/** Variables as the service takes them; undefined unsets one. */
export const variables = (env: Record<string, string | undefined | null> = {}): Record<string, string | null> =>
  Object.fromEntries(Object.entries(env).map(([name, value]) => [name, value ?? null]));

/** What a sandbox and its sessions have in common. */
export class ExecutionSession {
  /** The session that commands run in; undefined: each is on its own. */
  readonly #session: string | undefined;
  protected readonly ready: () => Promise<Sandbox>;

  constructor(ready: () => Promise<Sandbox>, session: string | undefined) {
    this.ready = ready;
    this.#session = session;
  }

  get id(): string {
    return this.#session ?? "";
  }

  #options({ timeout, env, cwd, stdin, signal }: ExecOptions): CabanaExecOptions {
    const session = this.#session === undefined ? {} : { session: this.#session, createSession: true };
    return { timeoutMs: timeout ?? null, env: variables(env), cwd: cwd ?? null, signal, ...session, ...(stdin !== undefined && { stdin }) };
  }

  /** Runs a command. Aborting the signal ends it, which 0.12 does not do. */
  async exec(command: string, options: ExecOptions = {}): Promise<ExecResult> {
    try {
      const box = await this.ready();
      const { process: _, ...result } = await this.#run(box, command, options);
      options.onComplete?.(result);
      return result;
    } catch (error) {
      options.onError?.(error as Error);
      throw error;
    }
  }

  async #run(box: Sandbox, command: string, options: ExecOptions): Promise<ExecResult & { process: string }> {
    let result;
    if (options.onOutput === undefined) {
      result = await box.exec(command, this.#options(options) as CabanaExecOptions & { stream?: false; detach?: false });
    } else {
      const output = { stdout: "", stderr: "" };
      const execution = box.exec(command, { ...this.#options(options), stream: true, detach: false });
      for await (const event of execution) {
        if (event.type === "stdout" || event.type === "stderr") {
          output[event.type] += event.text;
          options.onOutput(event.type, event.text);
        } else if (event.type === "exit") result = { ...event, ...output };
      }
    }
    const { exitCode, stdout, stderr, durationMs, process } = result!;
    const sessionId = this.#session === undefined ? {} : { sessionId: this.#session };
    return { success: exitCode === 0, exitCode: exitCode ?? -1, stdout, stderr, command, duration: durationMs, timestamp: timestamp(), process, ...sessionId };
  }

  /** The output of a command as server-sent events: start, stdout, stderr, complete. */
  async execStream(command: string, options: ExecOptions = {}): Promise<ReadableStream<Uint8Array>> {
    const box = await this.ready();
    return toSse(commandEvents(box.exec(command, { ...this.#options(options), stream: true, detach: false }), command, "complete"));
  }

  /** Starts a process that goes on by itself. */
  async startProcess(command: string, options: ProcessOptions = {}): Promise<Process> {
    const box = await this.ready();
    const name = options.processId ?? `proc-${crypto.randomUUID()}`;
    const started = await box.exec(command, { ...this.#options(options), detach: true, stream: false, name });
    const startedAt = timestamp();
    const process = new Process(started, { process: started.id, name, pid: started.pid ?? 0, command, startedAt } as ConstructorParameters<typeof Process>[1]);
    options.onStart?.(process);
    if (options.onOutput ?? options.onExit) void this.#hear(box, name, options);
    return process;
  }

  async #hear(box: Sandbox, name: string, options: ProcessOptions): Promise<void> {
    try {
      for await (const event of box.processes.get(name).attach({ signal: options.signal } as { signal?: AbortSignal })) {
        if (event.type === "stdout" || event.type === "stderr") options.onOutput?.(event.type, event.text);
        if (event.type === "exit") options.onExit?.(event.exitCode);
      }
    } catch (error) {
      options.onError?.(error as Error);
    }
  }

  async listProcesses(): Promise<Process[]> {
    const box = await this.ready();
    return (await box.processes.list()).map((record) => new Process(box.processes.get(record.process), record));
  }

  async getProcess(id: string): Promise<Process | null> {
    const box = await this.ready();
    try {
      return new Process(box.processes.get(id), await box.processes.get(id).info());
    } catch (error) {
      if (error instanceof NotFoundError) return null;
      throw error;
    }
  }

  async killProcess(id: string, signal = "SIGTERM"): Promise<void> {
    const process = (await this.ready()).processes.get(id);
    await (signal === "SIGTERM" ? process.end() : process.signal(signal));
  }

  async killAllProcesses(): Promise<number> {
    return (await (await this.ready()).processes.endAll()).length;
  }

  async cleanupCompletedProcesses(): Promise<number> {
    const box = await this.ready();
    const count = (await box.processes.list({ state: "ended" })).length;
    await box.processes.removeEnded();
    return count;
  }

  async getProcessLogs(id: string): Promise<{ stdout: string; stderr: string; processId: string }> {
    return { ...(await logsOf((await this.ready()).processes.get(id))), processId: id };
  }

  async streamProcessLogs(id: string, options: { signal?: AbortSignal } = {}): Promise<ReadableStream<Uint8Array>> {
    const box = await this.ready();
    return toSse(commandEvents(box.processes.get(id).attach(options), "", "exit"));
  }

  /** Writes a file, and makes missing directories. */
  async writeFile(path: string, content: string | ReadableStream<Uint8Array>, options: { encoding?: "utf-8" | "utf8" | "base64" } = {}) {
    const bytes = options.encoding === "base64" && typeof content === "string" ? fromBase64(content) : content;
    await (await this.ready()).files.write(path, bytes);
    return done(path);
  }

  /** Reads a file of any size. Text is UTF-8, all else is base64. */
  async readFile(path: string, options: { encoding?: "utf-8" | "utf8" | "base64" } = {}) {
    const bytes = await (await this.ready()).files.bytes(path);
    const { text, mimeType } = await this.#kindOf(path, bytes);
    const isBinary = options.encoding === undefined ? text === undefined : options.encoding === "base64";
    const content = isBinary ? toBase64(bytes) : (text ?? new TextDecoder().decode(bytes));
    return { ...done(path), content, encoding: isBinary ? ("base64" as const) : ("utf-8" as const), isBinary, mimeType, size: bytes.length };
  }

  async #kindOf(path: string, bytes: Uint8Array): Promise<{ text: string | undefined; mimeType: string }> {
    let text: string | undefined;
    try {
      text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      // Bytes that are no text are given as base64.
    }
    return { text, mimeType: (await this.#media(path)) ?? (text === undefined ? "application/octet-stream" : "text/plain") };
  }

  async #media(path: string): Promise<string | undefined> {
    const [item] = await (await this.ready()).files.readMany([path]);
    return item?.type === "file" ? item.file.mediaType : undefined;
  }

  /** The content of a file as server-sent events: metadata, chunk, complete. Read it with `streamFile` or `collectFile`. */
  async readFileStream(path: string): Promise<ReadableStream<Uint8Array>> {
    const { files } = await this.ready();
    const { size } = await files.stat(path).then(({ sizeBytes }) => ({ size: sizeBytes }));
    const start = await files.bytes(path, { length: Math.min(size, 4096) });
    // A character may be cut at the end of the sample.
    const isBinary = new TextDecoder().decode(start, { stream: true }).includes("\uFFFD") || start.includes(0);
    const mimeType = isBinary ? "application/octet-stream" : "text/plain";
    return toSse(fileEvents(await files.stream(path), { mimeType, size, isBinary, encoding: isBinary ? "base64" : "utf-8" }));
  }

  async mkdir(path: string, options: { recursive?: boolean } = {}) {
    await (await this.ready()).files.mkdir(path, { parents: options.recursive ?? false });
    return { ...done(path), recursive: options.recursive ?? false };
  }

  async deleteFile(path: string) {
    await (await this.ready()).files.remove(path);
    return done(path);
  }

  async renameFile(oldPath: string, newPath: string) {
    await (await this.ready()).files.move(oldPath, newPath);
    return { ...done(oldPath), newPath };
  }

  async moveFile(sourcePath: string, destinationPath: string) {
    await (await this.ready()).files.move(sourcePath, destinationPath);
    return { ...done(sourcePath), newPath: destinationPath };
  }

  async exists(path: string) {
    return { ...done(path), exists: await (await this.ready()).files.exists(path) };
  }

  async listFiles(path: string, options: { recursive?: boolean; includeHidden?: boolean } = {}) {
    const box = await this.ready();
    const files: FileInfo[] = [];
    const root = (path.startsWith("/") ? path : `/workspace/${path}`).replace(/(\/\.?)+$/, "");
    const listed = { recursive: options.recursive ?? false, hidden: options.includeHidden ?? false };
    for await (const entry of box.files.entries(path, listed)) files.push(infoOf(entry, root));
    return { ...done(path), files, count: files.length };
  }

  /** Changes in a directory as server-sent events. */
  async watch(path: string, options: { recursive?: boolean; include?: string[]; exclude?: string[]; signal?: AbortSignal } = {}): Promise<ReadableStream<Uint8Array>> {
    const box = await this.ready();
    const { signal, ...request } = { recursive: true, ...options };
    async function* events() {
      for await (const event of box.files.watch(path, { ...request, signal })) {
        if (event.type === "ready") yield { type: "watching", path, watchId: crypto.randomUUID() };
        else if (event.type === "overflow") yield { type: "error", error: "changes were lost: look at the directory again" };
        else yield* watchEvents(event);
      }
      yield { type: "stopped", reason: "ended" };
    }
    return toSse(events());
  }

  async checkChanges(path: string, options: { since?: string; recursive?: boolean; include?: string[]; exclude?: string[] } = {}) {
    const { changes, version, resync } = await (await this.ready()).files.changes(path, { recursive: true, ...options });
    const status = resync && options.since !== undefined ? "resync" : changes.length > 0 ? "changed" : "unchanged";
    return { success: true as const, status, version, timestamp: timestamp() };
  }

  async gitCheckout(repoUrl: string, options: { branch?: string; targetDir?: string; depth?: number; cloneTimeoutMs?: number } = {}) {
    const { branch = null, targetDir, depth = null, cloneTimeoutMs } = options;
    const cloned = await (await this.ready()).git.clone(repoUrl, { branch, path: targetDir ?? null, depth, timeoutMs: cloneTimeoutMs ?? null });
    return { success: true as const, repoUrl, branch: cloned.branch ?? branch ?? "", targetDir: cloned.path as string, timestamp: timestamp() };
  }

  /** Sets variables for the commands that follow; undefined unsets one. */
  async setEnvVars(env: Record<string, string | undefined>): Promise<void> {
    const box = await this.ready();
    if (this.#session !== undefined) await box.sessions.create({ name: this.#session });
    if (this.#session !== undefined) await box.sessions.get(this.#session).update({ env: variables(env) });
  }
}

function infoOf(entry: Schema<"Metadata">, root: string): FileInfo {
  const relativePath = entry.path as string;
  const absolutePath = `${root}/${relativePath}`;
  const mode = parseInt(entry.mode, 8);
  const type = entry.kind === "file" || entry.kind === "directory" || entry.kind === "symlink" ? entry.kind : "other";
  return {
    name: absolutePath.slice(absolutePath.lastIndexOf("/") + 1),
    absolutePath,
    relativePath,
    type,
    size: entry.sizeBytes,
    modifiedAt: entry.modifiedAt,
    mode: [6, 3, 0].map((shift) => ["---", "--x", "-w-", "-wx", "r--", "r-x", "rw-", "rwx"][(mode >> shift) & 7]).join(""),
    permissions: { readable: (mode & 0o400) !== 0, writable: (mode & 0o200) !== 0, executable: (mode & 0o100) !== 0 },
  };
}

function* watchEvents(change: FileChange): Generator<object, void, void> {
  const event = (eventType: string, path: Data, isDirectory = false) => ({ type: "event", eventType, path, isDirectory });
  const directory = "directory" in change ? change.directory : false;
  if (change.type === "created") yield event("create", change.path as Data, directory);
  else if (change.type === "modified") yield event("modify", change.path as Data);
  else if (change.type === "attributes") yield event("attrib", change.path as Data, directory);
  else if (change.type === "removed") yield event("delete", change.path as Data, directory);
  else if (change.type === "renamed") {
    yield event("move_from", change.from as Data, directory);
    yield event("move_to", change.to as Data, directory);
  }
}

