import { CabanaError } from "../errors.ts";
import { concat, encode, fromBase64, toBase64 } from "../wire.ts";

/** Server-sent events of JSON, as 0.12 streams them: unnamed, with the type inside. */
export function toSse(events: AsyncIterable<object>): ReadableStream<Uint8Array> {
  const iterator = events[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await iterator.next();
        if (done) return controller.close();
        controller.enqueue(encode(`data: ${JSON.stringify({ timestamp: new Date().toISOString(), ...value })}\n\n`));
      } catch (error) {
        if (!(error instanceof CabanaError)) throw error;
        controller.enqueue(encode(`data: ${JSON.stringify({ type: "error", error: error.message })}\n\n`));
        controller.close();
      }
    },
    async cancel() {
      await iterator.return?.();
    },
  }, { highWaterMark: 0 });
}

/** The events of a stream of server-sent events. */
export async function* parseSSEStream<T>(stream: ReadableStream<Uint8Array>, signal?: AbortSignal): AsyncGenerator<T, void, void> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of stream) {
    signal?.throwIfAborted();
    text += decoder.decode(piece, { stream: true });
    const blocks = text.split(/\r?\n\r?\n/);
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
      if (data.length > 0) yield JSON.parse(data.join("\n")) as T;
    }
  }
}

/** What a file is, and its content. */
export interface FileMetadata { mimeType: string; size: number; isBinary: boolean; encoding: "utf-8" | "base64" }
type FileEvent = ({ type: "metadata" } & FileMetadata) | { type: "chunk"; data: string } | { type: "complete"; bytesRead: number } | { type: "error"; error: string };

/** The events of `readFileStream`. Text is cut between characters. */
export async function* fileEvents(content: ReadableStream<Uint8Array>, metadata: FileMetadata): AsyncGenerator<FileEvent, void, void> {
  yield { type: "metadata", ...metadata };
  const decoder = new TextDecoder();
  let bytesRead = 0;
  for await (const piece of content) {
    bytesRead += piece.length;
    yield { type: "chunk", data: metadata.isBinary ? toBase64(piece) : decoder.decode(piece, { stream: true }) };
  }
  yield { type: "complete", bytesRead };
}

/** The chunks of a `readFileStream`: strings of a text, bytes of anything else. */
export async function* streamFile(stream: ReadableStream<Uint8Array>): AsyncGenerator<string | Uint8Array, FileMetadata, void> {
  let metadata: FileMetadata = { mimeType: "application/octet-stream", size: 0, isBinary: true, encoding: "base64" };
  for await (const event of parseSSEStream<FileEvent>(stream)) {
    if (event.type === "metadata") metadata = event;
    else if (event.type === "chunk") yield metadata.isBinary ? fromBase64(event.data) : event.data;
    else if (event.type === "error") throw new Error(event.error);
  }
  return metadata;
}

/** The whole content of a `readFileStream`. */
export async function collectFile(stream: ReadableStream<Uint8Array>): Promise<{ content: string | Uint8Array; metadata: FileMetadata }> {
  const pieces: (string | Uint8Array)[] = [];
  const chunks = streamFile(stream);
  for (;;) {
    const { done, value } = await chunks.next();
    if (!done) {
      pieces.push(value);
      continue;
    }
    const content = value.isBinary ? concat(pieces as Uint8Array[]) : pieces.join("");
    return { content, metadata: value };
  }
}
