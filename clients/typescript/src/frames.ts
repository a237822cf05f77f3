import { decode, encode } from "./wire.ts";

/** A frame of the WebSocket, and the bytes of a binary one. */
export interface Frame {
  type: string;
  id?: string;
  payload?: Record<string, unknown>;
  bytes?: Uint8Array;
}

/** A binary frame: the length of the head, the head, the bytes. */
export function binaryFrame(head: object, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const text = encode(JSON.stringify(head));
  const frame = new Uint8Array(4 + text.length + bytes.length);
  new DataView(frame.buffer).setUint32(0, text.length);
  frame.set(text, 4);
  frame.set(bytes, 4 + text.length);
  return frame;
}

/** Reads a message of the service. */
export function readFrame(message: string | ArrayBuffer): Frame {
  if (typeof message === "string") return JSON.parse(message) as Frame;
  const length = new DataView(message).getUint32(0);
  const frame = JSON.parse(decode(new Uint8Array(message, 4, length))) as Frame;
  return { ...frame, bytes: new Uint8Array(message, 4 + length) };
}
