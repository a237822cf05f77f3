// The client of @hey-api/openapi-ts: a function for each operation.

import { createClient } from "./hey-api/client/index";
import * as sdk from "./hey-api/sdk.gen";
import { run } from "./scenario";

const client = createClient({ baseUrl: process.env.CABANA_URL!, auth: () => process.env.CABANA_API_KEY! });
const name = (operation: string) => operation.replace(/[._](\w)/g, (_, letter: string) => letter.toUpperCase());
type Any = (options: unknown) => Promise<{ response?: Response; data?: unknown; error?: unknown }>;
const functions = sdk as unknown as Record<string, Any>;

await run(
  (operation) => name(operation) in functions,
  async ({ operation, path, query, body }) => {
    const raw = ["file.download", "archive.download", "port.proxy"].includes(operation);
    const { response, data, error } = await functions[name(operation)]!({ client, path, query, body, ...(raw && { parseAs: "blob" }) });
    if (!response) throw error;
    return { status: response.status, data: data ?? error };
  },
);

// As somebody would write it: the types of requests and answers are checked by the compiler.
const made = await sdk.sandboxCreate({ client, body: { labels: { made: "by-hand" } }, throwOnError: true });
const path = { id: made.data.id };
const ran = await sdk.exec({ client, path, body: { command: ["echo", "typed"], timeout_ms: 10_000 }, throwOnError: true });
const exit = ran.data.exit;
if (ran.data.stdout !== "typed\n" || exit?.type !== "exited" || exit.code !== 0) throw new Error(JSON.stringify(ran.data));
await sdk.sandboxDelete({ client, path, throwOnError: true });
