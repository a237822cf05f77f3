import { failure, type Transport } from "./transport.ts";
import type { CallOptions, RequestOf, ResponseOf } from "./types.ts";
import type { operations } from "./generated/api.ts";
import { jsonLines } from "./lines.ts";
import { connectionLost } from "./errors.ts";
import { fromWire } from "./wire.ts";

/** A line of an answer that streams: an event, or its end. */
interface Line { type: string; request_id?: string }

/** The result where a line is one; undefined where it is an event. Throws the error that it tells of. */
export function resultOf(line: Line): Line | undefined {
  if (line.type === "error") throw failure({ error: line as unknown as Parameters<typeof failure>[0]["error"], request_id: line.request_id });
  return line.type === "result" ? line : undefined;
}

/** Operations of one sandbox. */
export class Operations {
  readonly #transport: Transport;
  readonly #sandbox: string;

  constructor(transport: Transport, sandbox: string) {
    this.#transport = transport;
    this.#sandbox = sandbox;
  }

  protected get transport(): Transport {
    return this.#transport;
  }

  protected get sandbox(): string {
    return this.#sandbox;
  }

  /** The path of a route of this sandbox. */
  protected route(path: string): string {
    return `/v1/sandboxes/${this.#sandbox}${path}`;
  }

  /** Carries out an operation of the table. */
  protected call<Name extends keyof operations & string>(name: Name, request: RequestOf<Name>, options: CallOptions = {}): Promise<ResponseOf<Name>> {
    return this.#transport.operation(this.#sandbox, name, request as object, options);
  }

  /** Carries out an operation that tells of its progress. */
  protected async transfer<Name extends keyof operations & string, Event>(
    name: Name,
    request: RequestOf<Name>,
    options: CallOptions,
    onEvent: ((event: Event) => void) | undefined,
  ): Promise<ResponseOf<Name>> {
    if (onEvent === undefined) return this.call(name, request, options);
    const path = this.route(`/${name.replace(".", "/")}`);
    const headers = { accept: "application/x-ndjson" };
    const response = await this.#transport.open({ method: "POST", path, json: request as object, headers, ...options });
    return finish(response, onEvent);
  }
}

/** Hands on the events of an answer that streams; answers with its result. */
export async function finish<Event, Result>(response: Response, onEvent: (event: Event) => void): Promise<Result> {
  if (response.body) {
    for await (const line of jsonLines<Line>(response.body)) {
      if (resultOf(line) !== undefined) {
        const { type: _, ...result } = fromWire<{ type: string } & Record<string, unknown>>(line);
        return result as Result;
      }
      onEvent(fromWire<Event>(line));
    }
  }
  throw connectionLost(undefined, "the stream broke off before its result");
}
