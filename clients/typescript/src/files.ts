import { download, upload, type DownloadOptions, type UploadOptions } from "./content.ts";
import { connectionLost } from "./errors.ts";
import type { operations } from "./generated/api.ts";
import { jsonLines } from "./lines.ts";
import { Operations, resultOf } from "./operations.ts";
import type { Source } from "./source.ts";
import { failure, type Transport } from "./transport.ts";
import type { CallOptions, Options, QueryOf, RequestOf, ResponseOf, Schema } from "./types.ts";
import { decode, fromWire, type Data } from "./wire.ts";

/** A change of something in a directory. */
export type FileChange = ResponseOf<"file.changes">["changes"][number];

/** What a watch tells. */
export type WatchEvent = FileChange | { type: "ready" } | { type: "overflow" };

/** The files of a sandbox. Relative paths begin at its first root, `/workspace`; those of a session's files in its directory. */
export class Files extends Operations {
  readonly #session: string | undefined;

  constructor(transport: Transport, sandbox: string, session?: string) {
    super(transport, sandbox);
    this.#session = session;
  }

  protected override call<Name extends keyof operations & string>(name: Name, request: RequestOf<Name>, options?: CallOptions): Promise<ResponseOf<Name>> {
    return super.call(name, this.#place(request as object) as RequestOf<Name>, options);
  }

  /** What says where a relative path begins. */
  #place<Fields extends object>(fields: Fields): Fields & { session: string | undefined } {
    return { ...fields, session: this.#session };
  }

  /** The text of a file of any size, or of a range of its lines. */
  async read(path: string, options: DownloadOptions & { lines?: { from?: number; to?: number } } = {}): Promise<string> {
    const { lines, signal, ...range } = options;
    if (lines !== undefined) {
      const { content } = await this.call("file.read", { path, lines, encoding: "text" } as RequestOf<"file.read">, { signal });
      return content as string;
    }
    return decode(await this.bytes(path, { ...range, signal }));
  }

  /** The bytes of a file, or of a range of it. */
  async bytes(path: string, options: DownloadOptions = {}): Promise<Uint8Array> {
    return new Uint8Array(await new Response(await this.stream(path, options)).arrayBuffer());
  }

  /** The content of a file as it comes. A download that breaks off goes on where it was, as long as the file is the same. */
  stream(path: string, options: DownloadOptions = {}): Promise<ReadableStream<Uint8Array>> {
    return download(this.transport, this.route("/files"), this.#place({ path }), options);
  }

  /** Writes a file of any size, and makes missing directories. It appears whole, unless it is sent in parts. */
  write(path: string, content: Source, options: UploadOptions = {}): Promise<Schema<"Written">> {
    return upload(this.transport, this.route("/files"), this.#place({ path }), content, options);
  }

  /** Appends to a file, which is made where it is missing. At most 8 MiB. */
  append(path: string, content: string | Uint8Array, options?: CallOptions): Promise<ResponseOf<"file.write">> {
    return this.call("file.write", { path, content: content as Data, append: true }, options);
  }

  /** Reads up to 1,000 small files. Each fails for itself. */
  async readMany(paths: string[], options?: CallOptions): Promise<ResponseOf<"file.read_many">["items"]> {
    return (await this.call("file.read_many", { paths }, options)).items;
  }

  /** Writes up to 1,000 small files, in their order. Each fails for itself. */
  async writeMany(files: { path: string; content: string | Uint8Array; mode?: string }[], options?: CallOptions): Promise<ResponseOf<"file.write_many">["items"]> {
    return (await this.call("file.write_many", { files: files as Schema<"NewFile">[] }, options)).items;
  }

  /** Describes one path, without following a symlink at its end. */
  stat(path: string, options?: CallOptions): Promise<Schema<"Metadata">> {
    return this.call("file.stat", { path }, options);
  }

  /** Describes up to 1,000 paths. */
  async statMany(paths: string[], options?: CallOptions): Promise<ResponseOf<"file.stat_many">["items"]> {
    return (await this.call("file.stat_many", { paths }, options)).items;
  }

  /** Whether there is something of this path. */
  async exists(path: string, options?: CallOptions): Promise<boolean> {
    const [item] = await this.statMany([path], options);
    if (item?.type === "file") return true;
    if (item?.error.code === "not_found") return false;
    throw failure({ error: item!.error as Parameters<typeof failure>[0]["error"] });
  }

  /** One page of a directory, sorted by name; `cursor` begins the next. */
  list(path = ".", options: Options<"file.list", "path"> = {}): Promise<ResponseOf<"file.list">> {
    const { signal, ...request } = options;
    return this.call("file.list", { path, ...request }, { signal });
  }

  /** All entries of a directory, page by page. */
  async *entries(path = ".", options: Options<"file.list", "path" | "cursor"> = {}): AsyncGenerator<Schema<"Metadata">, void, void> {
    let cursor: Data | null | undefined;
    do {
      const page = await this.list(path, cursor == null ? options : { ...options, cursor } as Options<"file.list", "path">);
      yield* page.items;
      cursor = page.cursor as Data | null | undefined;
    } while (cursor != null);
  }

  /** Makes a directory. */
  async mkdir(path: string, options: Options<"file.mkdir", "path"> = {}): Promise<void> {
    const { signal, ...request } = options;
    await this.call("file.mkdir", { path, ...request }, { signal });
  }

  /** Removes a file, a symlink, or a directory. */
  async remove(path: string, options: Options<"file.remove", "path"> = {}): Promise<void> {
    const { signal, ...request } = options;
    await this.call("file.remove", { path, ...request }, { signal });
  }

  /** Removes a file if it is the one of this ETag. */
  async removeIfMatch(path: string, etag: string, options: CallOptions = {}): Promise<void> {
    await this.transport.json({ method: "DELETE", path: this.route("/files"), query: this.#place({ path }), headers: { "if-match": etag }, ...options });
  }

  /** Renames a file, symlink or directory. */
  async move(from: string, to: string, options?: CallOptions): Promise<void> {
    await this.call("file.move", { from, to }, options);
  }

  /** Copies a file, a symlink, or with `recursive` a directory. */
  async copy(from: string, to: string, options: Options<"file.copy", "from" | "to"> = {}): Promise<void> {
    const { signal, ...request } = options;
    await this.call("file.copy", { from, to, ...request }, { signal });
  }

  /** Makes a symlink at `path`. */
  async symlink(path: string, target: string, options?: CallOptions): Promise<void> {
    await this.call("file.symlink", { path, target }, options);
  }

  /** Sets the permission bits, in octal: `"0755"`. */
  async chmod(path: string, mode: string, options?: CallOptions): Promise<void> {
    await this.call("file.chmod", { path, mode }, options);
  }

  /** Finds files by a glob, however deep they are. */
  find(pattern: string, options: Options<"file.find", "pattern" | "path"> & { path?: string } = {}): Promise<ResponseOf<"file.find">> {
    const { signal, path = ".", ...request } = options;
    return this.call("file.find", { path, pattern, ...request }, { signal });
  }

  /** Searches files line by line for a regular expression. */
  search(pattern: string, options: Options<"file.search", "pattern" | "path"> & { path?: string } = {}): Promise<ResponseOf<"file.search">> {
    const { signal, path = ".", ...request } = options;
    return this.call("file.search", { path, pattern, ...request }, { signal });
  }

  /** Replaces text in a file: all the edits, or none. */
  edit(path: string, edits: { old: string; new: string; all?: boolean }[], options: Options<"file.edit", "path" | "edits"> = {}): Promise<ResponseOf<"file.edit">> {
    const { signal, ...request } = options;
    return this.call("file.edit", { path, edits, ...request }, { signal });
  }

  /** Applies a unified diff below a directory: all of it, or nothing. */
  patch(patch: string, options: Options<"file.patch", "path" | "patch"> & { path?: string } = {}): Promise<ResponseOf<"file.patch">> {
    const { signal, path = ".", ...request } = options;
    return this.call("file.patch", { path, patch, ...request }, { signal });
  }

  /** What has changed in a directory since the last time it was asked. */
  changes(path = ".", options: Options<"file.changes", "path"> = {}): Promise<ResponseOf<"file.changes">> {
    const { signal, ...request } = options;
    return this.call("file.changes", { path, ...request }, { signal });
  }

  /** Changes in a directory as they happen. Leaving the loop ends the watch. A broken connection is an error: what happened meanwhile is not known. */
  async *watch(path = ".", options: Options<"file.watch", "path"> = {}): AsyncGenerator<WatchEvent, void, void> {
    const { signal, ...request } = options;
    const headers = { accept: "application/x-ndjson" };
    const response = await this.transport.open({ method: "POST", path: this.route("/file/watch"), json: this.#place({ path, ...request }), headers, signal, idempotent: true });
    for await (const line of jsonLines<{ type: string }>(response.body!)) {
      if (resultOf(line) !== undefined) return;
      yield fromWire<WatchEvent>(line);
    }
    throw connectionLost(undefined, "the watch broke off");
  }

  /** A directory, or a file, as a tar archive. A download that breaks off ends in an error. */
  async archive(path = ".", options: Omit<QueryOf<"archive.download">, "path" | "include" | "exclude"> & { include?: string[]; exclude?: string[] } & CallOptions = {}): Promise<ReadableStream<Uint8Array>> {
    const { signal, ...query } = options;
    const response = await this.transport.open({ path: this.route("/archive"), query: this.#place({ path, ...query }), signal });
    return response.body ?? new Blob([]).stream();
  }

  /** Extracts a tar archive, plain or compressed, into a directory. */
  extract(path: string, archive: Exclude<Source, string>, options: CallOptions = {}): Promise<Schema<"Extracted">> {
    return this.transport.json({ method: "PUT", path: this.route("/archive"), query: this.#place({ path }), source: archive, ...options });
  }

  /** A URL that downloads or uploads this one file without another credential. */
  link(path: string, action: Schema<"LinkAction">, options: Omit<Schema<"CreateLink">, "path" | "action"> & CallOptions = {}): Promise<Schema<"FileLink">> {
    const { signal, ...request } = options;
    return this.transport.json({ method: "POST", path: this.route("/links"), json: { path, action, ...request }, signal });
  }
}

