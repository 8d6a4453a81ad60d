// Version 2 of the official TypeScript client gets in by OAuth at one address, and is held to what it
// was given: oauth.mjs ORIGIN PATH [DOCUMENT]. It registers, or is known by the address of a document
// about itself. It must not know who lets its user in: browser.mjs does.
import assert from 'node:assert/strict';
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { client as newClient, request } from './authorized.mjs';
import { browse } from './browser.mjs';

const [origin, path, clientMetadataUrl] = process.argv.slice(2);
assert.ok(origin && path, 'call it with ORIGIN PATH [DOCUMENT]');
const serverUrl = `${origin}${path}`;
const redirectUrl = 'http://127.0.0.1:9/callback';

/** A client, and what its user lets it do. */
function client(choices = {}) {
  const lets = async url => (await browse(url, redirectUrl, choices)).searchParams;
  const { asks, redeems, ...others } = newClient(serverUrl, redirectUrl, lets, clientMetadataUrl);
  return { ...others, choices, gets: () => asks().then(redeems) };
}

const calls = async (token, at, method, params) => (await request(token, `${origin}${at}`, method, params)).status;

const note = { name: 'remember', arguments: { text: 'kept by a client with a token' } };

// Everything that the address offers, there and inside of it, and nowhere else.
const whole = client();
const first = await whole.gets();
if (clientMetadataUrl) assert.equal(whole.known.client.client_id, clientMetadataUrl);
assert.equal(first.scope.split(' ').filter(scope => scope.startsWith('mcp:')).join(' '), 'mcp:read mcp:write');
assert.equal(await calls(first.access_token, path), 200);
assert.equal(await calls(first.access_token, path, 'tools/call', note), 200);
assert.equal(await calls(`${first.access_token}x`, path), 401);
const wider = path.split('/').slice(0, -1).join('/');
if (wider) {
  assert.equal(await calls(first.access_token, wider), 401);
  assert.equal(await calls(first.access_token, `${wider}/another`), 401);
}
if (path.split('/').length < 4) assert.equal(await calls(first.access_token, `${path}/inside`), 200);

// A refresh token is good once; the next one is good still, and the last is not.
assert.equal(await whole.refreshes(), 'AUTHORIZED');
const second = whole.known.tokens;
assert.notEqual(second.refresh_token, first.refresh_token);
assert.equal(await calls(second.access_token, path), 200);
assert.equal(await whole.refreshes(), 'AUTHORIZED');
const refresh = { grant_type: 'refresh_token', client_id: whole.known.client.client_id };
const replayed = await fetch(`${origin}/oauth/token`, {
  method: 'POST',
  body: new URLSearchParams({ ...refresh, refresh_token: first.refresh_token, resource: serverUrl }),
});
assert.deepEqual([replayed.status, (await replayed.json()).error], [400, 'invalid_grant']);
// It was stolen, or the others were: nothing of this grant is good any more.
const third = whole.known.tokens;
const after = await fetch(`${origin}/oauth/token`, {
  method: 'POST',
  body: new URLSearchParams({ ...refresh, refresh_token: third.refresh_token, resource: serverUrl }),
});
assert.deepEqual([after.status, (await after.json()).error], [400, 'invalid_grant']);

// What the user leaves of it is all there is.
const careful = client({ access: 'read' });
const reads = await careful.gets();
assert.equal(await calls(reads.access_token, path), 200);
assert.equal(await calls(reads.access_token, path, 'tools/call', note), 403);

// The client that is told so asks its user again, and goes on with what it is given then.
delete careful.choices.access;
const transport = new StreamableHTTPClientTransport(new URL(serverUrl), { authProvider: careful.provider });
const connected = new Client({ name: 'oauth', version: '1.0.0' });
await connected.connect(transport);
await assert.rejects(connected.callTool(note), UnauthorizedError);
await transport.finishAuth(careful.known.answer);
assert.notEqual((await connected.callTool(note)).isError, true);
await connected.close();
console.log(JSON.stringify({ client: 'oauth', path }));
