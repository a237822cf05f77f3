import { concat, decode } from "./wire.ts";

const LINE_FEED = 10;

/** Splits bytes into lines. Pieces end anywhere: inside a character too. */
export class LineSplitter {
  #pending: Uint8Array[] = [];

  /** The lines that this piece completes. Blank ones, which show that the service is alive, are left out. */
  push(piece: Uint8Array): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = piece.indexOf(LINE_FEED); end !== -1; end = piece.indexOf(LINE_FEED, start)) {
      const line = this.#take(piece.subarray(start, end));
      if (line.length > 0) lines.push(line);
      start = end + 1;
    }
    if (start < piece.length) this.#pending.push(piece.slice(start));
    return lines;
  }

  #take(tail: Uint8Array): string {
    if (this.#pending.length === 0) return decode(tail);
    const whole = concat([...this.#pending, tail]);
    this.#pending = [];
    return decode(whole);
  }
}

/** The values of a body of JSON lines, as they come. Leaving the loop cancels the body, which tells the service that nobody listens. */
export async function* jsonLines<T>(body: ReadableStream<Uint8Array>): AsyncGenerator<T, void, void> {
  const splitter = new LineSplitter();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const line of splitter.push(value)) yield JSON.parse(line) as T;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
