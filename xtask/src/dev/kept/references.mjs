// Prints a line for each snapshot that the storage of Durable Objects below a directory names: the reference of workerd's image.
// It looks at every value of every table, so it may name too many, and never too few.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

const identifiers = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const root = process.argv.at(-1);
const found = new Set();

function look(value) {
  if (value instanceof Uint8Array) value = Buffer.from(value).toString("latin1");
  if (typeof value === "string") for (const [id] of value.matchAll(identifiers)) found.add(id);
}

for (const entry of existsSync(root) ? readdirSync(root, { recursive: true, withFileTypes: true }) : []) {
  if (!entry.isFile() || !entry.name.endsWith(".sqlite")) continue;
  const database = new DatabaseSync(join(entry.parentPath, entry.name));
  const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
  for (const { name } of tables) {
    const rows = database.prepare(`SELECT * FROM "${name.replaceAll('"', '""')}"`);
    rows.setReadBigInts(true);
    for (const row of rows.iterate()) Object.values(row).forEach(look);
  }
  database.close();
}
for (const id of found) console.log(`workerd-container-snap-${id}`);
