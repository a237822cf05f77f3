// What the cases have in common: the service under test, a sandbox of their own, and a network that breaks.
import { createServer, connect, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { Cabana, type CabanaOptions, type Sandbox } from "../src/index.ts";

const variable = (name: string): string => {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: cargo xtask test clients sets it`);
  return value;
};

export const URL_ = variable("CABANA_TEST_URL");
export const KEY = variable("CABANA_TEST_API_KEY");

// Beside other cases a sandbox may take long to start.
export const client = (options: CabanaOptions = {}): Cabana => new Cabana({ url: URL_, key: KEY, retries: 12, ...options });

/** A name that no other run has. */
export const freshName = (name: string): string => `ts-${name}-${Math.random().toString(36).slice(2, 8)}`;

/** A sandbox of its own, which runs. */
export async function freshSandbox(name: string, cabana = client()): Promise<Sandbox> {
  const box = await cabana.create({ name: freshName(name) });
  await box.exec("true");
  return box;
}

/** Waits until a condition holds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`never held: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A way to the service that can be cut. */
export class Proxy {
  readonly #server;
  readonly #sockets = new Set<Socket>();
  /** Connections that were made. */
  connections = 0;
  /** Bytes that came from the service over all connections. */
  received = 0;
  /** Cuts the connection that has carried so many bytes from the service. */
  cutAfter = Infinity;

  private constructor() {
    const target = new URL(URL_);
    this.#server = createServer((client) => {
      this.connections += 1;
      let carried = 0;
      const server = connect(Number(target.port || 80), target.hostname);
      for (const [from, to] of [[client, server], [server, client]] as const) {
        this.#sockets.add(from);
        from.on("error", () => to.destroy());
        from.on("close", () => {
          this.#sockets.delete(from);
          to.destroy();
        });
        from.on("data", (bytes) => {
          if (from === server) {
            this.received += bytes.length;
            carried += bytes.length;
          }
          if (!to.write(bytes)) {
            from.pause();
            to.once("drain", () => from.resume());
          }
          if (carried > this.cutAfter) this.cut();
        });
        from.on("end", () => to.end());
      }
    });
  }

  static async open(): Promise<Proxy> {
    const proxy = new Proxy();
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Cuts every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  close(): void {
    this.#server.close();
    this.cut();
  }
}
