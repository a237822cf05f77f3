// Makes the calls of calls.json, in their order, by a client that a generator has made, and checks what it gives back.

import { readFileSync } from "node:fs";

export type Call = {
  operation: string;
  path: Record<string, string | number>;
  query?: Record<string, unknown>;
  body?: unknown;
  /** The body is bytes, and not JSON. */
  bytes: boolean;
};
export type Answer = { status: number; data: unknown };
type Step = {
  call: string;
  path?: Record<string, string | number>;
  query?: Record<string, unknown>;
  body?: unknown;
  bytes?: string;
  status: number;
  save?: Record<string, string>;
  says?: Record<string, unknown>;
  gives?: string;
  archive?: boolean;
  archived?: boolean;
};

const at = (value: unknown, pointer: string): unknown =>
  pointer.split("/").slice(1).reduce((inner, name) => (inner as Record<string, unknown>)?.[name], value);

const bytesOf = async (data: unknown): Promise<Uint8Array> =>
  data instanceof Blob ? new Uint8Array(await data.arrayBuffer()) : new TextEncoder().encode(String(data));

/** Every operation of the description must be called by some step: `known` says which ones the client has. */
export async function run(known: (operation: string) => boolean, make: (call: Call) => Promise<Answer>): Promise<void> {
  const steps: Step[] = JSON.parse(readFileSync(process.env.CALLS!, "utf8"));
  const saved: Record<string, string> = { name: process.env.NAME! };
  let archive: Uint8Array | undefined;
  const fill = <T>(value: T): T =>
    value === undefined ? value : JSON.parse(JSON.stringify(value).replace(/\$\{(\w+)\}/g, (_, name) => saved[name]));
  for (const step of steps) {
    if (!known(step.call)) throw new Error(`${step.call}: the client has no such operation`);
    const body = step.archived ? archive : step.bytes !== undefined ? new TextEncoder().encode(step.bytes) : fill(step.body);
    const call = { operation: step.call, path: { ...saved, ...fill(step.path) }, query: fill(step.query), body };
    let answer: Answer;
    // Beside other work a start may take longer than one request waits for it.
    do answer = await make({ ...call, bytes: Boolean(step.archived || step.bytes) });
    while (answer.status === 503 && step.status !== 503);
    const said = JSON.stringify(answer.data) ?? String(answer.data);
    if (answer.status !== step.status) throw new Error(`${step.call}: ${answer.status} in place of ${step.status}: ${said}`);
    if (step.status < 300 && step.status !== 204 && answer.data == undefined) throw new Error(`${step.call}: nothing came of the answer`);
    for (const [pointer, expected] of Object.entries(step.says ?? {}))
      if (at(answer.data, pointer) !== expected) throw new Error(`${step.call}: ${pointer} is not ${JSON.stringify(expected)}: ${said}`);
    for (const [name, pointer] of Object.entries(step.save ?? {})) saved[name] = String(at(answer.data, pointer));
    if (step.archive) archive = await bytesOf(answer.data);
    if (step.gives !== undefined && new TextDecoder().decode(await bytesOf(answer.data)) !== step.gives)
      throw new Error(`${step.call}: not the content`);
    console.log(`${step.call}: ${answer.status}`);
  }
}
