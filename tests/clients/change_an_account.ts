// Change an account's name and find it, with clients typed by the OpenAPI documents.
// node change_an_account.js COMMAND_URL PROJECTION_URL TOKEN ACCOUNT_ID NAME
import createClient from "openapi-fetch";
import type { paths as Commands } from "./generated/command.js";
import type { paths as Queries } from "./generated/projection.js";

const [commandUrl, projectionUrl, token, accountId, name] = process.argv.slice(2) as [
  string, string, string, string, string,
];
const headers = { Authorization: `Bearer ${token}` };
const commands = createClient<Commands>({ baseUrl: commandUrl, headers });
const queries = createClient<Queries>({ baseUrl: projectionUrl, headers });

const path = { account_id: accountId };
const changed = await commands.PATCH("/v1/accounts/{account_id}", { params: { path }, body: { name } });
if (changed.error) throw new Error(changed.error.code);
const min_position = changed.data.position ?? 0;
const page = await queries.GET("/v1/accounts", { params: { query: { query: name, min_position } } });
if (page.error) throw new Error(page.error.code);
if (page.data.items[0]?.id !== accountId) throw new Error("not found by its name");
const account = await queries.GET("/v1/accounts/{account_id}", { params: { path } });
const nobody = { account_id: "00000000-0000-0000-0000-000000000000" };
const missing = await queries.GET("/v1/accounts/{account_id}", { params: { path: nobody } });
console.log(JSON.stringify({ account: account.data, missing: missing.error?.code }));
