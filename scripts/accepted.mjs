// Ends with an error, and says why, where the Worker does not accept its configuration: before it is
// uploaded. Whether the secrets are set where it goes to is not known here.
//
//   node scripts/accepted.mjs [SETTINGS]
//
// SETTINGS is a file that is laid over wrangler.toml. Also read: BUNDLE (build/release).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serve } from "./serving.mjs";
import { readSettings, secretsOf } from "./settings.mjs";

const over = process.argv[2] ?? "";
const secrets = secretsOf(readSettings("wrangler.toml", over)).map((name) => [name, "set elsewhere"]);
// What is set in this shell is for a server here, and says nothing of the place it is uploaded to. What
// is undefined is not even empty: without KEYRING a server makes one of its own.
const here = ["API_KEYS", "ALLOWED_HOSTS", "ALLOWED_ORIGINS", "DEV_KEYS", "DEV_USER", "DEVELOPMENT", "DEV_LOGIN", "ORIGIN"];
const unset = [...["CONFIG", ...here].map((name) => [name, ""]), ["KEYRING", undefined]];
const folder = mkdtempSync(join(tmpdir(), "signalbox-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const log = [];
const environment = { ...Object.fromEntries([...secrets, ...unset]), SETTINGS: over, STATE: folder };
const { server, ended, origin } = await serve(environment, log);
server.kill("SIGTERM");
await ended;
if (!origin) {
  process.stderr.write(Buffer.concat(log));
  process.exit(1);
}
