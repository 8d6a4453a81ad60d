// A conversation with version 2 of the official TypeScript client, against the tools of the test
// build: the server asks its client in the middle of a call, says how far it is, ends its stream
// and goes on, and tells what has changed. talk.mjs URL KEY handshake|modern.
import assert from 'node:assert/strict';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const [url, key, era] = process.argv.slice(2);
assert.ok(url && key && ['handshake', 'modern'].includes(era), 'call it with URL KEY handshake|modern');
const mode = era === 'modern' ? { pin: '2026-07-28' } : 'legacy';
const timeout = 10_000;

const asked = [];
const client = new Client(
  { name: 'talk', version: '1.0.0' },
  {
    versionNegotiation: { mode },
    capabilities: { elicitation: {}, sampling: {}, roots: {} },
  },
);
client.setRequestHandler('elicitation/create', ({ params }) => {
  asked.push(`elicitation: ${params.message}`);
  return { action: 'accept', content: { username: 'alice', email: 'alice@example.com', name: 'Alice' } };
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
  return JSON.stringify(result.content);
}

setTimeout(() => {
  console.error(`talk (${era}) at ${url}: not done in time; asked: ${asked}`);
  process.exit(1);
}, 30_000);

const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { authorization: `Bearer ${key}` } },
});
await client.connect(transport, { timeout });

assert.match(await call('test_elicitation', { message: 'who?' }), /alice/);
assert.match(await call('test_sampling', { prompt: 'capital?' }), /Paris/);
assert.match(await call('test_input_required_result_list_roots'), /project/);
assert.deepEqual(asked.map(text => text.split(':')[0]), ['elicitation', 'sampling', 'roots']);
assert.ok(asked[0].includes('who?') && asked[1].includes('capital?'), String(asked));
const heard = [];
await call('test_tool_with_progress', {}, { onprogress: ({ progress }) => heard.push(progress) });
assert.deepEqual(heard, [0, 50, 100]);
// In the handshake era the server ends the stream of this call, and the client comes back for it.
await call('test_reconnection');

const changed = Promise.withResolvers();
if (era === 'handshake') {
  client.setNotificationHandler('notifications/tools/list_changed', () => changed.resolve());
} else {
  client.setNotificationHandler('notifications/tools/list_changed', () => changed.resolve());
  await client.listen({ toolsListChanged: true });
}
await call('test_trigger_tool_change');
await changed.promise;
if (era === 'handshake') await transport.terminateSession();
await client.close();
console.log(JSON.stringify({ client: 'talk', era, asked }));
process.exit(0);
