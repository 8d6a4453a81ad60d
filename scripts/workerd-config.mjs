// Writes <bundle>/workerd.capnp, the configuration of plain workerd, from wrangler.toml: the one
// place where bindings, variables and dates are declared.
//
//   node scripts/workerd-config.mjs build/release [wrangler.toml]
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parse } from "smol-toml";

// Set by the environment of `scripts/serve`; null in the Worker where the variable is unset.
const FROM_ENVIRONMENT = ["API_KEYS", "ALLOWED_HOSTS", "ALLOWED_ORIGINS", "DEV_KEYS", "DEV_USER"];

// What is understood here. `main`, `build` and `observability` mean nothing to workerd.
const KEYS = [
  "name", "main", "build", "observability",
  "compatibility_date", "compatibility_flags", "durable_objects", "migrations", "vars",
];

function fail(message) {
  console.error(`signalbox: ${settings}: ${message}`);
  process.exit(1);
}

const [bundle, settings = "wrangler.toml"] = process.argv.slice(2);
const wrangler = parse(readFileSync(settings, "utf8"));
const { name, compatibility_date, compatibility_flags = [], migrations = [], vars = {} } = wrangler;
const objects = wrangler.durable_objects?.bindings ?? [];

for (const key of Object.keys(wrangler)) {
  if (!KEYS.includes(key)) fail(`${key}: scripts/workerd-config.mjs cannot express it yet`);
}
for (const key of FROM_ENVIRONMENT) {
  if (key in vars) fail(`vars.${key}: is not written here, but set as a secret or in the environment`);
}
const sqlite = migrations.flatMap((migration) => migration.new_sqlite_classes ?? []);
for (const { class_name } of objects) {
  if (!sqlite.includes(class_name)) fail(`durable_objects: no migration creates ${class_name}`);
}

// A text literal of Cap'n Proto: that of JSON but for the escapes of control characters.
const text = (value) => JSON.stringify(value).replace(/\\u00(..)/g, "\\x$1");
const list = (items) => `[\n${items.map((item) => `    ${item},\n`).join("")}  ]`;

const modules = [
  `(name = "index.js", esModule = embed "index.js")`,
  ...readdirSync(bundle)
    .filter((file) => file.endsWith(".wasm"))
    .map((file) => `(name = ${text(file)}, wasm = embed ${text(file)})`),
];
// A class may be bound under several names.
const namespaces = [...new Set(objects.map((object) => object.class_name))].map(
  (class_name) =>
    `(className = ${text(class_name)}, uniqueKey = ${text(`${name}-${class_name}`)}, enableSql = true)`,
);
// A bundle that has the conformance suite's tools lists them first.
if (basename(bundle).startsWith("fixture")) vars.toolsets = [{ kind: "fixture" }, ...(vars.toolsets ?? [])];
const bindings = [
  ...objects.map(
    (object) => `(name = ${text(object.name)}, durableObjectNamespace = ${text(object.class_name)})`,
  ),
  ...Object.entries(vars).map(([key, value]) =>
    typeof value === "string"
      ? `(name = ${text(key)}, text = ${text(value)})`
      : `(name = ${text(key)}, json = ${text(JSON.stringify(value))})`,
  ),
  ...FROM_ENVIRONMENT.map((key) => `(name = ${text(key)}, fromEnvironment = ${text(key)})`),
];

// The address and the path are placeholders: `scripts/serve` gives both on the command line.
const config = `# Made from ${settings} by scripts/workerd-config.mjs.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "state", disk = (path = "state", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
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
writeFileSync(join(bundle, "workerd.capnp"), config);
