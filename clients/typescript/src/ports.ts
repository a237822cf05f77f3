import { Operations } from "./operations.ts";
import { Tunnel, type ConnectOptions } from "./tunnel.ts";
import type { CallOptions, Schema } from "./types.ts";

/** The ports of a sandbox. */
export class Ports extends Operations {
  /** Gives a port a URL, or finds the one that it has. */
  expose(port: number, options: Omit<Schema<"ExposePort">, "port"> & CallOptions = {}): Promise<Schema<"ExposedPort">> {
    const { signal, ...request } = options;
    return this.transport.json({ method: "POST", path: this.route("/ports"), json: { port, ...request }, signal, idempotent: true });
  }

  /** The ports that have a URL. Wakes nothing. */
  async exposed(options: CallOptions = {}): Promise<Schema<"ExposedPort">[]> {
    return (await this.transport.json<Schema<"ExposedPorts">>({ path: this.route("/ports"), ...options })).items;
  }

  /** The URL of one port. */
  get(port: number, options: CallOptions = {}): Promise<Schema<"ExposedPort">> {
    return this.transport.json({ path: this.route(`/ports/${port}`), ...options });
  }

  /** Takes the URL of a port away. */
  async close(port: number, options: CallOptions = {}): Promise<void> {
    await this.transport.json({ method: "DELETE", path: this.route(`/ports/${port}`), ...options });
  }

  /** What listens in the sandbox. Wakes nothing. */
  async list(options?: CallOptions): Promise<Schema<"Port">[]> {
    return (await this.call("port.list", {} as never, options)).items;
  }

  /** Connects to a TCP port, or to the Unix socket of an absolute path: raw bytes of any protocol, both ways. */
  connect(target: number | string, options: ConnectOptions = {}): Promise<Tunnel> {
    return Tunnel.open(this.transport, this.sandbox, target, options);
  }

  /** Sends a request to the program on a port, by the API's own path: no domain is needed. The answer is the program's, whatever its status. */
  fetch(port: number, path = "/", init: RequestInit = {}): Promise<Response> {
    return this.transport.forward(this.route(`/ports/${port}/proxy/${path.replace(/^\//, "")}`), init);
  }
}
