// A conversation through mcp-remote, the bridge of programs that can start a process and no more:
// remote.mjs URL KEY http-only|sse-only|modern. Owns how the bridge is started and kept away from
// the person's own files. `modern` is its http-only with the era that it finds out by itself.
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

const TALK_MS = 60_000;
const timeout = 20_000;
const [url, key, way] = process.argv.slice(2);
const ways = ['http-only', 'sse-only', 'modern'];
assert.ok(url && key && ways.includes(way), `call it with URL KEY ${ways.join('|')}`);

const home = await mkdtemp(join(tmpdir(), 'remote-'));
const said = [];
let current = 'start';
async function step(name, work) {
  current = name;
  return await work();
}

const client = new Client(
  { name: 'remote', version: '1.0.0' },
  { capabilities: { elicitation: {}, sampling: {}, roots: {} } },
);
const asked = [];
client.setRequestHandler('elicitation/create', ({ params }) => {
  asked.push(params.message);
  return { action: 'accept', content: { username: 'alice', email: 'a@example.com', name: 'Alice', color: 'teal' } };
});
client.setRequestHandler('sampling/createMessage', () => {
  return { role: 'assistant', model: 'none', content: { type: 'text', text: 'Paris' } };
});
client.setRequestHandler('roots/list', () => ({ roots: [{ uri: 'file:///home/alice/project' }] }));

async function call(name, args = {}, { by = client, ...options } = {}) {
  const result = await by.callTool({ name, arguments: args }, { timeout, ...options });
  assert.notEqual(result.isError, true, JSON.stringify(result));
  return result.structuredContent ?? result.content[0].text;
}

/** Waits until this many calls of test_wait are at work. */
async function waiting(count, by = client) {
  for (;;) if ((await call('test_waiting', {}, { by })) === String(count)) return;
}

/** The next notification of this kind. */
function heard(method) {
  return new Promise(resolve => {
    client.setNotificationHandler(method, ({ params }) => resolve(params));
  });
}

/**
 * Does what must be told of, and waits until it is. In the modern era the bridge says that it
 * listens before it does (0.15.1), so what is done until then is lost and has to be done again.
 */
async function told(change, work) {
  let done = false;
  void change.then(() => { done = true; });
  do await work(); while (way === 'modern' && !done);
  return await change;
}

async function talk() {
  await step('initialize', async () => {
    const script = fileURLToPath(new URL('../../node_modules/.bin/mcp-remote', import.meta.url));
    const protocol = way === 'modern' ? ['--protocol', 'auto'] : [];
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: [
        ...[script, url, '--header', `Authorization: Bearer ${key}`, '--allow-http'],
        ...['--transport', way === 'sse-only' ? way : 'http-only', ...protocol],
      ],
      env: { PATH: process.env.PATH, HOME: home, MCP_REMOTE_CONFIG_DIR: home },
      stderr: 'pipe',
    });
    transport.stderr.on('data', text => said.push(text));
    await client.connect(transport, { timeout });
    assert.equal(client.getServerVersion()?.name, 'signalbox');
  });
  await step('the era', () => {
    assert.equal(said.join('').includes('2026-07-28'), way === 'modern', said.join(''));
  });
  await step('tools/list', async () => {
    const { tools } = await client.listTools();
    assert.ok(tools.some(tool => tool.name === 'remember'), JSON.stringify(tools));
  });
  await step('progress', async () => {
    const steps = [];
    await call('test_tool_with_progress', {}, { onprogress: ({ progress }) => steps.push(progress) });
    assert.deepEqual(steps, [0, 50, 100]);
  });
  await step('questions', async () => {
    assert.match(await call('test_elicitation', { message: 'who?' }), /alice/);
    assert.match(await call('test_sampling', { prompt: 'capital?' }), /Paris/);
    assert.match(await call('test_input_required_result_list_roots'), /project/);
    assert.equal(await call('test_input_required_result_multi_round'), 'Alice likes teal');
    assert.equal(asked.length, 3, String(asked));
  });
  await step('a paused stream', () => call('test_reconnection'));
  await step('list changes', async () => {
    const changed = heard('notifications/tools/list_changed');
    await told(changed, () => call('test_trigger_tool_change'));
  });
  await step('a resource changes', async () => {
    const { id, uri } = await call('remember', { text: 'the first text' });
    const updated = heard('notifications/resources/updated');
    await client.subscribeResource({ uri });
    const params = await told(updated, () => call('remember', { id, text: 'the second text' }));
    assert.equal(params.uri, uri);
    await client.unsubscribeResource({ uri });
    await call('forget', { id });
  });
  await step('cancellation', async () => {
    const stop = new AbortController();
    const refused = assert.rejects(call('test_wait', {}, { signal: stop.signal }));
    await waiting(1);
    stop.abort('enough');
    await refused;
    // In the modern era the bridge (0.15.1) sends a notification, which names nothing there, and
    // leaves the stream open: the call goes on until the bridge ends.
    if (way !== 'modern') await waiting(0);
  });
  await step('end', async () => {
    await client.close();
    if (way !== 'sse-only') await waiting(0, await directly());
    const kept = await readdir(home, { recursive: true });
    assert.deepEqual(kept.filter(name => name.includes('tokens')), [], 'it signed in somewhere');
  });
}

/** A client without the bridge. */
async function directly() {
  const direct = new Client({ name: 'direct', version: '1.0.0' });
  const requestInit = { headers: { authorization: `Bearer ${key}` } };
  await direct.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }), { timeout });
  return direct;
}

async function fail(error) {
  console.error(`remote (${way}) at ${url}, step "${current}":`, error, said.join(''));
  await client.close().catch(() => {});
  process.exit(1);
}
setTimeout(() => fail(new Error(`not done within ${TALK_MS} ms`)), TALK_MS);
try {
  await talk();
} catch (error) {
  await fail(error);
} finally {
  await rm(home, { recursive: true, force: true });
}
console.log(JSON.stringify({ client: 'remote', way }));
process.exit(0);
