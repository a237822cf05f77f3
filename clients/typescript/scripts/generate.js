// Writes src/generated/ from the service's OpenAPI document: the types, in camelCase, and what the client must know of an operation.
// Nothing there is committed: it is made anew by every build, so that it cannot be older than the wire.
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import openapiTypescript, { astToString } from "openapi-typescript";

const root = new URL("../", import.meta.url);
const document = JSON.parse(await readFile(new URL("../../crates/protocol/openapi.json", root), "utf8"));

const camel = (name) => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());

// Objects whose keys are the caller's own words, such as the names of variables.
const maps = new Set();

/** The schema with its fields in camelCase and without examples. */
function rename(node, field) {
  if (Array.isArray(node)) return node.map((part) => rename(part, field));
  if (node === null || typeof node !== "object") return node;
  if (node.additionalProperties) maps.add(camel(field));
  const renamed = {};
  for (const [key, value] of Object.entries(node)) {
    if (key === "example" || key === "examples") continue;
    if (key === "properties") {
      renamed.properties = Object.fromEntries(Object.entries(value).map(([name, schema]) => [camel(name), rename(schema, name)]));
    } else if (key === "required" && Array.isArray(value)) {
      renamed.required = value.map(camel);
    } else if (key === "parameters") {
      renamed.parameters = value.map((parameter) => ({ ...rename(parameter), name: camel(parameter.name) }));
    } else {
      renamed[key] = rename(value, field);
    }
  }
  return renamed;
}

// The same request as a query has no types that its JSON does not have.
for (const path of Object.values(document.paths)) {
  for (const [method, operation] of Object.entries(path)) {
    if (operation.operationId?.endsWith("_by_query")) delete path[method];
  }
}

const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
const idempotent = operations.filter((operation) => operation["x-idempotent"]).map((operation) => operation["x-operation"]);
const types = astToString(await openapiTypescript(rename(document)));
const details = `// Made by scripts/generate.js.

/** The version of the service that these types describe. */
export const SERVICE_VERSION = ${JSON.stringify(document.info.version)};

/** Operations of which a repeat after a lost answer does no harm. */
export const IDEMPOTENT: ReadonlySet<string> = new Set(${JSON.stringify([...new Set(idempotent)].sort())});

/** Objects whose keys are the caller's own words. */
export const MAPS: ReadonlySet<string> = new Set(${JSON.stringify([...maps].sort())});
`;

const generated = new URL("src/generated/", root);
// Cases that are gone must not be run from an earlier build.
await rm(new URL("dist/", root), { recursive: true, force: true });
await mkdir(generated, { recursive: true });
await writeFile(new URL("api.ts", generated), types);
await writeFile(new URL("operations.ts", generated), details);
