// The settings of a deployment as they are written: wrangler.toml, and a file of one's own that is
// laid over it. It knows where secrets are named; what else a toolset may say is the Worker's to know.
import { readFileSync } from "node:fs";
import { parse } from "smol-toml";

export function fail(message) {
  console.error(`signalbox: ${message}`);
  process.exit(1);
}

function read(file) {
  try {
    const text = readFileSync(file, "utf8");
    return file.endsWith(".json") ? JSON.parse(text) : parse(text);
  } catch (error) {
    return fail(`${file}: ${error.message}`);
  }
}

// What the second file says counts, variable by variable; what it does not say is as in the first.
export function readSettings(file, over) {
  const settings = read(file);
  if (!over) return settings;
  const own = read(over);
  return { ...settings, ...own, vars: { ...settings.vars, ...own.vars } };
}

// Names of the secrets that toolsets send, `auth = { secret = "NAME" }` and the same of a header, and of
// those that prove this deployment to logins and to authorization servers, `client_secret`. What is no table or no name is left for
// the Worker to refuse, which says what is wrong with it.
export function secretsOf({ vars }) {
  const tables = (name) => (Array.isArray(vars?.[name]) ? vars[name] : []);
  const sources = [
    ...tables("toolsets").flatMap((toolset) => [toolset?.auth, ...Object.values(toolset?.headers ?? {})]),
    ...tables("credentials").map((credential) => credential?.client_secret),
    ...tables("logins").map((login) => login?.client_secret),
  ];
  const names = sources.map((source) => source?.secret).filter((name) => /^[A-Z0-9_]+$/.test(name ?? ""));
  return [...new Set(names)];
}

// Of each toolset that sends them, by its name, the users' credentials: `auth = { credential = "name" }`,
// and the same of a header.
export function credentialsOf({ vars }) {
  const toolsets = Array.isArray(vars?.toolsets) ? vars.toolsets : [];
  const named = toolsets.map((toolset) => {
    const sources = [toolset?.auth, ...Object.values(toolset?.headers ?? {})];
    const names = sources.map((source) => source?.credential).filter((name) => typeof name === "string");
    return [toolset?.name ?? toolset?.kind, [...new Set(names)]];
  });
  return new Map(named.filter(([, names]) => names.length > 0));
}
