import { CabanaError, connectionLost } from "./errors.ts";
import { isStream, sizeOf, type Source } from "./source.ts";
import { backoff, pause, type Transport } from "./transport.ts";
import type { CallOptions, Schema } from "./types.ts";
import { concat, encode } from "./wire.ts";

/** A part of an upload that is sent in parts, where the caller does not say: below what Cloudflare's plans take in one request. */
const PART_BYTES = 32 << 20;
/** How often a download goes on after it broke off without a byte. */
const RESUMES = 5;

/** A path, and the session in whose directory a relative one begins. */
interface Place {
  path: string;
  session: string | undefined;
}

export interface DownloadOptions extends CallOptions {
  /** The first byte. */
  offset?: number;
  /** How many bytes. */
  length?: number;
}

export interface UploadOptions extends CallOptions {
  /** Permission bits in octal: `"0755"`. */
  mode?: string;
  /** Writes only if the file is the one of this ETag; `*`: if there is one. */
  ifMatch?: string;
  /** `*`: writes only if there is no file. */
  ifNoneMatch?: string;
  /** More than this is refused, and changes nothing. */
  maxBytes?: number;
  /** Sends it in parts of this size, each of which is repeated where its connection breaks. Readers see the parts as they arrive. Default: in one request, or in parts of 32 MiB where the content is known to be larger than that and no condition is set. */
  partBytes?: number;
}

/** The content of a file. A connection that breaks is made again from the next byte, as long as the file is the same. */
export async function download(transport: Transport, route: string, place: Place, options: DownloadOptions): Promise<ReadableStream<Uint8Array>> {
  const { signal, length } = options;
  let offset = options.offset ?? 0;
  const end = length === undefined ? undefined : offset + length;
  if (length === 0) return new Blob([]).stream();
  const request = (etag?: string) => {
    const headers: Record<string, string> = { "accept-encoding": "identity" };
    if (offset > 0 || end !== undefined) headers["range"] = `bytes=${offset}-${end === undefined ? "" : end - 1}`;
    if (etag !== undefined) headers["if-match"] = etag;
    return transport.open({ path: route, query: place, headers, signal });
  };
  const first = await request();
  const etag = first.headers.get("etag") ?? undefined;
  let reader = first.body?.getReader();
  let attempts = 0;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      for (;;) {
        try {
          reader ??= (await request(etag)).body?.getReader();
          const piece = await reader?.read();
          if (!piece || piece.done) return controller.close();
          offset += piece.value.length;
          attempts = 0;
          return controller.enqueue(piece.value);
        } catch (cause) {
          signal?.throwIfAborted();
          if (cause instanceof CabanaError && cause.code !== "connection_lost") throw cause;
          attempts += 1;
          if (etag === undefined || attempts > RESUMES) throw connectionLost(cause, "the download broke off");
          reader = undefined;
          await pause(backoff(attempts), signal);
        }
      }
    },
    async cancel(reason) {
      await reader?.cancel(reason);
    },
  }, { highWaterMark: 0 });
}

/** Writes a file in one request, or in parts. */
export async function upload(transport: Transport, route: string, place: Place, content: Source, options: UploadOptions): Promise<Schema<"Written">> {
  const { signal, mode, ifMatch, ifNoneMatch, maxBytes, partBytes } = options;
  const source = typeof content === "string" ? encode(content) : content;
  const conditional = ifMatch !== undefined || ifNoneMatch !== undefined || maxBytes !== undefined;
  if (partBytes !== undefined || (!conditional && (sizeOf(source) ?? 0) > PART_BYTES)) {
    return uploadParts(transport, route, place, source, { ...options, partBytes: partBytes ?? PART_BYTES });
  }
  const headers: Record<string, string> = {};
  if (ifMatch !== undefined) headers["if-match"] = ifMatch;
  if (ifNoneMatch !== undefined) headers["if-none-match"] = ifNoneMatch;
  // With a condition on what was there before, a repeat after a lost answer would fail on its own success.
  return transport.json({ method: "PUT", path: route, query: { ...place, mode, maxBytes }, source, headers, signal, idempotent: !conditional });
}

async function uploadParts(transport: Transport, route: string, place: Place, source: Exclude<Source, string>, options: UploadOptions & { partBytes: number }): Promise<Schema<"Written">> {
  const { signal, mode, partBytes } = options;
  let offset = 0;
  let created: boolean | undefined;
  let written: Schema<"Written"> | undefined;
  for await (const { part, last } of parts(source, partBytes)) {
    const size = sizeOf(part) ?? 0;
    if (size === 0 && offset === 0) return upload(transport, route, place, new Uint8Array(), { signal, mode });
    // An unknown length keeps a longer file's end: the last part says where the file ends.
    const range = size === 0 ? undefined : `bytes ${offset}-${offset + size - 1}/${last ? offset + size : "*"}`;
    if (range === undefined) break;
    const headers = { "content-range": range };
    written = await transport.json<Schema<"Written">>({ method: "PUT", path: route, query: { ...place, mode }, source: part, headers, signal });
    created ??= written.created;
    offset += size;
  }
  return { ...written!, created: created ?? false };
}

/** The source in parts of this size; of a stream, one part is held. */
async function* parts(source: Exclude<Source, string>, size: number): AsyncGenerator<{ part: Exclude<Source, string>; last: boolean }, void, void> {
  if (!isStream(source)) {
    const whole = source instanceof Blob ? source : new Blob([source]);
    for (let start = 0; start === 0 || start < whole.size; start += size) {
      yield { part: whole.slice(start, start + size), last: start + size >= whole.size };
    }
    return;
  }
  let held: Uint8Array[] = [];
  let length = 0;
  for await (let piece of source) {
    // A part is sent once more comes: so the last one is known to be the last.
    while (length + piece.length > size) {
      const room = size - length;
      yield { part: concat([...held, piece.subarray(0, room)]), last: false };
      piece = piece.subarray(room);
      held = [];
      length = 0;
    }
    if (piece.length > 0) held.push(piece);
    length += piece.length;
  }
  yield { part: concat(held), last: true };
}
