/**
 * The method names and result shapes of `@cloudflare/sandbox` 0.12 over a service of Cabana. Each method works, or throws an error that says
 * what to use instead.
 */
import type { Cabana } from "../cabana.ts";
import { NotFoundError } from "../errors.ts";
import type { Sandbox as CabanaSandbox } from "../sandbox.ts";
import { codeEvents, requestOf, runCode, type CodeContext, type Execution, type RunCodeOptions } from "./code.ts";
import { ExecutionSession, variables } from "./session.ts";
import { toSse } from "./sse.ts";

export type { CodeContext, Execution, ExecutionError, Result, RunCodeOptions } from "./code.ts";
export { Process, type ProcessStatus } from "./process.ts";
export { ExecutionSession, type ExecOptions, type ExecResult, type FileInfo, type ProcessOptions } from "./session.ts";
export { collectFile, parseSSEStream, streamFile, type FileMetadata } from "./sse.ts";

export interface SandboxOptions {
  /** How long it may be idle: `"10m"`, `"30s"`, `"1h"`, or seconds. */
  sleepAfter?: string | number;
  keepAlive?: boolean;
  labels?: Record<string, string>;
  /** False: each command runs on its own. Default: all run in one session, which keeps directory and variables. */
  enableDefaultSession?: boolean;
  /** A kind of the deployment. */
  kind?: string;
  /** Directories that file operations reach. Default: /workspace and /tmp. */
  roots?: string[];
  /** Ids are lower-case here: this changes nothing. */
  normalizeId?: boolean;
  /** Starts take as long as the service gives them: this changes nothing. */
  containerTimeouts?: object;
}

const UNITS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000 };
/** The longest name of a sandbox whose kind has three letters. */
const NAME_LENGTH = 36;

/** A time of 0.12 in milliseconds. */
export function spanOf(span: string | number): number {
  if (typeof span === "number") return span * 1_000;
  const [, count, unit = ""] = /^(\d+)([smh])$/.exec(span) ?? [];
  const scale = UNITS[unit];
  if (count === undefined || scale === undefined) throw new TypeError(`sleepAfter: ${JSON.stringify(span)} is neither a number of seconds nor like "30s", "10m", "1h"`);
  return Number(count) * scale;
}

/** The name of an id: itself where it is one, else a readable part and a digest, so that other ids are other sandboxes. */
export async function nameOf(id: string): Promise<string> {
  if (/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(id) && id.length <= NAME_LENGTH) return id;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(id)));
  const hex = Array.from(digest.subarray(0, 6), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const readable = id.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, NAME_LENGTH - hex.length - 1);
  return readable === "" ? hex : `${readable.replace(/-+$/, "")}-${hex}`;
}

const instead = (method: string, use: string): Error => new Error(`${method} is not in cabana/compat: ${use}`);

/** The sandbox of this id. Makes no call: it is made, or found, with the first one. */
export function getSandbox(cabana: Cabana, id: string, options: SandboxOptions = {}): Sandbox {
  return new Sandbox(cabana, id, options);
}

export class Sandbox extends ExecutionSession {
  readonly #cabana: Cabana;
  readonly #id: string;
  readonly #options: SandboxOptions;
  #found: Promise<CabanaSandbox> | undefined;

  constructor(cabana: Cabana, id: string, options: SandboxOptions) {
    super(() => this.box(), options.enableDefaultSession === false ? undefined : "default");
    this.#cabana = cabana;
    this.#id = id;
    this.#options = options;
  }

  /** The sandbox in Cabana's own words, for what this layer does not have. */
  box(): Promise<CabanaSandbox> {
    this.#found ??= this.#create();
    // A failure is not remembered: the next call tries again.
    this.#found.catch(() => (this.#found = undefined));
    return this.#found;
  }

  async #create(): Promise<CabanaSandbox> {
    const { sleepAfter, keepAlive, labels, kind, roots = ["/workspace", "/tmp"] } = this.#options;
    const name = await nameOf(this.#id);
    return this.#cabana.create({
      name, roots, dispose: "keep",
      ...(sleepAfter !== undefined && { sleepAfterMs: spanOf(sleepAfter) }),
      ...(keepAlive !== undefined && { keepAlive }),
      ...(labels !== undefined && { labels }),
      ...(kind !== undefined && { kind }),
    });
  }

  /** Sets variables for all commands that follow, in every session. */
  override async setEnvVars(env: Record<string, string | undefined>): Promise<void> {
    await (await this.box()).update({ env: variables(env) });
    // The default session has begun with what there was before.
    if (this.id !== "") await super.setEnvVars(env);
  }

  /** A shell of its own. */
  async createSession(options: { id?: string; env?: Record<string, string | undefined>; cwd?: string; commandTimeoutMs?: number; name?: string } = {}): Promise<ExecutionSession> {
    const { id = options.name ?? `session-${crypto.randomUUID()}`, env, cwd = null, commandTimeoutMs = null } = options;
    await (await this.box()).sessions.create({ name: id, env: variables(env), cwd, timeoutMs: commandTimeoutMs });
    return this.getSession(id);
  }

  /** The session of this id, which its first command makes where there is none. */
  async getSession(id: string): Promise<ExecutionSession> {
    return new ExecutionSession(() => this.box(), id);
  }

  async deleteSession(sessionId: string): Promise<{ success: true; sessionId: string; timestamp: string }> {
    await (await this.box()).sessions.get(sessionId).delete();
    return { success: true, sessionId, timestamp: new Date().toISOString() };
  }

  /** Gives a port a URL. `hostname` is the deployment's here, and is not looked at. */
  async exposePort(port: number, options: { hostname?: string; name?: string; token?: string } = {}): Promise<{ url: string; port: number; name?: string }> {
    const { name, token } = options;
    const exposed = await (await this.box()).ports.expose(port, { ...(name !== undefined && { name }), ...(token !== undefined && { token }) });
    if (exposed.url == null) throw instead("exposePort", "this deployment has no domain for previews; set CABANA_PREVIEW_DOMAIN, or use box.ports.fetch(port, path)");
    return { url: exposed.url, port, ...(name !== undefined && { name }) };
  }

  async unexposePort(port: number): Promise<void> {
    await (await this.box()).ports.close(port);
  }

  async getExposedPorts(_hostname?: string): Promise<{ url: string; port: number; status: "active" }[]> {
    const ports = await (await this.box()).ports.exposed();
    return ports.map(({ url, port }) => ({ url: url ?? "", port, status: "active" }));
  }

  async isPortExposed(port: number): Promise<boolean> {
    return (await (await this.box()).ports.exposed()).some((exposed) => exposed.port === port);
  }

  async validatePortToken(port: number, token: string): Promise<boolean> {
    return (await (await this.box()).ports.exposed()).some((exposed) => exposed.port === port && exposed.token === token);
  }

  /** Sends a request to a program in the sandbox. */
  async containerFetch(request: Request | string | URL, init: RequestInit | number = {}, port = 8080): Promise<Response> {
    const asked = new Request(request, typeof init === "number" ? {} : init);
    const { pathname, search } = new URL(asked.url);
    const body = asked.body === null ? {} : { body: asked.body, duplex: "half" };
    const options = { method: asked.method, headers: asked.headers, redirect: "manual", ...body } as RequestInit;
    return (await this.box()).ports.fetch(typeof init === "number" ? init : port, pathname + search, options);
  }

  async setKeepAlive(keepAlive: boolean): Promise<void> {
    await (await this.box()).update({ keepAlive });
  }

  async setSleepAfter(sleepAfter: string | number): Promise<void> {
    await (await this.box()).update({ sleepAfterMs: spanOf(sleepAfter) });
  }

  async setLabels(labels: Record<string, string>): Promise<void> {
    await (await this.box()).update({ labels });
  }

  async getState(): Promise<{ status: string; lastChange: number }> {
    const { state, since } = await (await this.box()).info();
    return { status: state === "running" ? "healthy" : state === "starting" ? "running" : state === "stopping" ? "stopping" : "stopped", lastChange: Date.parse(since ?? "") };
  }

  async start(): Promise<void> {
    await (await this.box()).start();
  }

  async stop(): Promise<void> {
    await (await this.box()).stop();
  }

  /** Destroys the sandbox. The id may be used again. */
  async destroy(): Promise<void> {
    try {
      await (await this.box()).delete();
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error;
    }
    this.#found = undefined;
  }

  async ping(): Promise<string> {
    await (await this.box()).start();
    return "healthy";
  }

  async createBackup(): Promise<never> {
    throw instead("createBackup", "files survive sleep by themselves; `(await sandbox.box()).snapshots.create()` saves them at any time, and `.restore(id)` brings them back");
  }

  async restoreBackup(): Promise<never> {
    throw instead("restoreBackup", "use `(await sandbox.box()).snapshots.restore(id)`, or make a sandbox with `from: { snapshot: id }`");
  }

  async mountBucket(): Promise<never> {
    throw instead("mountBucket", "mount it in the image, or copy with `(await sandbox.box()).files.extract(path, archive)`");
  }

  async unmountBucket(): Promise<never> {
    throw instead("unmountBucket", "nothing is mounted by this layer");
  }

  async wsConnect(): Promise<never> {
    throw instead("wsConnect", "open a WebSocket to the URL of `exposePort`, or to /v1/sandboxes/{id}/ports/{port}/proxy/ of the service");
  }

  async terminal(): Promise<never> {
    throw instead("terminal", "use `(await sandbox.box()).terminal({ cols, rows })`, which reconnects by itself");
  }

  get tunnels(): never {
    throw instead("tunnels", "use exposePort: its URL stays, and needs no cloudflared");
  }

  /** Starts a context, which keeps its variables from one run to the next. */
  async createCodeContext(options: { language?: string; cwd?: string; envVars?: Record<string, string> } = {}): Promise<CodeContext> {
    const { language = "python", cwd = null, envVars = {} } = options;
    const { id } = await (await this.box()).code.create({ language, cwd, env: envVars });
    return { id, language, cwd: cwd ?? "/workspace", createdAt: new Date(), lastUsed: new Date() };
  }

  async runCode(code: string, options: RunCodeOptions = {}): Promise<Execution> {
    return runCode(await this.box(), code, options);
  }

  /** A run as server-sent events. */
  async runCodeStream(code: string, options: RunCodeOptions = {}): Promise<ReadableStream<Uint8Array>> {
    const box = await this.box();
    return toSse(codeEvents(box.code.run(code, { ...requestOf(options), stream: true })));
  }

  async listCodeContexts(): Promise<CodeContext[]> {
    const { items } = await (await this.box()).code.list();
    return items.map((context) => ({ id: context.context, language: context.language, cwd: "", createdAt: new Date(context.createdAt), lastUsed: new Date(context.lastUsedAt) }));
  }

  async deleteCodeContext(contextId: string): Promise<void> {
    await (await this.box()).code.get(contextId).delete();
  }

  async getContainerPlacementId(): Promise<never> {
    throw instead("getContainerPlacementId", "use `(await sandbox.box()).info()`: `starts` changes with each container");
  }

  async setContainerTimeouts(): Promise<void> {
    // Starts take as long as the service gives them.
  }

  async setSandboxName(): Promise<never> {
    throw instead("setSandboxName", "a sandbox's name is its id, and does not change");
  }
}

/** What a Worker called to serve previews. */
export function proxyToSandbox(): never {
  throw instead("proxyToSandbox", "the service answers the URLs of exposePort itself; remove the call");
}
