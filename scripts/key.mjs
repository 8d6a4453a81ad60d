// Prints a fresh key for a user, and the line that lets it in: only the digest is ever stored.
//
//   node scripts/key.mjs USER
import { createHash, randomBytes } from "node:crypto";

const user = process.argv[2];
if (!user || /[,\s]/.test(user)) {
  console.error("signalbox: name a user, without spaces and commas: make key USER=alice");
  process.exit(1);
}
const key = randomBytes(32).toString("base64url");
const digest = createHash("sha256").update(key).digest("hex");
console.log(`Key of ${user}, shown only now:
${key}

A line of the secret API_KEYS (wrangler secret put API_KEYS):
${user}=sha256:${digest}`);
