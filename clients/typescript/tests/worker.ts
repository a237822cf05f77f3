// What the case of runtimes runs in workerd: a Worker that reaches the service by a binding.
import { Cabana } from "../src/index.ts";

interface Env {
  CABANA: { fetch: typeof fetch };
  /** A host at which the service answers. */
  URL: string;
  KEY: string;
}

export default {
  async fetch(_: Request, env: Env): Promise<Response> {
    const cabana = new Cabana({ url: env.URL, key: env.KEY, fetch: env.CABANA.fetch.bind(env.CABANA) });
    const box = await cabana.create();
    try {
      await box.files.write("streamed", new Blob(["from a ", "Worker"]).stream());
      const { stdout } = await box.exec("cat streamed; cat", { stdin: new Blob([", and its input"]).stream() });
      let streamed = "";
      for await (const event of box.exec("echo one; echo two", { stream: true })) if (event.type === "stdout") streamed += event.text;
      const terminal = await box.terminal({ command: "stty -echo; read line; echo typed $line" });
      terminal.write("here\n");
      const shown = await new Response(terminal.readable).text();
      return Response.json({ stdout, streamed, shown, exit: terminal.exit });
    } finally {
      await box.delete();
    }
  },
};
