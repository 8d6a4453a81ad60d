// Runs the dev bundle under `wrangler dev`, which rebuilds it on change, and says how to connect a
// client. Owns the development key and the key ring of this checkout, and the wrangler process.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { readSettings, secretsOf } from "./settings.mjs";

const PORT = process.env.PORT || "8787";
const URL_MCP = `http://127.0.0.1:${PORT}/mcp`;
const KEY_FILE = ".state/dev-key";
const RING_FILE = ".state/dev-keyring";
const ENV_FILE = ".state/dev.env";
const GRACE_MS = 3000;

// A secret of this checkout: what was made the first time.
function secret(file, make) {
  mkdirSync(".state", { recursive: true, mode: 0o700 });
  if (!existsSync(file)) writeFileSync(file, `${make()}\n`, { mode: 0o600 });
  return readFileSync(file, "utf8").trim();
}

// The secrets that toolsets name and this environment has, as wrangler reads them back: it would put
// in variables after a `$`.
function secrets() {
  const names = secretsOf(readSettings("wrangler.toml")).filter((name) => process.env[name]);
  return names.map((name) => {
    const value = process.env[name].replaceAll("$", "\\$");
    const quote = value.includes("'") ? "`" : "'";
    return `${name}=${quote}${value}${quote}`;
  });
}

// A file rather than arguments, which every user of the machine could read.
function writeEnvironment(user, key, ring) {
  rmSync(ENV_FILE, { force: true });
  const lines = [
    `DEV_KEYS="${user}=${key}"`,
    `ALLOWED_HOSTS="localhost,127.0.0.1,[::1]"`,
    `DEVELOPMENT="1"`,
    `KEYRING="${ring}"`,
    `DEV_LOGIN="1"`,
    ...secrets(),
  ];
  writeFileSync(ENV_FILE, `${lines.join("\n")}\n`, { mode: 0o600 });
}

function isTaken() {
  return new Promise((resolve) => {
    const socket = connect(Number(PORT), "127.0.0.1");
    socket.on("connect", () => resolve(true)).on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}

async function accepts() {
  const answered = () => fetch(URL_MCP).then(() => true, () => false);
  while (!(await answered())) await sleep(50);
}

function instructions(key) {
  const headers = { Authorization: `Bearer ${key}` };
  const json = (value) => JSON.stringify(value, null, 2);
  const bearer = `--header "Authorization: Bearer ${key}"`;
  return `
Signalbox accepts at ${URL_MCP}
Development key:      ${key}
Narrower endpoints:   ${URL_MCP}/{org} and ${URL_MCP}/{org}/{project}

Claude Code
claude mcp add --transport http signalbox ${URL_MCP} ${bearer}

VS Code, .vscode/mcp.json
${json({ servers: { signalbox: { type: "http", url: URL_MCP, headers } } })}

Cursor, .cursor/mcp.json
${json({ mcpServers: { signalbox: { url: URL_MCP, headers } } })}

Inspector, in this folder
npx mcp-inspector --cli ${URL_MCP} --method tools/list ${bearer}

A change of the crates is built and served at once. Ctrl-C ends it.
`;
}

if (await isTaken()) {
  console.error(`signalbox: port ${PORT} is taken: set PORT`);
  process.exit(1);
}
const user = /^[\w.-]+$/.test(process.env.USER ?? "") ? process.env.USER : "dev";
const key = secret(KEY_FILE, () => randomBytes(32).toString("base64url"));
const ring = process.env.KEYRING || secret(RING_FILE, () => `dev=${randomBytes(32).toString("base64")}`);
writeEnvironment(user, key, ring);

// In a process group of its own: Ctrl-C reaches it once, from here, and nothing of it stays.
const wrangler = spawn(
  process.execPath,
  ["node_modules/wrangler/bin/wrangler.js", "dev", "build/dev/worker.js"].concat(
    ["--config", "wrangler.toml", "--ip", "127.0.0.1", "--port", PORT],
    ["--env-file", ENV_FILE, "--show-interactive-dev-session=false"],
  ),
  {
    stdio: ["ignore", "inherit", "inherit"],
    detached: true,
    env: { ...process.env, VARIANT: "dev" },
  },
);
function signal(name) {
  try {
    process.kill(-wrangler.pid, name);
  } catch {
    // All of it is gone.
  }
}
let stopping = false;
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.once(name, () => {
    stopping = true;
    signal("SIGINT");
    setTimeout(() => signal("SIGKILL"), GRACE_MS).unref();
  });
}
wrangler.on("exit", (code) => {
  signal("SIGKILL");
  process.exit(stopping ? 0 : (code ?? 1));
});

await accepts();
console.log(instructions(key));
