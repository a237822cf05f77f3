import { CabanaError, connectionLost, errorOf, type ErrorCode } from "./errors.ts";
import { IDEMPOTENT } from "./generated/operations.ts";
import { isStream, type Source } from "./source.ts";
import type { CallOptions } from "./types.ts";
import { fromWire, toWire } from "./wire.ts";

export interface CabanaOptions {
  /** Where the service is. Default: the variable `CABANA_URL`. */
  url?: string;
  /** An API key, a JWT or a connect token. Default: the variable `CABANA_API_KEY`. */
  key?: string;
  /** The tenant that is meant, where the key is the operator's. */
  tenant?: string;
  /** How requests are sent. In a Worker, `env.CABANA.fetch.bind(env.CABANA)` sends them by the service binding. */
  fetch?: typeof fetch;
  /** How sockets are opened, where the runtime has none (Node 20). */
  WebSocket?: typeof WebSocket;
  /** How often a request is repeated, where a repeat is safe. Default: 4. */
  retries?: number;
}

/** One request to the service. */
export interface Call extends CallOptions {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  path: string;
  query?: object;
  /** A body in JSON, whose names are in camelCase. */
  json?: object;
  /** A body of bytes. */
  source?: Source;
  headers?: Record<string, string>;
  /** Whether a repeat after a lost answer does no harm. Default: what the method says. */
  idempotent?: boolean;
}

/** How long the first pause before a repeat is, and the longest that none of the service's asks for. */
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 10_000;

/** Whether this is a Worker, whose fetch has its own ways. */
const IN_WORKER = "WebSocketPair" in globalThis;

/** Waits. Rejects with the signal's reason when it is aborted. */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/** The pause before a repeat: longer each time, and another one for each client (jitter). */
export const backoff = (attempt: number): number => Math.min(FIRST_PAUSE_MS * 2 ** attempt, LONGEST_PAUSE_MS) * (0.5 + Math.random() / 2);

const variable = (name: string): string | undefined =>
  (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name];

/** Sends requests, repeats them where that is safe, and makes errors of refusals. */
export class Transport {
  readonly #url: string;
  readonly #key: string;
  readonly #tenant: string | undefined;
  readonly #fetch: typeof fetch;
  readonly #retries: number;
  readonly #webSocket: typeof WebSocket | undefined;

  constructor(options: CabanaOptions) {
    const url = options.url ?? variable("CABANA_URL");
    const key = options.key ?? variable("CABANA_API_KEY");
    if (!url) throw new TypeError("new Cabana: `url` is missing, and the variable CABANA_URL is not set");
    if (!key) throw new TypeError("new Cabana: `key` is missing, and the variable CABANA_API_KEY is not set");
    this.#url = url.replace(/\/+$/, "");
    this.#key = key;
    this.#tenant = options.tenant;
    // Called as a method, the runtime's fetch refuses another `this`.
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
    this.#retries = options.retries ?? 4;
    this.#webSocket = options.WebSocket ?? globalThis.WebSocket;
  }

  /** Sends an operation of a sandbox; answers with its result. */
  operation<T>(sandbox: string, name: string, request: object, options: CallOptions, idempotent = IDEMPOTENT.has(name)): Promise<T> {
    const path = `/v1/sandboxes/${sandbox}/${name.replace(".", "/")}`;
    return this.json({ method: "POST", path, json: request, signal: options.signal, idempotent });
  }

  /** The answer in JSON, its names in camelCase; undefined where there is none. */
  json<T>(call: Call): Promise<T> {
    return this.#repeat(call, async (response) => {
      const text = await response.text();
      if (text === "") return undefined as T;
      const answer = JSON.parse(text) as unknown;
      // An operation that takes long begins its answer before it knows whether it succeeds.
      if (isFailure(answer)) throw failure(answer, response.status);
      return fromWire<T>(answer);
    });
  }

  /** The answer as it comes. Its body is the caller's to read or to cancel. */
  open(call: Call): Promise<Response> {
    return this.#repeat(call, async (response) => response);
  }

  /** Sends a request as it is; the answer is that of a program in the sandbox, whatever its status. */
  forward(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("authorization", `Bearer ${this.#key}`);
    if (this.#tenant !== undefined) headers.set("x-cabana-tenant", this.#tenant);
    return this.#fetch(this.#url + path, { ...init, headers });
  }

  /** Opens a socket; resolves once it is open. */
  async socket(path: string, signal: AbortSignal | undefined): Promise<WebSocket> {
    const url = this.#url + path;
    // A Worker upgrades by fetch, which service bindings carry, too.
    if (IN_WORKER) {
      const response = await this.open({ path, headers: { upgrade: "websocket" }, signal });
      const { webSocket } = response as unknown as { webSocket?: WebSocket & { accept(): void } };
      if (!webSocket) throw connectionLost(undefined, "the service did not upgrade the connection");
      webSocket.accept();
      return webSocket;
    }
    const WebSocket = this.#webSocket;
    if (!WebSocket) throw new TypeError("this runtime has no WebSocket: pass one to new Cabana({ WebSocket })");
    signal?.throwIfAborted();
    const socket = new WebSocket(url.replace(/^http/, "ws"), [`cabana.token.${this.#key}`]);
    await new Promise<void>((resolve, reject) => {
      const abort = () => {
        socket.close();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
      const settle = (act: () => void) => () => {
        signal?.removeEventListener("abort", abort);
        act();
      };
      socket.addEventListener("open", settle(resolve), { once: true });
      socket.addEventListener("error", settle(() => reject(connectionLost(undefined, "the socket could not be opened"))), { once: true });
    });
    return socket;
  }

  async #repeat<T>(call: Call, read: (response: Response) => Promise<T>): Promise<T> {
    const { signal } = call;
    const method = call.method ?? "GET";
    const replayable = !isStream(call.source);
    const idempotent = call.idempotent ?? (method !== "POST" && method !== "PATCH");
    for (let attempt = 0; ; attempt += 1) {
      signal?.throwIfAborted();
      try {
        const response = await this.#fetch(this.#url + call.path + query(call.query), this.#init(method, call));
        if (!response.ok && response.status !== 101) throw await refusal(response);
        return await read(response);
      } catch (cause) {
        signal?.throwIfAborted();
        const error = cause instanceof CabanaError ? cause : connectionLost(cause);
        const safe = error.retryable || (error.code === "connection_lost" && idempotent);
        if (!replayable || !safe || attempt >= this.#retries) throw error;
        await pause((error.retryAfterMs ?? 0) + backoff(attempt), signal);
      }
    }
  }

  #init(method: string, call: Call): RequestInit {
    const headers: Record<string, string> = { authorization: `Bearer ${this.#key}`, ...call.headers };
    if (this.#tenant !== undefined) headers["x-cabana-tenant"] = this.#tenant;
    const init: RequestInit = { method, headers, signal: call.signal ?? null };
    if (call.source !== undefined) {
      headers["content-type"] = "application/octet-stream";
      init.body = call.source;
      if (isStream(call.source)) Object.assign(init, { duplex: "half" });
      // Where it might be redirected, Node keeps a copy of all that it has sent.
      if (isStream(call.source) && !IN_WORKER) Object.assign(init, { redirect: "error", window: null });
    } else if (call.json !== undefined) {
      headers["content-type"] = "application/json";
      init.body = JSON.stringify(toWire(call.json));
    }
    return init;
  }
}

/** A query of the wire's names: text as it is, lists as repeated parameters, all else as JSON. */
function query(parameters: object | undefined): string {
  if (parameters === undefined) return "";
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(toWire(parameters))) {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (item !== null) search.append(name, typeof item === "string" ? item : JSON.stringify(item));
    }
  }
  const text = search.toString();
  return text === "" ? "" : `?${text}`;
}

interface Failure {
  error: { code: ErrorCode; message: string; retryable?: boolean; details?: Record<string, unknown> };
  request_id: string;
}

const isFailure = (answer: unknown): answer is Failure =>
  typeof answer === "object" && answer !== null && "error" in answer && "request_id" in answer;

/** The error that a body or the last line of a stream tells of. */
export function failure({ error, request_id: requestId }: { error: Failure["error"]; request_id?: string | undefined }, status = 0): CabanaError {
  const details = error.details === undefined ? undefined : fromWire<Record<string, unknown>>(error.details);
  const { code, message, retryable = false } = error;
  return errorOf({ code, message, retryable, details, requestId, status });
}

/** The error of an answer that is not a success. */
async function refusal(response: Response): Promise<CabanaError> {
  const text = await response.text();
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    // Something on the way has answered in the service's place, or the request was a HEAD.
  }
  if (isFailure(answer)) {
    const after = Number(response.headers.get("retry-after"));
    answer.error.details = { ...(after > 0 && { retry_after_ms: after * 1000 }), ...answer.error.details };
    return failure(answer, response.status);
  }
  const requestId = response.headers.get("x-request-id") ?? undefined;
  const code = response.status === 404 ? "not_found" : response.status === 412 ? "precondition_failed" : "agent_unavailable";
  return errorOf({ code, status: response.status, requestId, message: `the answer was ${response.status}, and not of the service` });
}
