// Starts a server, waits until it answers, and asks it.
import { Cabana } from "cabana";

const cabana = new Cabana();
await using box = await cabana.create({ labels: { example: "server" } });
await box.files.write("site/index.html", "<h1>It works</h1>");
const server = await box.exec("exec python3 -u -m http.server 3000", { detach: true, name: "web", cwd: "site" });
await server.wait({ port: 3000, http: { path: "/" } }, { timeoutMs: 60_000 });
console.log(await (await box.ports.fetch(3000)).text());
await server.end();
