// Pages of other origins as MCP clients, in a real Chromium: origins.mjs KEY. Prints `ready ORIGIN`, the
// origin of a page that may call, and reads the server's origin in a line. The client in the page is
// version 2 of the official TypeScript one, in both eras; a page of another origin gets nothing. Owns what
// a page does.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { build } from 'esbuild';
import { elsewhere, launch, run, step } from './chromium.mjs';

const [key] = process.argv.slice(2);
assert.ok(key, 'call it with KEY');

/** What a page does with the endpoint; it runs in the page. */
async function job(url, key, mode) {
  const { Client, StreamableHTTPClientTransport } = globalThis.mcp;
  const client = new Client({ name: 'a page', version: '1.0.0' }, { versionNegotiation: { mode } });
  const requestInit = { headers: { authorization: `Bearer ${key}` } };
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
  const call = async (name, args, options) => {
    const result = await client.callTool({ name, arguments: args }, options);
    return result.structuredContent ?? result.content[0].text;
  };
  const tools = (await client.listTools()).tools.map(tool => tool.name);
  const { id } = await call('remember', { text: `kept by a page ${mode.pin ?? mode}` });
  const found = await call('recall', { query: 'kept' });
  const progress = [];
  await call('test_tool_with_progress', {}, { onprogress: ({ progress: at }) => progress.push(at) });
  // The stream that waits tells of a change.
  const changed = new Promise(resolve => {
    client.setNotificationHandler('notifications/tools/list_changed', resolve);
  });
  const listening = mode === 'legacy' ? undefined : await client.listen({ toolsListChanged: true });
  await call('test_trigger_tool_change', {});
  await changed;
  await listening?.close();
  await call('forget', { id });
  const revision = client.getNegotiatedProtocolVersion();
  await client.close();
  return { tools, notes: found.notes.length, progress, revision };
}

/** What a page is told of a plain request: its status, or that there is nothing for it. */
async function plain(url, key) {
  const headers = {
    authorization: `Bearer ${key}`,
    accept: 'application/json, text/event-stream',
    'content-type': 'application/json',
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/list',
  };
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: { _meta } });
  try {
    const response = await fetch(url, { method: 'POST', headers, body });
    return { status: response.status, challenge: response.headers.get('www-authenticate') };
  } catch (error) {
    return { error: error.name };
  }
}

const bundled = await build({
  stdin: { contents: "export * from '@modelcontextprotocol/client';", resolveDir: import.meta.dirname },
  bundle: true,
  write: false,
  format: 'iife',
  globalName: 'mcp',
  platform: 'browser',
});
const script = { headers: { 'content-type': 'text/javascript' }, body: bundled.outputFiles[0].text };
const site = await elsewhere({
  '/': '<!doctype html><title>Page</title><script src="/mcp.js"></script>',
  '/mcp.js': () => script,
});
console.log(`ready ${site.origin}`);
const [origin] = await once(createInterface({ input: process.stdin }), 'line');
const url = `${origin}/mcp/acme`;
const browser = await launch();

async function page(from) {
  const opened = await browser.newPage();
  await opened.goto(from);
  return opened;
}

/** Does something of the above in a page. */
const does = (page, work, ...given) =>
  page.evaluate(`(${work})(${[url, ...given].map(value => JSON.stringify(value)).join()})`);

async function allowed(mode, revision) {
  const opened = await page(site.origin);
  const done = await does(opened, job, key, mode);
  assert.equal(done.revision, revision);
  assert.ok(done.tools.includes('recall'));
  assert.deepEqual([done.notes, done.progress], [1, [0, 50, 100]]);
  await opened.close();
}

async function refused() {
  const ask = async (from, key) => does(await page(from), plain, key);
  assert.equal((await ask(site.origin, key)).status, 200);
  // A page that may call can read why it may not, and where a credential is had.
  const { status, challenge } = await ask(site.origin, 'none');
  assert.equal(status, 401);
  assert.match(challenge, /resource_metadata=/);
  for (const any of [key, 'none']) assert.deepEqual(await ask(site.other, any), { error: 'TypeError' });
  // Nothing of it is done either, whatever a page sends without asking first.
  const opened = await page(site.other);
  const opaque = await opened.evaluate(
    async url => (await fetch(url, { method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}' })).type,
    url,
  );
  assert.equal(opaque, 'opaque');
}

await run('origins', async () => {
  await step('a page that may, 2026-07-28', () => allowed({ pin: '2026-07-28' }, '2026-07-28'));
  await step('a page that may, with a session', () => allowed('legacy', '2025-11-25'));
  await step('a page that may not', refused);
});
