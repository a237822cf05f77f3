// Writes REFERENCE.md from the declarations that tsc has made: what the package exports, with its documentation. With --check it only compares.
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = new URL("../", import.meta.url);
const declarations = new URL("dist/src/", root);
const page = new URL("REFERENCE.md", root);

const program = ts.createProgram([fileURLToPath(new URL("index.d.ts", declarations))], { target: ts.ScriptTarget.ESNext, skipLibCheck: true, noLib: true, types: [] });
const checker = program.getTypeChecker();
const index = program.getSourceFile(fileURLToPath(new URL("index.d.ts", declarations)));

/** The documentation of a declaration, in one paragraph where it has no examples. */
const documentation = (symbol) => ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim();

/** A declaration on one line, without its documentation and modifiers. */
function signature(node) {
  const text = node.getText().replace(/\/\*\*[\s\S]*?\*\//g, "").replace(/\s+/g, " ").trim();
  return text.replace(/^(export )?(declare )?(readonly )?/, "").replace(/;$/, "");
}

/** A documented line: what is said of it stands below it. */
function entry(symbol, node) {
  const said = documentation(symbol).replace(/\n/g, "\n  ");
  return `- \`${signature(node).replaceAll("`", "")}\`${said === "" ? "" : `\n\n  ${said}\n`}`;
}

const isShown = (member) => {
  const hidden = ts.getCombinedModifierFlags(member) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected);
  return !hidden && !(member.name && ts.isPrivateIdentifier(member.name)) && !ts.isConstructorDeclaration(member);
};

/** The members of a class or an interface. An overloaded method has each of its forms. */
function members(node) {
  return node.members.filter(isShown).map((member) => {
    const symbol = member.name ? checker.getSymbolAtLocation(member.name) : undefined;
    return symbol ? entry(symbol, member) : `- \`${signature(member)}\``;
  });
}

function section(exported) {
  const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
  const node = symbol.declarations?.[0];
  if (!node) return [];
  const said = documentation(symbol);
  const lines = [`## ${exported.name}`, ...(said === "" ? [] : [said])];
  if (ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node)) {
    const base = node.heritageClauses?.map((clause) => clause.getText()).join(" ");
    if (base) lines.push(`\`${base}\``);
    const list = members(node);
    if (list.length > 0) lines.push(list.join("\n"));
  } else {
    lines.push(`\`\`\`ts\n${signature(node)}\n\`\`\``);
  }
  return [lines.join("\n\n")];
}

const sections = checker.getExportsOfModule(checker.getSymbolAtLocation(index)).flatMap(section);
const head = "# Reference of the client for TypeScript\n\nMade from the sources by `scripts/reference.js`. `Schema` and `RequestOf` name types of the [API](../../docs/api.md).";
const text = `${[head, ...sections].join("\n\n").replace(/\n{3,}/g, "\n\n")}\n`;

if (process.argv.includes("--check")) {
  if ((await readFile(page, "utf8")) !== text) throw new Error("REFERENCE.md is not that of the sources: run node scripts/reference.js");
} else {
  await writeFile(page, text);
}
