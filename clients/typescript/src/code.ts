import { connectionLost } from "./errors.ts";
import { jsonLines } from "./lines.ts";
import { Operations, resultOf } from "./operations.ts";
import type { Transport } from "./transport.ts";
import type { CallOptions, Options, ResponseOf } from "./types.ts";
import { fromWire } from "./wire.ts";

/** Something to show, in every form that the kernel gives, by MIME type. */
export type Bundle = Record<string, unknown>;

/** What a cell says while it runs; `result` is the last. */
export type CodeEvent =
  | { type: "started"; context: string; language: string; created: boolean }
  | { type: "executing"; executionCount: number }
  | { type: "stdout" | "stderr"; text: string }
  | { type: "value"; data: Bundle; metadata?: Bundle }
  | { type: "display"; data: Bundle; metadata?: Bundle; displayId?: string }
  | { type: "update"; data: Bundle; metadata?: Bundle; displayId: string }
  | { type: "clear"; wait: boolean }
  | { type: "input_request"; prompt: string; password: boolean }
  | { type: "failed"; name: string; value: string; traceback: string[] }
  | { type: "omitted"; bytes: number }
  | ({ type: "result" } & Omit<CodeResult, "results" | "logs" | "text" | "error" | "truncated">);

/** How a cell ended, and what it has shown and printed. */
export type CodeResult = ResponseOf<"code.run">;

export interface RunOptions extends Options<"code.run", "code"> {
  /** Answers with its events as they come. */
  stream?: boolean;
}

/** Runs a cell. An exception is a result, not an error. Aborting the signal, or leaving the loop, interrupts it. */
export interface Run {
  (code: string, options?: RunOptions & { stream?: false }): Promise<CodeResult>;
  (code: string, options: RunOptions & { stream: true }): AsyncGenerator<CodeEvent, void, void>;
}

/** Code that runs in contexts: kernels of Jupyter that keep their variables from one cell to the next. */
export class Code extends Operations {
  /** Runs a cell in its language's own context, or in the one that is named. */
  run: Run = ((code: string, { signal, stream, ...request }: RunOptions = {}) =>
    stream ? this.#stream(code, request, signal) : this.call("code.run", { code, ...request }, { signal })) as Run;

  /** Starts a context, or finds the one of its name. */
  async create(options: Options<"code.create"> = {}): Promise<Context> {
    const { signal, ...request } = options;
    const { context } = await this.call("code.create", request, { signal });
    return this.get(context);
  }

  /** The context of this id or name. Makes no call. */
  get(context: string): Context {
    return new Context(this.transport, this.sandbox, context);
  }

  /** The contexts that live, and the names of the kernels that are installed. Wakes nothing. */
  list(options?: CallOptions): Promise<ResponseOf<"code.list">> {
    return this.call("code.list", {} as never, options);
  }

  async *#stream(code: string, request: object, signal: AbortSignal | undefined): AsyncGenerator<CodeEvent, void, void> {
    const headers = { accept: "application/x-ndjson" };
    const response = await this.transport.open({ method: "POST", path: this.route("/code/run"), json: { code, ...request }, headers, signal });
    for await (const line of jsonLines<{ type: string }>(response.body!)) {
      const result = resultOf(line);
      yield fromWire<CodeEvent>(line);
      if (result !== undefined) return;
    }
    throw connectionLost(undefined, "the cell's stream broke off before its result");
  }
}

/** A kernel, whose variables live from one cell to the next. */
export class Context extends Operations {
  /** Its id, or its name. */
  readonly id: string;
  readonly #code: Code;

  constructor(transport: Transport, sandbox: string, id: string) {
    super(transport, sandbox);
    this.id = id;
    this.#code = new Code(transport, sandbox);
  }

  /** Runs a cell in it, after those that came before. */
  run: Run = ((code: string, options: RunOptions = {}) => this.#code.run(code, { ...options, context: this.id } as RunOptions & { stream: true })) as Run;

  /** Interrupts the cell that runs; says whether one did. */
  async interrupt(options?: CallOptions): Promise<boolean> {
    return (await this.call("code.interrupt", { context: this.id }, options)).running;
  }

  /** Ends its kernel and starts another one: its variables are gone. */
  restart(options?: CallOptions): Promise<ResponseOf<"code.restart">> {
    return this.call("code.restart", { context: this.id }, options);
  }

  /** How the code may go on at the cursor. */
  complete(code: string, options: Options<"code.complete", "context" | "code"> = {}): Promise<ResponseOf<"code.complete">> {
    const { signal, ...request } = options;
    return this.call("code.complete", { context: this.id, code, ...request }, { signal });
  }

  /** What the name at the cursor is. */
  inspect(code: string, options: Options<"code.inspect", "context" | "code"> = {}): Promise<ResponseOf<"code.inspect">> {
    const { signal, ...request } = options;
    return this.call("code.inspect", { context: this.id, code, ...request }, { signal });
  }

  /** Its cells and what they have shown, as a notebook of Jupyter's. */
  export(options?: CallOptions): Promise<ResponseOf<"code.export">> {
    return this.call("code.export", { context: this.id }, options);
  }

  /** Ends it, with everything that it started. */
  async delete(options?: CallOptions): Promise<void> {
    await this.call("code.delete", { context: this.id }, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.delete();
  }
}

