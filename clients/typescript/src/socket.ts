import { CabanaError, errorOf } from "./errors.ts";
import { readFrame, type Frame } from "./frames.ts";
import { failure, type Transport } from "./transport.ts";
import { toWire } from "./wire.ts";

/** The id of the one operation on a socket. */
export const ID = "1";
/** How often an idle socket is asked whether it is alive, and how long it may say nothing. */
const PING_MS = 10_000;
const SILENCE_MS = 30_000;
/** The code of a socket that has ended without one. */
const ABNORMAL = 1006;

/** What closes a socket for good, and why. */
const FINAL: Record<number, [code: "unauthorized" | "not_found", message: string]> = {
  4401: ["unauthorized", "the credentials ended or were revoked"],
  4404: ["not_found", "the sandbox was destroyed"],
};

/** The error of a socket that was closed with this code. */
export function closing(code: number): CabanaError {
  const [final, message] = FINAL[code] ?? ["connection_lost", "the connection to the sandbox broke"];
  return errorOf({ code: final as "connection_lost", message });
}

/** Opens a socket to a sandbox. */
export async function openSocket(transport: Transport, sandbox: string, signal: AbortSignal): Promise<WebSocket> {
  const route = `/v1/sandboxes/${sandbox}`;
  try {
    const socket = await transport.socket(`${route}/connect?binary=1`, signal);
    socket.binaryType = "arraybuffer";
    return socket;
  } catch (error) {
    // A socket does not tell why it was refused; a request does.
    if (error instanceof CabanaError) await transport.json({ path: route, signal });
    throw error;
  }
}

/** Sends the request of an operation, and hands on its frames. Resolves with the first one, and rejects where that is an error. */
export function begin(socket: WebSocket, name: string, request: object, hear: (frame: Frame) => void): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    socket.addEventListener("message", (message: MessageEvent<string | ArrayBuffer>) => {
      const frame = readFrame(message.data);
      if (frame.id !== ID) return;
      if (frame.type === "error") reject(failureOf(frame));
      else resolve();
      hear(frame);
    });
    socket.addEventListener("close", ({ code }) => reject(closing(code)));
    socket.send(JSON.stringify({ id: ID, type: name, payload: toWire(request) }));
  });
}

/** The error of a frame that is one. */
export const failureOf = ({ payload }: Frame): CabanaError => failure({ error: payload as unknown as Parameters<typeof failure>[0]["error"] });

/** Resolves with the code when the socket has ended, or says nothing any more. */
export async function ended(socket: WebSocket, signal: AbortSignal): Promise<number> {
  if (socket.readyState >= 2) return ABNORMAL;
  let heard = Date.now();
  return new Promise<number>((resolve) => {
    const end = (code: number) => {
      clearInterval(timer);
      resolve(code);
    };
    const timer = setInterval(() => {
      if (Date.now() - heard > SILENCE_MS) {
        socket.close();
        // A socket that does not answer does not close either.
        end(ABNORMAL);
      } else if (socket.readyState === 1) {
        socket.send(`{"type":"ping"}`);
      }
    }, PING_MS);
    socket.addEventListener("message", () => (heard = Date.now()));
    socket.addEventListener("close", ({ code }) => end(code), { once: true });
    signal.addEventListener("abort", () => end(ABNORMAL), { once: true });
  });
}
