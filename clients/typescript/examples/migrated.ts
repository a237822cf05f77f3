// Three jobs of applications of @cloudflare/sandbox 0.12, after docs/migrating.md.
import { Cabana } from "cabana";
import { getSandbox, parseSSEStream } from "cabana/compat";

const cabana = new Cabana();

/** A Worker that runs what it is sent. */
export async function basic(request: Request): Promise<Response> {
  const sandbox = getSandbox(cabana, "my-sandbox");
  const url = new URL(request.url);
  if (url.pathname === "/run") {
    const result = await sandbox.exec("python3 -c 'print(2 + 2)'");
    return Response.json({ output: result.stdout, error: result.stderr, exitCode: result.exitCode, success: result.success });
  }
  if (url.pathname === "/file") {
    await sandbox.writeFile("/workspace/hello.txt", "Hello, Sandbox!");
    const file = await sandbox.readFile("/workspace/hello.txt");
    return Response.json({ content: file.content });
  }
  return new Response("Try /run or /file");
}

/** Runs code that a model has written. */
export async function runCode(code: string): Promise<string> {
  const sandbox = getSandbox(cabana, "interpreter");
  await sandbox.writeFile("/workspace/cell.py", code);
  const { stdout, stderr, success } = await sandbox.exec("python3 /workspace/cell.py", { timeout: 60_000 });
  return success ? stdout : `failed: ${stderr}`;
}

/** Has an agent work on a repository, and tells of what it says. */
export async function* work(repository: string, command: string): AsyncGenerator<string, void, void> {
  const sandbox = getSandbox(cabana, `task-${crypto.randomUUID().slice(0, 8)}`, { sleepAfter: "30m" });
  try {
    const { targetDir } = await sandbox.gitCheckout(repository, { depth: 1 }).catch(async () => {
      await sandbox.mkdir("/workspace/empty", { recursive: true });
      return { targetDir: "/workspace/empty" };
    });
    const stream = await sandbox.execStream(`cd ${targetDir} && ${command}`);
    for await (const event of parseSSEStream<{ type: string; data?: string; exitCode?: number }>(stream)) {
      if (event.type === "stdout") yield event.data!;
      if (event.type === "complete") yield `exit ${event.exitCode}\n`;
    }
  } finally {
    await sandbox.destroy();
  }
}

console.log(await (await basic(new Request("https://worker.test/run"))).text());
console.log(await (await basic(new Request("https://worker.test/file"))).text());
console.log(await runCode("print(sum(range(10)))"));
for await (const text of work("http://127.0.0.1:1/none.git", "pwd")) console.log(text.trim());
await getSandbox(cabana, "my-sandbox").destroy();
await getSandbox(cabana, "interpreter").destroy();
