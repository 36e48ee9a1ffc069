// Print what the parser of the AsyncAPI project has against a document, a line each.
import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";

const { diagnostics } = await new Parser().parse(await readFile(process.argv[2], "utf8"));
for (const { severity, code, message, path } of diagnostics) {
  if (severity < 2) console.log(`${code} ${path.join("/")}: ${message}`);
}
