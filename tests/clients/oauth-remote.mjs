// mcp-remote, the bridge of programs that can start a process and no more, gets in by OAuth at one
// address: oauth-remote.mjs ORIGIN PATH [DOCUMENT]. It registers, or is known by the address of a
// document about itself. Owns how the bridge is started and kept away from the person's own files and
// browser. It must not know who lets its user in: browser.mjs does.
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { browse } from './browser.mjs';

const JOB_MS = 120_000;
const timeout = 20_000;
/** Ports that systems do not give to outgoing connections, unless they are told to. */
const PORTS = { from: 10_000, until: 30_000 };
const PORT_TRIES_MAX = 20;
const [origin, path, documented] = process.argv.slice(2);
assert.ok(origin && path, 'call it with ORIGIN PATH [DOCUMENT]');
const script = fileURLToPath(new URL('../../node_modules/.bin/mcp-remote', import.meta.url));
const home = await mkdtemp(join(tmpdir(), 'oauth-remote-'));
let said = '';
/** The run that goes on. */
let transport;

/** Where the bridge sends its user, once it has said it and is there for who comes back. */
function addressIn(text) {
  if (!text.includes('OAuth callback server running')) return undefined;
  return /authorize this client by visiting:\s+(\S+)\s/.exec(text)?.[1];
}

/**
 * Where the bridge waits for its user, in each run. Left to itself it takes a port that is made of the
 * address, or one nearby when some connection has that; and what it registered with the one nearby it
 * throws away when it starts again, and its user is asked again.
 */
async function freePort() {
  for (let tries = 0; tries < PORT_TRIES_MAX; tries += 1) {
    const port = randomInt(PORTS.from, PORTS.until);
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await once(server, 'listening').then(() => true, () => false);
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
  return assert.fail('no port is free');
}
const port = String(await freePort());

/** The user goes where the bridge sends them, and then back to it. */
async function letIn(address) {
  const asked = new URL(address).searchParams;
  assert.equal(asked.get('client_id') === documented, documented !== undefined, address);
  const back = asked.get('redirect_uri');
  assert.match(back, /^http:\/\/(localhost|127\.0\.0\.1):\d+\//);
  const answered = await fetch(await browse(address, back));
  assert.equal(answered.status, 200, await answered.text());
}

/** One run of the bridge, in one era: how often it sent its user somewhere. */
async function run(era) {
  let visits = 0;
  let heard = '';
  const options = [
    ...(era === 'modern' ? ['--protocol', 'auto'] : []),
    ...(documented ? ['--client-metadata-url', documented] : []),
  ];
  transport = new StdioClientTransport({
    command: process.execPath,
    args: [script, `${origin}${path}`, port, '--allow-http', '--transport', 'http-only', ...options],
    // What `true` opens nobody sees.
    env: { PATH: process.env.PATH, HOME: home, MCP_REMOTE_CONFIG_DIR: home, BROWSER: 'true' },
    stderr: 'pipe',
  });
  transport.stderr.setEncoding('utf8').on('data', text => {
    said += text;
    heard += text;
    const address = addressIn(heard);
    if (!address) return;
    heard = '';
    visits += 1;
    letIn(address).catch(fail);
  });
  const client = new Client({ name: 'oauth-remote', version: '1.0.0' });
  try {
    await client.connect(transport, { timeout });
    await works(client);
  } finally {
    await client.close();
  }
  assert.equal(heard.includes('2026-07-28'), era === 'modern', said);
  return visits;
}

async function works(client) {
  assert.equal(client.getServerVersion()?.name, 'signalbox');
  const { tools } = await client.listTools();
  assert.ok(tools.some(tool => tool.name === 'remember'), JSON.stringify(tools));
  const call = async (name, args) => {
    const result = await client.callTool({ name, arguments: args }, { timeout });
    assert.notEqual(result.isError, true, JSON.stringify(result));
    return result.structuredContent;
  };
  const { id } = await call('remember', { text: 'kept through a bridge' });
  const { notes } = await call('recall', { query: 'bridge', limit: 1 });
  assert.deepEqual(notes.map(note => note.id), [id]);
}

const store = join(home, 'mcp-remote-v1');

/** What the bridge keeps for its next run, with some of it changed if wished. */
async function kept(changes) {
  const name = (await readdir(store)).find(name => name.endsWith('_tokens.json'));
  const file = join(store, name ?? assert.fail('it keeps no tokens'));
  const tokens = { ...JSON.parse(await readFile(file, 'utf8')), ...changes };
  if (changes) await writeFile(file, JSON.stringify(tokens));
  return tokens;
}

async function status(at, token) {
  const headers = { authorization: `Bearer ${token}`, accept: 'text/event-stream' };
  return (await fetch(`${origin}${at}`, { headers })).status;
}

async function job() {
  assert.equal(await run('handshake'), 1, said);
  const first = await kept();
  // What it keeps is enough, in the other era, too.
  assert.equal(await run('modern'), 0, said);
  assert.equal((await kept()).access_token, first.access_token);

  // Good at its address only; there it is refused for lack of a session, not of a right.
  const wider = path.slice(0, path.lastIndexOf('/'));
  assert.equal(await status(path, first.access_token), 400);
  for (const at of wider ? [wider, `${path}-too`] : []) assert.equal(await status(at, first.access_token), 401);

  // Over by its own clock, or refused by the server: it refreshes, and its user notices nothing.
  await kept({ expires_at: 1 });
  assert.equal(await run('handshake'), 0, said);
  const second = await kept({ access_token: 'refused' });
  assert.notEqual(second.refresh_token, first.refresh_token);
  assert.equal(await run('modern'), 0, said);
  assert.notEqual((await kept()).refresh_token, second.refresh_token);
}

async function fail(error) {
  console.error(`oauth-remote at ${origin}${path}:`, error, said);
  // It waits for its user even when nobody reads it any more.
  await transport?.close().catch(() => {});
  await rm(home, { recursive: true, force: true });
  process.exit(1);
}
setTimeout(() => fail(new Error(`not done within ${JOB_MS} ms`)), JOB_MS).unref();
try {
  await job();
} catch (error) {
  await fail(error);
}
await rm(home, { recursive: true, force: true });
console.log(JSON.stringify({ client: 'oauth-remote', path }));
