import type { ResponseOf, Schema } from "./types.ts";
import { concat, decode, encode } from "./wire.ts";

/** How a command ended. */
export interface Ended {
  /** Its id. */
  process: string;
  /** The typed exit, from the kernel's wait. Absent for a detached process, which runs on. */
  exit?: Schema<"Exit"> | null;
  /** What the command returned, 124 for a time-out, 128 and the signal's number for a signal; null where that is not known. */
  exitCode: number | null;
  durationMs: number;
  /** What it used, as the kernel counted. */
  usage?: ResponseOf<"exec">["usage"];
  /** True when the session that it ran in has ended with it. */
  sessionEnded?: boolean;
}

/** Keeps the first and the last half of what is pushed, as the service does in its JSON form. */
export class Kept {
  readonly #limit: number;
  #head: Uint8Array[] = [];
  #headLength = 0;
  #tail: Uint8Array[] = [];
  #tailLength = 0;
  /** How much was pushed in all. */
  length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  push(bytes: Uint8Array): void {
    this.length += bytes.length;
    const room = Math.ceil(this.#limit / 2) - this.#headLength;
    if (room > 0) {
      this.#head.push(bytes.subarray(0, room));
      this.#headLength += Math.min(room, bytes.length);
    }
    const rest = bytes.subarray(Math.max(room, 0));
    if (rest.length === 0) return;
    this.#tail.push(rest);
    this.#tailLength += rest.length;
    const most = Math.floor(this.#limit / 2);
    for (let first = this.#tail[0]; first && this.#tailLength - first.length >= most; first = this.#tail[0]) {
      this.#tail.shift();
      this.#tailLength -= first.length;
    }
  }

  get truncated(): boolean {
    return this.length > this.#limit;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const tail = concat(this.#tail);
    if (!this.truncated) return concat([...this.#head, tail]);
    const end = tail.subarray(Math.max(0, tail.length - Math.floor(this.#limit / 2)));
    const omitted = this.length - this.#headLength - end.length;
    return concat([...this.#head, encode(`\n[${omitted} bytes omitted]\n`), end]);
  }
}

/** How a command ended, and what it printed. */
export class ExecResult implements Ended {
  readonly process: string;
  readonly exit: Schema<"Exit"> | null;
  readonly exitCode: number | null;
  readonly durationMs: number;
  readonly usage: NonNullable<ResponseOf<"exec">["usage"]> | null;
  readonly sessionEnded: boolean;
  /** Its standard output as bytes. */
  readonly stdoutBytes: Uint8Array<ArrayBuffer>;
  /** Its standard error as bytes. */
  readonly stderrBytes: Uint8Array<ArrayBuffer>;
  /** True when it printed more on either than `maxOutputBytes`. */
  readonly truncated: boolean;

  constructor(ended: Ended, stdout: Kept, stderr: Kept, missing: boolean) {
    this.process = ended.process;
    this.exit = ended.exit ?? null;
    this.exitCode = ended.exitCode;
    this.durationMs = ended.durationMs;
    this.usage = ended.usage ?? null;
    this.sessionEnded = ended.sessionEnded ?? false;
    this.stdoutBytes = stdout.bytes();
    this.stderrBytes = stderr.bytes();
    this.truncated = stdout.truncated || stderr.truncated || missing;
  }

  /** True when it returned 0. */
  get ok(): boolean {
    return this.exitCode === 0;
  }

  /** Its standard output as text; what is not UTF-8 becomes U+FFFD. */
  get stdout(): string {
    return decode(this.stdoutBytes);
  }

  /** Its standard error as text. */
  get stderr(): string {
    return decode(this.stderrBytes);
  }
}
