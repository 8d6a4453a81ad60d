// A user's own page in a real Chromium: account.mjs ORIGIN KEY, a key of alice's. She sees who was there,
// makes a key and ends it, blocks what is running, and signs out; clients meanwhile are held to it. Owns
// what a person sees and presses there. Needs the tools of the test build.
import assert from 'node:assert/strict';
import { request } from '../authorized.mjs';
import { launch, look, person, run, signIn, step } from './chromium.mjs';

const [origin, key] = process.argv.slice(2);
assert.ok(origin && key, 'call it with ORIGIN KEY');
const CONTEXT = '/mcp/acme';
const LONG = '/mcp/acme/a-rather-long-project-name-that-goes-on-and-on-until-it-is-over';

const browser = await launch();
const { page, complaints } = await person(browser, origin);
const press = name => page.getByRole('button', { name, exact: true }).click();
const row = text => page.getByRole('row').filter({ hasText: text });
const status = async (token, path) => (await request(token, `${origin}${path}`)).status;

/** A session of plain HTTP: what is sent, and the stream that waits. */
async function session(path) {
  const headers = {
    authorization: `Bearer ${key}`,
    accept: 'application/json, text/event-stream',
    'content-type': 'application/json',
  };
  const send = (method, params, id) =>
    fetch(`${origin}${path}`, { method: 'POST', headers, body: JSON.stringify({ jsonrpc: '2.0', id, method, params }) });
  const clientInfo = { name: 'plain', version: '1.2.3' };
  const begun = await send('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo }, 1);
  assert.equal(begun.status, 200);
  headers['mcp-session-id'] = begun.headers.get('mcp-session-id');
  await send('notifications/initialized');
  return { send, listen: () => fetch(`${origin}${path}`, { headers }) };
}

async function empty() {
  await page.goto(`${origin}/account`);
  await signIn(page, 'alice');
  await page.getByRole('heading', { name: 'alice' }).waitFor();
  for (const text of ['None was here yet.', 'You have entered none yet.']) await page.getByText(text).waitFor();
}

async function shows() {
  const { send } = await session(CONTEXT);
  assert.equal((await send('tools/list', {}, 2)).status, 200);
  assert.equal(await status(key, LONG), 200);
  await page.reload();
  const client = await row('plain').innerText();
  for (const part of ['plain 1.2.3', 'MCP 2025-11-25']) assert.ok(client.includes(part), `${part} in: ${client}`);
  for (const path of [CONTEXT, LONG]) {
    await page.getByRole('button', { name: `Block ${path}`, exact: true }).waitFor();
  }
}

/** Fills in the form for a key. */
async function asksForKey(address) {
  await page.getByText('Make a key').first().click();
  await page.getByLabel('What it is for').fill('nightly job');
  await page.getByLabel('Address').fill(address);
  await page.getByLabel('Days').fill('7');
  await press('Make a key');
}

async function keys() {
  await asksForKey('/other');
  await page.getByRole('alert').filter({ hasText: "The key's address" }).waitFor();
  assert.equal(await page.getByLabel('What it is for').inputValue(), 'nightly job', 'what was filled in is there');
  await look(page, 'account-mistake');
  await page.getByLabel('Address').fill(CONTEXT);
  await press('Make a key');
  const shown = page.getByRole('status');
  await shown.getByText('it is not shown again').waitFor();
  const minted = await shown.locator('code').innerText();
  await look(page, 'account-key');
  assert.equal(await status(minted, CONTEXT), 200);
  assert.equal(await status(minted, '/mcp'), 401);
  await page.goto(`${origin}/account`);
  assert.ok(!(await page.content()).includes(minted), 'a key is shown once');
  const made = await row('nightly job').innerText();
  for (const part of [CONTEXT, 'read and write', 'good until']) assert.ok(made.includes(part), `${part} in: ${made}`);
  await press('Revoke nightly job');
  await row('nightly job').waitFor({ state: 'detached' });
  assert.equal(await status(minted, CONTEXT), 401);
}

/** What runs and what waits, in both eras; each is answered with a stream that has begun. */
async function running() {
  const call = { name: 'test_wait', arguments: {} };
  const { send, listen } = await session(CONTEXT);
  const streams = await Promise.all([
    send('tools/call', call, 7),
    request(key, `${origin}${CONTEXT}`, 'tools/call', call),
    listen(),
  ]);
  for (const { headers } of streams) assert.equal(headers.get('content-type'), 'text/event-stream');
  return streams;
}

async function blocks() {
  const streams = await running();
  await page.goto(`${origin}/account`);
  await press(`Block ${CONTEXT}`);
  await page.getByRole('button', { name: `Unblock ${CONTEXT}`, exact: true }).waitFor();
  const said = await Promise.all(streams.map(stream => stream.text()));
  for (const text of said.slice(0, 2)) assert.match(text, /this call was ended by its user/);
  assert.equal(await status(key, CONTEXT), 403);
  assert.equal(await status(key, LONG), 403, 'what is inside is blocked, too');
  assert.equal(await status(key, '/mcp/other'), 200);
  await look(page, 'account-blocked');
  await press(`Unblock ${CONTEXT}`);
  await page.getByRole('button', { name: `Block ${CONTEXT}`, exact: true }).waitFor();
  assert.equal(await status(key, CONTEXT), 200);
}

async function blocksEverything() {
  await press('Block everything');
  await page.getByText('Everything of yours is blocked').waitFor();
  assert.equal(await status(key, '/mcp/other'), 403);
  await press('Unblock user');
  await page.getByRole('button', { name: 'Block everything' }).waitFor();
  assert.equal(await status(key, '/mcp/other'), 200);
}

async function stranger() {
  const other = await person(browser, origin);
  await other.page.goto(`${origin}/account`);
  await signIn(other.page, 'bob');
  await other.page.getByRole('heading', { name: 'bob' }).waitFor();
  const text = await other.page.locator('main').innerText();
  assert.ok(!/plain|acme|nightly|alice/.test(text), text);
  assert.deepEqual(other.complaints, []);
}

async function signsOut() {
  await page.getByRole('link', { name: 'Sign out' }).click();
  await look(page, 'sign-out');
  await press('Sign out');
  await page.getByRole('heading', { name: 'You are signed out' }).waitFor();
  await look(page, 'signed-out');
  await page.goto(`${origin}/account`);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
}

await run('account', async () => {
  await step('nothing was here', empty);
  await step('who was here is shown', shows);
  await step('a key is made, used and revoked', keys);
  await step('what runs in a context ends with it', blocks);
  await step('everything is blocked', blocksEverything);
  await step('another user sees nothing of it', stranger);
  await step('signing out', signsOut);
  assert.deepEqual(complaints, []);
});
