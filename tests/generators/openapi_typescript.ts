// The types of openapi-typescript, with openapi-fetch: a path and a method for each operation.

import { readFileSync } from "node:fs";
import createClient from "openapi-fetch";
import { run } from "./scenario";
import type { operations, paths } from "./openapi-typescript";

const client = createClient<paths, "application/json">({
  baseUrl: process.env.CABANA_URL!,
  headers: { Authorization: `Bearer ${process.env.CABANA_API_KEY}` },
});
type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
type Any = (route: string, options: unknown) => Promise<{ response: Response; data?: unknown; error?: unknown }>;
const description = JSON.parse(readFileSync(process.env.OPENAPI!, "utf8"));
const routes = new Map<string, [Method, string]>();
for (const [route, methods] of Object.entries<Record<string, { operationId: string }>>(description.paths))
  for (const [method, { operationId }] of Object.entries(methods))
    routes.set(operationId, [method.toUpperCase() as Method, route]);
const types = readFileSync(process.env.TYPES!, "utf8");

await run(
  (operation) => types.includes(`operations["${operation}"]`),
  async ({ operation, path, query, body, bytes }) => {
    const [method, route] = routes.get(operation)!;
    const raw = ["file.download", "archive.download", "port.proxy"].includes(operation);
    const { response, data, error } = await (client[method] as unknown as Any)(route, {
      params: { path, query },
      body,
      ...(bytes && { bodySerializer: (body: BodyInit) => body, headers: { "Content-Type": "application/octet-stream" } }),
      parseAs: raw ? "blob" : ["docs", "notebook"].includes(operation) ? "text" : "json",
    });
    return { status: response.status, data: data ?? error };
  },
);

// As somebody would write it: the types of requests and answers are checked by the compiler.
type Exec = operations["exec"]["requestBody"]["content"]["application/json"];
const made = await client.POST("/v1/sandboxes", { body: { labels: { made: "by-hand" } } });
if (!made.data) throw new Error(made.error?.error.message);
const params = { path: { id: made.data.id } };
const body: Exec = { command: ["echo", "typed"], timeout_ms: 10_000 };
const ran = await client.POST("/v1/sandboxes/{id}/exec", { params, body });
const exit = ran.data?.exit;
if (ran.data?.stdout !== "typed\n" || exit?.type !== "exited" || exit.code !== 0) throw new Error(JSON.stringify(ran));
await client.DELETE("/v1/sandboxes/{id}", { params });
