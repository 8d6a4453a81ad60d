// The 2024-11-05 transport with version 1 of the official TypeScript client, against the tools of
// the test build. old.mjs URL KEY, where the path of the URL begins with /sse.
import assert from 'node:assert/strict';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import {
  ElicitRequestSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';

const [url, key] = process.argv.slice(2);
assert.ok(url && key, 'call it with URL KEY');
setTimeout(() => {
  console.error(`old at ${url}: not done in time`);
  process.exit(1);
}, 30_000);

const headers = { authorization: `Bearer ${key}` };
const transport = new SSEClientTransport(new URL(url), {
  requestInit: { headers },
  eventSourceInit: { fetch: (to, init) => fetch(to, { ...init, headers: { ...init.headers, ...headers } }) },
});
const client = new Client({ name: 'old', version: '1.0.0' }, { capabilities: { elicitation: {} } });
client.setRequestHandler(ElicitRequestSchema, () => ({
  action: 'accept',
  content: { username: 'alice', email: 'alice@example.com' },
}));
const changed = Promise.withResolvers();
client.setNotificationHandler(ToolListChangedNotificationSchema, () => changed.resolve());
await client.connect(transport);

const call = async (name, args, options) => {
  const result = await client.callTool({ name, arguments: args }, undefined, options);
  assert.notEqual(result.isError, true, JSON.stringify(result));
  return JSON.stringify(result.content);
};
const { tools } = await client.listTools();
assert.ok(tools.some(tool => tool.name === 'remember'));
assert.match(await call('remember', { text: 'said over the oldest transport' }), /memory:/);
assert.match(await call('test_elicitation', { message: 'who?' }), /alice/);
const heard = [];
const onprogress = ({ progress }) => heard.push(progress);
await call('test_tool_with_progress', {}, { onprogress });
assert.deepEqual(heard, [0, 50, 100]);
await call('test_trigger_tool_change', {});
await changed.promise;
await client.close();
console.log(JSON.stringify({ client: 'old', tools: tools.length }));
process.exit(0);
