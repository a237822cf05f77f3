// Runs scenarios of @modelcontextprotocol/conformance against the service. They send no credentials: a proxy adds them, and passes on everything
// else as it came, the host that a scenario made up included.

import { spawn } from "node:child_process";
import { createServer, request } from "node:http";
import { once } from "node:events";

const { CABANA_TEST_URL: url, CABANA_TEST_API_KEY: key } = process.env;

// Those that call no tool of the suite's own.
const SCENARIOS = {
  "2026-07-28": ["server-stateless", "tools-list", "caching", "dns-rebinding-protection", "http-header-validation"],
  "2025-11-25": ["server-initialize", "ping", "server-session-lifecycle", "tools-list", "dns-rebinding-protection"],
};

const proxy = createServer((incoming, answer) => {
  const { port } = proxy.address();
  const target = new URL(url);
  // The proxy's own address stands for the service's; any other host is passed on.
  const rename = (value) => value?.replaceAll(`:${port}`, `:${target.port}`);
  const headers = { ...incoming.headers, authorization: `Bearer ${key}`, host: rename(incoming.headers.host) };
  if (headers.origin) headers.origin = rename(headers.origin);
  const outgoing = request({ host: target.hostname, port: target.port, path: incoming.url, method: incoming.method, headers });
  outgoing.on("response", (response) => {
    answer.writeHead(response.statusCode, response.rawHeaders);
    response.pipe(answer);
  });
  outgoing.on("error", () => answer.destroy());
  incoming.pipe(outgoing);
});
proxy.listen(0, "127.0.0.1");
await once(proxy, "listening");

let failed = false;
for (const [version, scenarios] of Object.entries(SCENARIOS)) {
  for (const scenario of scenarios) {
    const options = ["server", "--url", `http://localhost:${proxy.address().port}/mcp`, "--spec-version", version, "--scenario", scenario];
    options.push("--expected-failures", new URL("expected.yml", import.meta.url).pathname);
    const suite = spawn(process.execPath, [process.argv[2], ...options], { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    suite.stdout.on("data", (data) => (output += data));
    const [code] = await once(suite, "close");
    failed ||= code !== 0;
    console.log(`${version} ${scenario}: ${code === 0 ? "passed" : "FAILED"}`);
    if (code !== 0) console.log(output);
  }
}
proxy.close();
process.exitCode = failed ? 1 : 0;
