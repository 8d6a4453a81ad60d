// Copies what objects have stored, as it is at one time, while their server may go on writing. Without
// their alarms: a copy must not begin to work by itself. It must not know what is stored.
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fail } from "./settings.mjs";

const TRIES = 50;
const PAUSE_MS = 20;

// A database is its file and the log of what is not in that yet.
const PARTS = ["", "-wal"];

// When and how each part was written last; null for one that is not there.
function stamp(file) {
  const parts = PARTS.map((part) => statSync(file + part, { bigint: true, throwIfNoEntry: false }));
  return parts.map((stat) => (stat ? [stat.ino, stat.size, stat.mtimeNs].join() : null)).join(" ");
}

// The two belong together only if neither was written while they were copied.
async function copy(from, to) {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const before = stamp(from);
    for (const part of PARTS) {
      rmSync(to + part, { force: true });
      if (existsSync(from + part)) copyFileSync(from + part, to + part);
    }
    if (stamp(from) === before) return;
    await sleep(PAUSE_MS);
  }
  fail(`${from} is written without a pause: try again, or stop the server`);
}

export async function copyObjects(from, to) {
  if (!existsSync(from)) return;
  mkdirSync(to, { recursive: true, mode: 0o700 });
  const files = readdirSync(from).filter((name) => name.endsWith(".sqlite"));
  // Whose alarms are when is the platform's own.
  for (const name of files.filter((name) => name !== "metadata.sqlite")) {
    await copy(join(from, name), join(to, name));
  }
}
