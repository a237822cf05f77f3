import type { Bundle, CodeEvent, CodeResult } from "../code.ts";
import type { Sandbox } from "../sandbox.ts";

export interface CodeContext { id: string; language: string; cwd: string; createdAt: Date; lastUsed: Date }

export interface RunCodeOptions {
  context?: CodeContext | string;
  language?: "python" | "javascript" | "typescript";
  timeout?: number;
  envVars?: Record<string, string>;
  signal?: AbortSignal;
  onStdout?: (output: { text: string; timestamp: number }) => void;
  onStderr?: (output: { text: string; timestamp: number }) => void;
  onResult?: (result: Result) => void;
  onError?: (error: ExecutionError) => void;
}

export interface ExecutionError { name: string; message: string; traceback: string[] }

/** Something that was shown, by the names of 0.12. */
export interface Result {
  text?: string; html?: string; png?: string; jpeg?: string; svg?: string; latex?: string; markdown?: string; javascript?: string; json?: unknown;
}

export interface Execution {
  code: string;
  logs: { stdout: string[]; stderr: string[] };
  results: Result[];
  error?: ExecutionError;
  executionCount?: number;
}

const TYPES: Record<string, keyof Result> = {
  "text/plain": "text", "text/html": "html", "image/png": "png", "image/jpeg": "jpeg", "image/svg+xml": "svg", "text/latex": "latex",
  "text/markdown": "markdown", "application/javascript": "javascript", "application/json": "json",
};

export function resultOf(data: Bundle): Result {
  const named = Object.entries(data).flatMap(([type, value]) => (TYPES[type] === undefined ? [] : [[TYPES[type], value]]));
  return Object.fromEntries(named) as Result;
}

/** The request of a run in Cabana's words. */
export function requestOf({ context, language, timeout, envVars, signal }: RunCodeOptions) {
  const named = typeof context === "string" ? context : context?.id;
  return {
    ...(named !== undefined ? { context: named } : language !== undefined && { language }),
    ...(timeout !== undefined && { timeoutMs: timeout }),
    ...(envVars !== undefined && { env: envVars }),
    signal,
  };
}

/** A run that tells of itself by the callbacks of 0.12. */
export async function runCode(box: Sandbox, code: string, options: RunCodeOptions): Promise<Execution> {
  const execution: Execution = { code, logs: { stdout: [], stderr: [] }, results: [] };
  for await (const event of box.code.run(code, { ...requestOf(options), stream: true })) {
    if (event.type === "stdout" || event.type === "stderr") {
      execution.logs[event.type].push(event.text);
      options[event.type === "stdout" ? "onStdout" : "onStderr"]?.({ text: event.text, timestamp: Date.now() });
    } else if (event.type === "value" || event.type === "display") {
      const result = resultOf(event.data);
      execution.results.push(result);
      options.onResult?.(result);
    } else if (event.type === "failed") {
      execution.error = { name: event.name, message: event.value, traceback: event.traceback };
      options.onError?.(execution.error);
    } else if (event.type === "executing") execution.executionCount = event.executionCount;
    else if (event.type === "result") execution.error ??= failureOf(event);
    if (execution.error === undefined) delete execution.error;
  }
  return execution;
}

function failureOf({ status }: Pick<CodeResult, "status">): ExecutionError | undefined {
  return status === "ok" || status === "error" ? undefined : { name: status, message: `the cell ended as ${status}`, traceback: [] };
}

/** The events of a run by the names of 0.12. */
export async function* codeEvents(events: AsyncIterable<CodeEvent>): AsyncGenerator<object, void, void> {
  for await (const event of events) {
    if (event.type === "stdout" || event.type === "stderr") yield { type: event.type, text: event.text };
    else if (event.type === "value" || event.type === "display") yield { type: "result", ...resultOf(event.data) };
    else if (event.type === "failed") yield { type: "error", ename: event.name, evalue: event.value, traceback: event.traceback };
    else if (event.type === "result") yield { type: "execution_complete", execution_count: event.executionCount };
  }
}
