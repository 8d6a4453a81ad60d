// Writes the configuration of plain workerd from wrangler.toml, the one place where bindings,
// variables and dates are declared, and from a file of one's own that is laid over it. It has two
// constants: `config`, and `development`, where upstreams may be on private addresses.
//
//   node scripts/workerd-config.mjs BUNDLE [SETTINGS [OVER [OUT]]]
//
// BUNDLE is build/release, say; SETTINGS is wrangler.toml, OUT is BUNDLE/workerd.capnp.
import { readdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { fail as failed, readSettings, secretsOf } from "./settings.mjs";

// Set by the environment of `scripts/serve`; null in the Worker where the variable is unset.
const FROM_ENVIRONMENT = [
  "API_KEYS", "ALLOWED_HOSTS", "ALLOWED_ORIGINS", "DEV_KEYS", "DEV_USER", "DEVELOPMENT", "KEYRING", "ORIGIN",
];

// What is understood here. `main`, `build` and `observability` mean nothing to workerd.
const KEYS = [
  "name", "main", "build", "observability",
  "compatibility_date", "compatibility_flags", "durable_objects", "migrations", "vars",
];

const [bundle, file = "wrangler.toml", over, out = join(bundle, "workerd.capnp")] = process.argv.slice(2);
const settings = readSettings(file, over);
const { name, compatibility_date, compatibility_flags = [], migrations = [], vars = {} } = settings;
const objects = settings.durable_objects?.bindings ?? [];
const environment = [...new Set([...FROM_ENVIRONMENT, ...secretsOf(settings)])];

function fail(message) {
  failed(`${over || file}: ${message}`);
}

for (const key of Object.keys(settings)) {
  if (!KEYS.includes(key)) fail(`${key}: scripts/workerd-config.mjs cannot express it yet`);
}
for (const key of environment) {
  if (key in vars) fail(`vars.${key}: is not written here, but set as a secret or in the environment`);
  if (objects.some((object) => object.name === key)) fail(`${key}: is no secret, but a binding of an object`);
}
const sqlite = migrations.flatMap((migration) => migration.new_sqlite_classes ?? []);
for (const { class_name } of objects) {
  if (!sqlite.includes(class_name)) fail(`durable_objects: no migration creates ${class_name}`);
}

// A text literal of Cap'n Proto: that of JSON but for the escapes of control characters.
const text = (value) => JSON.stringify(value).replace(/\\u00(..)/g, "\\x$1");
const list = (items) => `[\n${items.map((item) => `    ${item},\n`).join("")}  ]`;
// Found from where the configuration is: workerd takes no absolute path.
const embed = (module) => `embed ${text(join(relative(dirname(out), bundle), module))}`;

const modules = [
  `(name = "index.js", esModule = ${embed("index.js")})`,
  ...readdirSync(bundle)
    .filter((module) => module.endsWith(".wasm"))
    .map((module) => `(name = ${text(module)}, wasm = ${embed(module)})`),
];
// A class may be bound under several names.
const namespaces = [...new Set(objects.map((object) => object.class_name))].map(
  (class_name) =>
    `(className = ${text(class_name)}, uniqueKey = ${text(`${name}-${class_name}`)}, enableSql = true)`,
);
// A bundle that has the conformance suite's tools lists them first, unless it is told what to list.
const isTold = over && "toolsets" in (readSettings(over).vars ?? {});
if (basename(bundle).startsWith("fixture") && !isTold) {
  vars.toolsets = [{ kind: "fixture" }, ...(vars.toolsets ?? [])];
}
const bindings = [
  ...objects.map(
    (object) => `(name = ${text(object.name)}, durableObjectNamespace = ${text(object.class_name)})`,
  ),
  ...Object.entries(vars).map(([key, value]) =>
    typeof value === "string"
      ? `(name = ${text(key)}, text = ${text(value)})`
      : `(name = ${text(key)}, json = ${text(JSON.stringify(value))})`,
  ),
  ...environment.map((key) => `(name = ${text(key)}, fromEnvironment = ${text(key)})`),
];

// The address and the path are placeholders: `scripts/serve` gives both on the command line.
const config = `# Made from ${over ? `${file} and ${over}` : file} by scripts/workerd-config.mjs.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (services = [.main, .state], sockets = [.http]);
const development :Workerd.Config = (services = [.main, .state, .internet], sockets = [.http]);

const main :Workerd.Service = (name = "main", worker = .worker);
const state :Workerd.Service = (name = "state", disk = (path = "state", writable = true));
const http :Workerd.Socket = (name = "http", address = "127.0.0.1:0", http = (), service = "main");

# What \`fetch\` reaches. Where there is none of this name, it is public addresses only.
const internet :Workerd.Service = (
  name = "internet",
  network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true)),
);

const worker :Workerd.Worker = (
  compatibilityDate = ${text(compatibility_date)},
  compatibilityFlags = [${compatibility_flags.map(text).join(", ")}],
  modules = ${list(modules)},
  durableObjectNamespaces = ${list(namespaces)},
  durableObjectStorage = (localDisk = "state"),
  bindings = ${list(bindings)},
);
`;
writeFileSync(out, config);
