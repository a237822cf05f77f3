import { Operations } from "./operations.ts";
import type { Options, ResponseOf, Schema } from "./types.ts";

interface Progress {
  /** Hears how far a transfer is. */
  onProgress?: (event: Schema<"TransferEvent">) => void;
}

/** Git in a sandbox. `path` is the repository; default: the first root. */
export class Git extends Operations {
  /** Clones a repository over HTTP or HTTPS. */
  clone(url: string, options: Options<"git.clone", "url"> & Progress = {}): Promise<ResponseOf<"git.clone">> {
    const { signal, onProgress, ...request } = options;
    return this.transfer("git.clone", { url, ...request }, { signal }, onProgress);
  }

  /** Fetches a branch and brings the one that is checked out up to it. */
  pull(options: Options<"git.pull"> & Progress = {}): Promise<ResponseOf<"git.pull">> {
    const { signal, onProgress, ...request } = options;
    return this.transfer("git.pull", request, { signal }, onProgress);
  }

  /** Pushes a branch to the branch of the same name. */
  push(options: Options<"git.push"> & Progress = {}): Promise<ResponseOf<"git.push">> {
    const { signal, onProgress, ...request } = options;
    return this.transfer("git.push", request, { signal }, onProgress);
  }

  /** Which branch is checked out, and what has changed. */
  status(options: Options<"git.status"> = {}): Promise<ResponseOf<"git.status">> {
    const { signal, ...request } = options;
    return this.call("git.status", request, { signal });
  }

  /** What differs, as a unified diff and as counts. */
  diff(options: Options<"git.diff"> = {}): Promise<ResponseOf<"git.diff">> {
    const { signal, ...request } = options;
    return this.call("git.diff", request, { signal });
  }

  /** Commits, the newest first. */
  log(options: Options<"git.log"> = {}): Promise<ResponseOf<"git.log">> {
    const { signal, ...request } = options;
    return this.call("git.log", request, { signal });
  }

  /** The branches. */
  async branches(options: Options<"git.branch", "action"> = {}): Promise<Schema<"BranchInfo">[]> {
    const { signal, ...request } = options;
    return (await this.call("git.branch", request, { signal })).items;
  }

  /** Makes a branch, without checking it out. */
  async createBranch(name: string, options: { start?: string } & Options<"git.branch", "action"> = {}): Promise<Schema<"BranchInfo">[]> {
    const { signal, start, ...request } = options;
    return (await this.call("git.branch", { action: { type: "create", name, start }, ...request }, { signal })).items;
  }

  /** Deletes a branch; with `force` even if its commits are nowhere else. */
  async deleteBranch(name: string, options: { force?: boolean } & Options<"git.branch", "action"> = {}): Promise<Schema<"BranchInfo">[]> {
    const { signal, force, ...request } = options;
    return (await this.call("git.branch", { action: { type: "delete", name, force }, ...request }, { signal })).items;
  }

  /** Checks out a branch, a new branch, or a commit. */
  checkout(options: Options<"git.checkout">): Promise<ResponseOf<"git.checkout">> {
    const { signal, ...request } = options;
    return this.call("git.checkout", request, { signal });
  }

  /** Stages files as they are now. */
  add(options: Options<"git.add">): Promise<ResponseOf<"git.add">> {
    const { signal, ...request } = options;
    return this.call("git.add", request, { signal });
  }

  /** Commits what is staged. */
  commit(message: string, options: Options<"git.commit", "message"> = {}): Promise<ResponseOf<"git.commit">> {
    const { signal, ...request } = options;
    return this.call("git.commit", { message, ...request }, { signal });
  }
}
