import { MAPS } from "./generated/operations.ts";

/** Bytes as JSON carries them: a string where they are UTF-8. */
export type Data = string | { base64: string };

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The bytes of text, as UTF-8. */
export const encode = (text: string): Uint8Array<ArrayBuffer> => encoder.encode(text);

/** The text of bytes; what is not UTF-8 becomes U+FFFD. */
export const decode = (bytes: Uint8Array): string => decoder.decode(bytes);

export function toBase64(bytes: Uint8Array): string {
  let binary = "";
  // Arguments of one call are limited, and so is the stack that they lie on.
  for (let start = 0; start < bytes.length; start += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  }
  return btoa(binary);
}

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index += 1) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

export const toBytes = (data: Data): Uint8Array<ArrayBuffer> =>
  typeof data === "string" ? encode(data) : fromBase64(data.base64);

export function concat(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  return whole;
}

const snakeNames = new Map<string, string>();
const camelNames = new Map<string, string>();

function remember(names: Map<string, string>, name: string, convert: (name: string) => string): string {
  let converted = names.get(name);
  if (converted === undefined) {
    converted = convert(name);
    // Names come from the service: a broken one must not fill the memory.
    if (names.size < 1000) names.set(name, converted);
  }
  return converted;
}

const snake = (name: string) => remember(snakeNames, name, (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
const camel = (name: string) => remember(camelNames, name, (name) => name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()));

function convert(value: unknown, name: (name: string) => string): unknown {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((item) => convert(item, name));
  if (value instanceof Uint8Array) return { base64: toBase64(value) };
  const fields: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(value)) {
    // Another field of the same name may hold bytes.
    const isMap = MAPS.has(key) && !(field instanceof Uint8Array);
    if (field !== undefined) fields[name(key)] = isMap ? field : convert(field, name);
  }
  return fields;
}

/** A request as the wire has it: snake_case, bytes as base64, without what is undefined. */
export const toWire = (request: object): Record<string, unknown> => convert(request, snake) as Record<string, unknown>;

/** An answer in camelCase. */
export const fromWire = <T>(answer: unknown): T => convert(answer, camel) as T;
