// A conversation through mcp-remote, the bridge of programs that can start a process and no more:
// remote.mjs URL KEY http-only|sse-only|modern. Owns how the bridge is started and kept away from
// the person's own files. `modern` is its http-only with the era that it finds out by itself.
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from '@modelcontextprotocol/client';
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

async function call(name, args = {}, options = {}) {
  const result = await client.callTool({ name, arguments: args }, { timeout, ...options });
  assert.notEqual(result.isError, true, JSON.stringify(result));
  return result.structuredContent ?? result.content[0].text;
}

/** Waits until this many calls of test_wait are at work. */
async function waiting(count) {
  for (;;) if ((await call('test_waiting')) === String(count)) return;
}

/** The next notification of this kind. */
function heard(method) {
  return new Promise(resolve => {
    client.setNotificationHandler(method, ({ params }) => resolve(params));
  });
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
    await call('test_trigger_tool_change');
    await changed;
  });
  await step('a resource changes', async () => {
    const { id, uri } = await call('remember', { text: 'the first text' });
    const updated = heard('notifications/resources/updated');
    await client.subscribeResource({ uri });
    await call('remember', { id, text: 'the second text' });
    assert.equal((await updated).uri, uri);
    await client.unsubscribeResource({ uri });
    await call('forget', { id });
  });
  await step('cancellation', async () => {
    const stop = new AbortController();
    const refused = assert.rejects(call('test_wait', {}, { signal: stop.signal }));
    await waiting(1);
    stop.abort('enough');
    await refused;
    await waiting(0);
  });
  await step('end', async () => {
    await client.close();
    assert.deepEqual((await readdir(home)).filter(name => name.includes('token')), []);
  });
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
