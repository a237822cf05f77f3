import { finish } from "./operations.ts";
import { Sandbox, type Disposal } from "./sandbox.ts";
import { Transport, type CabanaOptions } from "./transport.ts";
import type { CallOptions, QueryOf, Schema } from "./types.ts";

export interface CreateOptions extends Schema<"CreateSandbox">, CallOptions {
  /** What becomes of it at the end of an `await using` block. Default: it is deleted. */
  dispose?: Disposal;
  /** Hears how its project's setup goes. */
  onSetup?: (event: Schema<"SetupEvent">) => void;
}

/** A service of Cabana. Makes no call by itself. */
export class Cabana {
  readonly #transport: Transport;
  readonly keys: Keys;
  readonly projects: Projects;
  readonly secrets: Secrets;

  constructor(options: CabanaOptions = {}) {
    this.#transport = new Transport(options);
    this.keys = new Keys(this.#transport);
    this.projects = new Projects(this.#transport);
    this.secrets = new Secrets(this.#transport);
  }

  /** Makes a sandbox, or finds the one of its name. Its container starts with its first operation. */
  async create(options: CreateOptions = {}): Promise<Sandbox> {
    const { signal, dispose = "delete", onSetup, ...json } = options;
    // Without a name, a repeat would make another one.
    const call = { method: "POST" as const, path: "/v1/sandboxes", json, signal, idempotent: options.name != null };
    const { id } = onSetup === undefined
      ? await this.#transport.json<Schema<"Sandbox">>(call)
      : await finish<Schema<"SetupEvent">, Schema<"Sandbox">>(await this.#transport.open({ ...call, headers: { accept: "application/x-ndjson" } }), onSetup);
    return new Sandbox(this.#transport, id, dispose);
  }

  /** The sandbox of this id, which exists. Makes no call. */
  sandbox(id: string): Sandbox {
    return new Sandbox(this.#transport, id);
  }

  /** A page of the sandboxes that the key may see. */
  list(options: Omit<QueryOf<"sandbox.list">, "label"> & { label?: string[] } & CallOptions = {}): Promise<Schema<"Sandboxes">> {
    const { signal, ...query } = options;
    return this.#transport.json({ path: "/v1/sandboxes", query, signal });
  }

  /** All sandboxes that the key may see, page by page. */
  async *sandboxes(options: Parameters<Cabana["list"]>[0] = {}): AsyncGenerator<Schema<"Sandbox">, void, void> {
    let cursor: string | null | undefined;
    do {
      const page = await this.list({ ...options, ...(cursor != null && { cursor }) });
      yield* page.items;
      cursor = page.cursor;
    } while (cursor != null);
  }

  /** The kinds of sandboxes of this deployment. */
  async kinds(options: CallOptions = {}): Promise<Schema<"SandboxKind">[]> {
    return (await this.#transport.json<Schema<"SandboxKinds">>({ path: "/v1/kinds", ...options })).items;
  }

  /** Whether the gateway is up, and its version. */
  health(options: CallOptions = {}): Promise<Schema<"Health">> {
    return this.#transport.json({ path: "/health", ...options });
  }
}

/** The API keys of a tenant. */
export class Keys {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Makes one. This answer alone contains it. */
  create(options: Schema<"CreateKey"> & CallOptions): Promise<Schema<"NewKey">> {
    const { signal, ...json } = options;
    return this.#transport.json({ method: "POST", path: "/v1/keys", json, signal });
  }

  /** A page of them, the newest first. */
  list(options: QueryOf<"key.list"> & CallOptions = {}): Promise<Schema<"KeyPage">> {
    const { signal, ...query } = options;
    return this.#transport.json({ path: "/v1/keys", query, signal });
  }

  get(key: string, options: CallOptions = {}): Promise<Schema<"Key">> {
    return this.#transport.json({ path: `/v1/keys/${encodeURIComponent(key)}`, ...options });
  }

  rename(key: string, name: string, options: CallOptions = {}): Promise<Schema<"Key">> {
    return this.#transport.json({ method: "PATCH", path: `/v1/keys/${encodeURIComponent(key)}`, json: { name }, idempotent: true, ...options });
  }

  /** Revokes one, and those that it made. */
  async revoke(key: string, options: CallOptions = {}): Promise<void> {
    await this.#transport.json({ method: "DELETE", path: `/v1/keys/${encodeURIComponent(key)}`, ...options });
  }
}

/** The projects of a tenant: what sets sandboxes up from a repository. */
export class Projects {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  create(project: Schema<"CreateProject">, options: CallOptions = {}): Promise<Schema<"Project">> {
    return this.#transport.json({ method: "POST", path: "/v1/projects", json: project, ...options });
  }

  list(options: QueryOf<"project.list"> & CallOptions = {}): Promise<Schema<"Projects">> {
    const { signal, ...query } = options;
    return this.#transport.json({ path: "/v1/projects", query, signal });
  }

  get(name: string, options: CallOptions = {}): Promise<Schema<"Project">> {
    return this.#transport.json({ path: `/v1/projects/${encodeURIComponent(name)}`, ...options });
  }

  update(name: string, changes: object, options: CallOptions = {}): Promise<Schema<"Project">> {
    return this.#transport.json({ method: "PATCH", path: `/v1/projects/${encodeURIComponent(name)}`, json: changes, idempotent: true, ...options });
  }

  async delete(name: string, options: CallOptions = {}): Promise<void> {
    await this.#transport.json({ method: "DELETE", path: `/v1/projects/${encodeURIComponent(name)}`, ...options });
  }
}

/** The secrets of a tenant: what the service adds to sandboxes' requests, outside the sandbox, by `network.secrets`. */
export class Secrets {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Stores one, or puts a new value in place of the stored one. */
  put(secret: Schema<"CreateSecret">, options: CallOptions = {}): Promise<Schema<"Secret">> {
    return this.#transport.json({ method: "POST", path: "/v1/secrets", json: secret, ...options });
  }

  list(options: QueryOf<"secret.list"> & CallOptions = {}): Promise<Schema<"Secrets">> {
    const { signal, ...query } = options;
    return this.#transport.json({ path: "/v1/secrets", query, signal });
  }

  /** One, without its value. */
  get(name: string, options: CallOptions = {}): Promise<Schema<"Secret">> {
    return this.#transport.json({ path: `/v1/secrets/${encodeURIComponent(name)}`, ...options });
  }

  async delete(name: string, options: CallOptions = {}): Promise<void> {
    await this.#transport.json({ method: "DELETE", path: `/v1/secrets/${encodeURIComponent(name)}`, ...options });
  }
}
