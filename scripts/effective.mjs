// Prints what a user has at a scope: the tools as they are served, where each is from, and why others
// are hidden or missing. Asks the Agent itself, in a workerd of its own that is gone afterwards: with
// the settings and secrets of `make serve`, and a copy of what its Agents have stored, so that it is
// known what tools were like when they were first seen. The server may run meanwhile.
//
// Users' credentials are left alone: they are sealed where they are, and a copy that refreshed one would
// use up what the server has. Of a toolset that needs one it says so, and shows what is known of it.
//
//   USER=alice SCOPE=/mcp/acme/web node scripts/effective.mjs [--json]
//
// Also read: JSON=1, BUNDLE (build/release), STATE (.state), SETTINGS, DEVELOPMENT and secrets, as
// scripts/serve does.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { copyObjects } from "./copy.mjs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serve } from "./serving.mjs";
import { credentialsOf, fail, readSettings } from "./settings.mjs";

const { USER: user, SETTINGS } = process.env;
const scope = process.env.SCOPE || "/mcp";
const bundle = process.env.BUNDLE || "build/release";
const isRaw = process.argv.includes("--json") || !["", "0"].includes(process.env.JSON ?? "");

// As `shared::hop::EFFECTIVE_URL` says.
const ASKER = `export default {
  async fetch(request, env) {
    // Whether it is there: scripts/serve asks before it says so.
    if (request.method === "GET") return new Response(null, { status: 204 });
    const { name, key } = await request.json();
    const asked = { method: "POST", body: JSON.stringify(key) };
    return env.AGENT.getByName(name).fetch("https://agent/hop/effective", asked);
  },
};
`;

// The slugs of a scope, in the case that their levels keep. Whether they are slugs, the Agent says.
function slugs(written) {
  const levels = Array.isArray(written) && written.length > 0 ? written : [{ name: "org" }, { name: "project" }];
  const [root, ...rest] = scope.replace(/^\//, "").replace(/\/$/, "").split("/");
  if (root !== "mcp" || rest.length > levels.length || rest.includes("")) {
    const deepest = levels.reduceRight((inner, { name }) => `[/{${name}}${inner}]`, "");
    fail(`SCOPE=${scope}: a scope is /mcp${deepest}`);
  }
  return rest.map((slug, index) => (levels[index].case === "preserve" ? slug : slug.toLowerCase()));
}

// As `AgentKey::object_name` makes it.
function objectName(key) {
  return [key.user.replaceAll("%", "%25").replaceAll(":", "%3A"), ...key.scope].join(":");
}

// The product's own Worker, and one beside it that asks its Agents. Only that one has a socket.
function configuration(date) {
  const text = JSON.stringify;
  const services = (more) => `services = [Product.main, Product.state, .asker${more}], sockets = [.http]`;
  return `using Workerd = import "/workerd/workerd.capnp";
using Product = import "workerd.capnp";

const config :Workerd.Config = (${services("")});
const development :Workerd.Config = (${services(", Product.internet")});
const http :Workerd.Socket = (name = "http", address = "127.0.0.1:0", http = (), service = "asker");
const asker :Workerd.Service = (name = "asker", worker = (
  compatibilityDate = ${text(date)},
  modules = [(name = "asker.js", esModule = embed "asker.js")],
  bindings = [(name = "AGENT", durableObjectNamespace = (className = "Agent", serviceName = "main"))],
));
`;
}

// Rows of texts in columns that are as wide as they must be, under their heads.
function table(...rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = rows.map((row) => row.map((text, column) => text.padEnd(widths[column])).join("  ").trimEnd());
  return `${lines.join("\n")}\n`;
}

function print({ scope, tools, hidden = [], missing = [] }) {
  console.log(`${user} at ${scope} has ${tools.length} ${tools.length === 1 ? "tool" : "tools"}.\n`);
  // What this program makes itself has no fingerprint: it changes with a release only.
  const row = (tool) => [tool.name, tool.toolset, tool.fingerprint ?? "", tool.changed ? "changed" : ""];
  if (tools.length > 0) console.log(table(["TOOL", "TOOLSET", "FINGERPRINT", ""], ...tools.map(row)));
  const hides = ({ name, toolset, reason }) => [name, toolset, reason];
  if (hidden.length > 0) console.log(table(["HIDDEN", "TOOLSET", "WHY"], ...hidden.map(hides)));
  const misses = ({ toolset, reason }) => [toolset, reason];
  if (missing.length > 0) console.log(table(["MISSING TOOLSET", "WHY"], ...missing.map(misses)));
  for (const { name, description, inputSchema } of tools) {
    const [about = ""] = (description ?? "").split("\n");
    console.log(`${name}${about && `: ${about}`}\n${JSON.stringify(inputSchema, null, 2).replace(/^/gm, "  ")}\n`);
  }
}

// What the Agent answers, with its status.
async function ask(folder, key, log) {
  const more = { SETTINGS: "", CONFIG: join(folder, "asker.capnp"), STATE: join(folder, "state") };
  const { server, ended, origin } = await serve(more, log);
  if (!origin) fail(`the server did not start\n${Buffer.concat(log)}`);
  try {
    const body = JSON.stringify({ name: objectName(key), key });
    const response = await fetch(origin, { method: "POST", body });
    return { isGood: response.ok, text: await response.text() };
  } finally {
    server.kill("SIGTERM");
    await ended;
  }
}

// What the Agent says where a credential is not there, and that it shows what it knew before.
const NEEDS = /needs (your credential|re-authentication)/;
const BEFORE = / \(this is what it was before\)$/;

// The answer, which knows nothing of what the user has connected, with what is so of it.
function withoutCredentials(answer, credentials) {
  const missing = answer.missing?.map(({ toolset, reason }) => {
    const names = credentials.get(toolset)?.join(" and ");
    const other = `needs the user's credential ${names}, which \`make effective\` does not use`;
    const before = reason.match(BEFORE)?.[0] ?? "";
    return { toolset, reason: names && NEEDS.test(reason) ? other + before : reason };
  });
  return { ...answer, missing };
}

// What an error says to an operator; the log, where no Agent wrote it.
function reason(text, log) {
  try {
    const { detail, public: shown } = JSON.parse(text);
    return detail || shown || text;
  } catch {
    return `${text}\n${Buffer.concat(log)}`;
  }
}

if (!user) fail("name a user: make effective USER=alice SCOPE=/mcp/acme/web");
if (!existsSync(join(bundle, "worker.js"))) fail(`no bundle in ${bundle}: run scripts/bundle`);
const folder = mkdtempSync(join(tmpdir(), "signalbox-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
// The server has them too, and ends; what waits for it then does.
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(name, () => {});

const settings = readSettings("wrangler.toml", SETTINGS);
const key = { user, scope: slugs(settings.vars?.scope?.levels) };
const made = spawnSync(
  process.execPath,
  ["scripts/workerd-config.mjs", bundle, "wrangler.toml", SETTINGS ?? "", join(folder, "workerd.capnp")],
  { stdio: "inherit" },
);
if (made.status !== 0) process.exit(1);
writeFileSync(join(folder, "asker.js"), ASKER);
writeFileSync(join(folder, "asker.capnp"), configuration(settings.compatibility_date));

const agents = `${settings.name}-Agent`;
const state = process.env.STATE || ".state";
await copyObjects(join(state, agents), join(folder, "state", agents));

const log = [];
const { isGood, text } = await ask(folder, key, log);
if (!isGood) {
  console.error(reason(text, log));
  process.exit(1);
}
const answer = withoutCredentials(JSON.parse(text), credentialsOf(settings));
if (isRaw) console.log(JSON.stringify(answer));
else print(answer);
