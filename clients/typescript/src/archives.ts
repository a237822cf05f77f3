import { Operations } from "./operations.ts";
import type { CallOptions, Schema } from "./types.ts";

/** Archives of a tenant's sandboxes, in the deployment's bucket. */
export class Archives extends Operations {
  /** Makes one of a directory of this sandbox. */
  create(options: Schema<"CreateArchive"> & CallOptions = {}): Promise<Schema<"Archive">> {
    const { signal, ...request } = options;
    return this.transport.json({ method: "POST", path: this.route("/archives"), json: request, signal });
  }

  /** Those of the tenant, the newest first. */
  async list(options: CallOptions = {}): Promise<Schema<"Archive">[]> {
    return (await this.transport.json<Schema<"Archives">>({ path: this.route("/archives"), ...options })).items;
  }

  /** Describes one. */
  get(archive: string, options: CallOptions = {}): Promise<Schema<"Archive">> {
    return this.transport.json({ path: this.route(`/archives/${archive}`), ...options });
  }

  /** Has a directory of this sandbox hold what the archive holds, and nothing else. */
  restore(archive: string, options: Schema<"RestoreArchive"> & CallOptions = {}): Promise<Schema<"Extracted">> {
    const { signal, ...request } = options;
    return this.transport.json({ method: "POST", path: this.route(`/archives/${archive}/restore`), json: request, signal });
  }

  /** Forgets one. */
  async delete(archive: string, options: CallOptions = {}): Promise<void> {
    await this.transport.json({ method: "DELETE", path: this.route(`/archives/${archive}`), ...options });
  }
}
