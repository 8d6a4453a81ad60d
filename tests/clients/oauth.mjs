// Version 2 of the official TypeScript client gets in by OAuth at one address, and is held to what it
// was given: oauth.mjs ORIGIN PATH. The browser of its user keeps cookies and follows redirects;
// whoever lets the user in asks on a form with the field `login`, or with the field `name`.
import assert from 'node:assert/strict';
import { client as newClient, request } from './authorized.mjs';

const [origin, path] = process.argv.slice(2);
assert.ok(origin && path, 'call it with ORIGIN PATH');
const serverUrl = `${origin}${path}`;
const redirectUrl = 'http://127.0.0.1:9/callback';

const jars = new Map();
async function ask(url, init = {}) {
  const jar = jars.get(url.origin) ?? new Map();
  jars.set(url.origin, jar);
  const headers = new Headers(init.headers);
  headers.set('cookie', [...jar].map(pair => pair.join('=')).join('; '));
  const response = await fetch(url, { ...init, headers, redirect: 'manual' });
  for (const cookie of response.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie);
    if (value) jar.set(name, value);
    else jar.delete(name);
  }
  return response;
}

const plain = text => text.replaceAll('&amp;', '&').replaceAll('&quot;', '"');

/** The fields of a form as they are shown, with what the user chooses. */
function filled(html, chosen) {
  const form = new URLSearchParams();
  for (const [, input] of html.matchAll(/<input([^>]*)>/g)) {
    const name = /name="([^"]*)"/.exec(input)?.[1];
    const isChoice = /type="(radio|checkbox)"/.test(input);
    if (name && (!isChoice || /\schecked/.test(input))) form.set(name, plain(/value="([^"]*)"/.exec(input)?.[1] ?? ''));
  }
  for (const [name, value] of Object.entries(chosen)) form.set(name, value);
  return form;
}

/** Goes on from an address until the client is sent to, and says with what. */
async function browse(start, choices) {
  let url = new URL(start);
  let init = {};
  for (let steps = 0; steps < 30; steps += 1) {
    const response = await ask(url, init);
    // A page may go on by itself, too.
    const location = response.headers.get('location') ?? response.headers.get('refresh')?.replace(/^0; url=/, '');
    if (location) {
      url = new URL(location, url);
      init = {};
      if (url.href.startsWith(redirectUrl)) return url.searchParams;
      continue;
    }
    const html = await response.text();
    assert.equal(response.status, 200, `${url}: ${html}`);
    const fields = ['decision', 'login', 'name'];
    const field = fields.find(name => html.includes(`name="${name}"`));
    assert.ok(field, html);
    const action = plain(/<form[^>]*action="([^"]*)"/.exec(html)?.[1] ?? url.pathname);
    const body = filled(html, field === 'decision' ? { decision: 'allow', ...choices } : { [field]: 'alice' });
    init = { method: 'POST', headers: { origin: url.origin }, body };
    url = new URL(action, url);
  }
  assert.fail('there is no end of redirects');
}

/** A client, and what its user lets it do. */
function client(choices) {
  const { asks, redeems, ...others } = newClient(serverUrl, redirectUrl, url => browse(url, choices));
  return { ...others, gets: () => asks().then(redeems) };
}
const calls = async (token, at, method, params) => (await request(token, `${origin}${at}`, method, params)).status;

const note = { name: 'remember', arguments: { text: 'kept by a client with a token' } };

// Everything that the address offers, there and inside of it, and nowhere else.
const whole = client();
const first = await whole.gets();
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
const reads = await client({ access: 'read' }).gets();
assert.equal(await calls(reads.access_token, path), 200);
assert.equal(await calls(reads.access_token, path, 'tools/call', note), 403);
console.log(JSON.stringify({ client: 'oauth', path }));
