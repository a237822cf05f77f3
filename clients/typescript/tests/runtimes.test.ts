// The client outside Node: in a Worker, and in a browser where there is one.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { freshSandbox, KEY, URL_ } from "./service.ts";

const bundle = async (entry: string): Promise<string> => {
  const entryPoint = fileURLToPath(new URL(entry, import.meta.url));
  const { outputFiles } = await build({ entryPoints: [entryPoint], bundle: true, format: "esm", platform: "neutral", write: false });
  return outputFiles[0]!.text;
};

/** workerd with the Worker of worker.ts, to which the service is a binding. */
async function workerd(directory: string): Promise<{ url: string; end: () => void }> {
  await writeFile(join(directory, "worker.js"), await bundle("./worker.js"));
  await writeFile(join(directory, "config.capnp"), `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "app", worker = (
      modules = [(name = "worker.js", esModule = embed "worker.js")],
      compatibilityDate = "2026-01-01",
      bindings = [(name = "CABANA", service = "cabana"), (name = "KEY", fromEnvironment = "KEY"), (name = "URL", fromEnvironment = "URL")],
    )),
    (name = "cabana", external = (address = "${new URL(URL_).host}", http = ())),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "app")],
);
`);
  const program = fileURLToPath(new URL("../../../../node_modules/.bin/workerd", import.meta.url));
  const child = spawn(program, ["serve", "--control-fd=3", join(directory, "config.capnp")], { env: { ...process.env, KEY, URL: URL_ }, stdio: ["ignore", "inherit", "inherit", "pipe"] });
  const told = await once(child.stdio[3]!, "data");
  const { port } = JSON.parse(String(told[0])) as { port: number };
  return { url: `http://127.0.0.1:${port}/`, end: () => void child.kill() };
}

test("a Worker uses the client by a service binding", async () => {
  const directory = await mkdtemp(join(tmpdir(), "cabana-worker-"));
  const worker = await workerd(directory);
  try {
    const answer = await fetch(worker.url);
    const text = await answer.text();
    assert.equal(answer.status, 200, text);
    const { shown, ...rest } = JSON.parse(text) as { shown: string };
    assert.deepEqual(rest, { stdout: "from a Worker, and its input", streamed: "one\ntwo\n", exit: { type: "exited", code: 0 } });
    assert.match(shown, /typed here\r\n$/);
  } finally {
    worker.end();
    await rm(directory, { recursive: true });
  }
});

const CHROMIUM = process.env["CABANA_TEST_CHROMIUM"] ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);

test("a web page of another origin uses the client with a token", { skip: CHROMIUM === undefined && "there is no Chromium" }, async () => {
  await using box = await freshSandbox("browser");
  const { token } = await box.token();
  const script = await bundle("../src/index.js");
  const browser = await chromium.launch({ executablePath: CHROMIUM!, args: ["--no-sandbox", "--disable-features=LocalNetworkAccessChecks"] });
  try {
    const page = await browser.newPage();
    // The service under test lets pages of this origin in.
    await page.route("https://app.test/**", (route) => {
      const isScript = route.request().url().endsWith(".js");
      return route.fulfill({ contentType: isScript ? "text/javascript" : "text/html", body: isScript ? script : "<!doctype html>" });
    });
    await page.goto("https://app.test/");
    const answer = await page.evaluate(async ({ url, key, id }) => {
      const { Cabana, NotFoundError } = (await import("https://app.test/cabana.js" as string)) as typeof import("../src/index.ts");
      const box = new Cabana({ url, key }).sandbox(id);
      await box.files.write("page", new Blob(["from a page"]));
      const { stdout } = await box.exec("cat page");
      const terminal = await box.terminal({ command: "stty -echo; read line; echo typed $line" });
      terminal.write("here\n");
      const shown = await new Response(terminal.readable).text();
      const refused = await box.files.read("none").catch((error: unknown) => error instanceof NotFoundError && error.requestId !== undefined);
      return { stdout, shown, refused };
    }, { url: URL_, key: token, id: box.id });
    const { shown, ...rest } = answer;
    assert.deepEqual(rest, { stdout: "from a page", refused: true });
    assert.match(shown, /typed here\r\n$/);
  } finally {
    await browser.close();
  }
});
