// A conversation with version 2 of the official TypeScript client, against the tools of the test
// build: the server asks its client in the middle of a call, says how far it is, ends its stream
// and goes on, stops when it is told, and tells what has changed. talk.mjs URL KEY handshake|modern.
import assert from 'node:assert/strict';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const TALK_MS = 30_000;
const [url, key, era] = process.argv.slice(2);
assert.ok(url && key && ['handshake', 'modern'].includes(era), 'call it with URL KEY handshake|modern');
const modern = era === 'modern';
const mode = modern ? { pin: '2026-07-28' } : 'legacy';
const timeout = 10_000;

const asked = [];
/** What the user does when asked, and what the form holds then. */
let action = 'accept';
const form = { username: 'alice', email: 'alice@example.com', name: 'Alice', color: 'teal' };
const client = new Client(
  { name: 'talk', version: '1.0.0' },
  {
    versionNegotiation: { mode },
    capabilities: { elicitation: {}, sampling: {}, roots: {} },
  },
);
client.setRequestHandler('elicitation/create', ({ params }) => {
  asked.push(`elicitation: ${params.message}`);
  return action === 'accept' ? { action, content: form } : { action };
});
client.setRequestHandler('sampling/createMessage', ({ params }) => {
  asked.push(`sampling: ${params.messages[0].content.text}`);
  return { role: 'assistant', model: 'none', content: { type: 'text', text: 'Paris' } };
});
client.setRequestHandler('roots/list', () => {
  asked.push('roots');
  return { roots: [{ uri: 'file:///home/alice/project', name: 'project' }] };
});

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

let current = 'start';
async function step(name, work) {
  current = name;
  await work();
}

function fail(error) {
  console.error(`talk (${era}) at ${url}, step "${current}", asked ${asked}:`, error);
  process.exit(1);
}
setTimeout(() => fail(new Error(`not done within ${TALK_MS} ms`)), TALK_MS);

const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { authorization: `Bearer ${key}` } },
});

async function talk() {
  await step('connect', () => client.connect(transport, { timeout }));
  await step('elicitation', async () => {
    assert.match(await call('test_elicitation', { message: 'who?' }), /accept.*alice/);
  });
  await step('sampling', async () => {
    assert.match(await call('test_sampling', { prompt: 'capital?' }), /Paris/);
  });
  await step('roots', async () => {
    assert.match(await call('test_input_required_result_list_roots'), /project/);
  });
  await step('what was asked', () => {
    assert.deepEqual(asked.splice(0), ['elicitation: who?', 'sampling: capital?', 'roots']);
  });
  await step('one question after the other', async () => {
    const said = await call('test_input_required_result_multi_round');
    assert.equal(said, 'Alice likes teal');
    assert.deepEqual(asked.splice(0).map(text => text.split(':')[1]), [' Step 1', ' Step 2']);
  });
  await step('three questions at once', async () => {
    assert.match(await call('test_input_required_result_multiple_inputs'), /alice.*; Paris; .*project/);
    const kinds = asked.splice(0).map(text => text.split(':')[0]);
    assert.deepEqual(kinds.sort(), ['elicitation', 'roots', 'sampling']);
  });
  await step('the user declines, and cancels', async () => {
    for (action of ['decline', 'cancel']) {
      const said = await call('test_elicitation', { message: 'who?' });
      assert.equal(said, `User response: action: ${action}, content: {}`);
    }
  });
  await step('progress', async () => {
    const steps = [];
    await call('test_tool_with_progress', {}, { onprogress: ({ progress }) => steps.push(progress) });
    assert.deepEqual(steps, [0, 50, 100]);
  });
  // In the handshake era the server ends the stream of this call, and the client comes back for it.
  await step('a paused stream', () => call('test_reconnection'));
  await step('cancellation', async () => {
    const stop = new AbortController();
    const refused = assert.rejects(call('test_wait', {}, { signal: stop.signal }));
    await waiting(1);
    stop.abort('enough');
    await refused;
    await waiting(0);
  });
  await step('list changes', async () => {
    const changed = heard('notifications/tools/list_changed');
    const listening = modern ? await client.listen({ toolsListChanged: true }) : undefined;
    await call('test_trigger_tool_change');
    await changed;
    await listening?.close();
  });
  await step('a resource changes', async () => {
    const { id, uri } = await call('remember', { text: 'the first text' });
    const updated = heard('notifications/resources/updated');
    const listening = modern
      ? await client.listen({ resourceSubscriptions: [uri] })
      : await client.subscribeResource({ uri });
    if (modern) assert.deepEqual(listening.honoredFilter, { resourceSubscriptions: [uri] });
    await call('remember', { id, text: 'the second text' });
    assert.equal((await updated).uri, uri);
    await (modern ? listening.close() : client.unsubscribeResource({ uri }));
    await call('forget', { id });
  });
  await step('end', async () => {
    if (!modern) await transport.terminateSession();
    await client.close();
  });
}

await talk().catch(fail);
console.log(JSON.stringify({ client: 'talk', era }));
process.exit(0);
