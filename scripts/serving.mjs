// A server for as long as a script needs one: `scripts/serve` on a port of its own. It must not know
// what is asked there.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

// The server, once it accepts, and where that is; no `origin` where it ended before. What it says
// goes to the log.
export async function serve(environment, log) {
  const server = spawn("scripts/serve", {
    env: { ...process.env, ...environment, PORT: "0" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  server.stderr.on("data", (data) => log.push(data));
  const ended = new Promise((resolve) => server.on("close", resolve));
  for await (const line of createInterface({ input: server.stdout })) {
    if (line.startsWith("ready ")) return { server, ended, origin: new URL(line.slice(6)).origin };
  }
  await ended;
  return { server, ended };
}
