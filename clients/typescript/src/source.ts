/** What files, archives and inputs are sent from. */
export type Source = string | Uint8Array<ArrayBuffer> | ArrayBuffer | Blob | ReadableStream<Uint8Array>;

/** A stream can be read once: a request with it is never repeated. */
export const isStream = (source: unknown): source is ReadableStream<Uint8Array> => source instanceof ReadableStream;

/** Its size in bytes, where it is known without a look at all of it. */
export function sizeOf(source: Source): number | undefined {
  if (source instanceof Blob) return source.size;
  if (source instanceof Uint8Array || source instanceof ArrayBuffer) return source.byteLength;
  return undefined;
}
