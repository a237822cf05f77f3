import { Operations } from "./operations.ts";
import type { CallOptions, Schema } from "./types.ts";

/** The snapshots of a sandbox's files. */
export class Snapshots extends Operations {
  /** Saves the files as they are now. */
  create(options: Schema<"CreateSnapshot"> & CallOptions = {}): Promise<Schema<"Snapshot">> {
    const { signal, ...request } = options;
    return this.transport.json({ method: "POST", path: this.route("/snapshots"), json: request, signal });
  }

  /** Those that there are, the newest first. */
  async list(options: CallOptions = {}): Promise<Schema<"Snapshot">[]> {
    return (await this.transport.json<Schema<"Snapshots">>({ path: this.route("/snapshots"), ...options })).items;
  }

  /** Describes one. */
  get(snapshot: string, options: CallOptions = {}): Promise<Schema<"Snapshot">> {
    return this.transport.json({ path: this.route(`/snapshots/${snapshot}`), ...options });
  }

  /** Brings its files back. The present files are kept as one more snapshot first, and the sandbox is stopped. */
  restore(snapshot: string, options: CallOptions = {}): Promise<Schema<"Sandbox">> {
    return this.transport.json({ method: "POST", path: this.route(`/snapshots/${snapshot}/restore`), ...options });
  }

  /** Forgets one. */
  async delete(snapshot: string, options: CallOptions = {}): Promise<void> {
    await this.transport.json({ method: "DELETE", path: this.route(`/snapshots/${snapshot}`), ...options });
  }
}
