// A user connects their account at another server, in a real Chromium: connect.mjs ORIGIN KEY OTHER. The
// other server is a Signalbox, too, with sign-in and consent of its own, behind the toolset `far`. It is
// connected from the account page, and when a client of either era asks for it in the middle of a call.
// Owns what a person sees and presses on the way.
import assert from 'node:assert/strict';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { launch, look, person, run, signIn, step } from './chromium.mjs';

const [origin, key, other] = process.argv.slice(2);
assert.ok(origin && key && other, 'call it with ORIGIN KEY OTHER');
const timeout = 60_000;
const browser = await launch();
const { page, complaints } = await person(browser, origin);
const press = name => page.getByRole('button', { name, exact: true }).click();

/** At the other server: signs in there if nobody is, and lets this one in. */
async function letsIn() {
  await page.waitForURL(url => url.origin === other);
  if (new URL(page.url()).pathname === '/login') await signIn(page, 'alice-elsewhere');
  await page.getByText('It would act as alice-elsewhere').waitFor();
  await press('Allow');
  await page.getByRole('heading', { name: 'Connected' }).waitFor();
  assert.equal(new URL(page.url()).origin, origin);
}

/** A client that opens pages for its user, who does there what is said. */
async function connected(mode, does) {
  const client = new Client(
    { name: `connecting ${mode.pin ?? mode}`, version: '1.0.0' },
    { versionNegotiation: { mode }, capabilities: { elicitation: { url: {} } } },
  );
  const opened = [];
  let visit;
  client.setRequestHandler('elicitation/create', ({ params }) => {
    assert.equal(params.mode, 'url');
    opened.push(params.url);
    visit = does(params.url);
    // The answer only says that the page is open: the user takes their time.
    return { action: 'accept' };
  });
  const requestInit = { headers: { authorization: `Bearer ${key}` } };
  await client.connect(new StreamableHTTPClientTransport(new URL(`${origin}/mcp`), { requestInit }), { timeout });
  const calls = async text => {
    const result = await client.callTool({ name: 'far_remember', arguments: { text } }, { timeout });
    await visit;
    assert.notEqual(result.isError, true, JSON.stringify(result));
    return opened.splice(0);
  };
  return { calls, close: () => client.close() };
}

async function fromAccount() {
  await page.goto(`${origin}/account`);
  await signIn(page, 'alice');
  await page.getByText('not connected').waitFor();
  await press('Connect mine');
  await letsIn();
  await look(page, 'connected');
  await page.getByRole('link', { name: 'Your account' }).click();
  await page.getByRole('row').filter({ hasText: 'mine' }).getByText('connected').waitFor();
  await look(page, 'account-connected');
  const { calls, close } = await connected({ pin: '2026-07-28' }, () => assert.fail('it is connected already'));
  assert.deepEqual(await calls('by the page'), []);
  await close();
}

async function disconnects() {
  await page.goto(`${origin}/account`);
  await press('Disconnect mine');
  await page.getByText('not connected').waitFor();
}

async function inACall(mode) {
  const visits = async url => {
    await page.goto(url);
    await page.getByRole('heading', { name: 'Connect mine' }).waitFor();
    await look(page, 'connect');
    await press('Connect');
    await letsIn();
  };
  const { calls, close } = await connected(mode, visits);
  assert.deepEqual(await calls('in a call'), [`${origin}/connect/mine`]);
  assert.deepEqual(await calls('and again'), [], 'it is connected once');
  await close();
}

async function declines() {
  await page.goto(`${origin}/connect/mine`);
  await press('Connect');
  await page.waitForURL(url => url.origin === other);
  await press('Deny');
  await page.getByRole('heading', { name: 'Not connected' }).waitFor();
  await look(page, 'not-connected');
  await page.getByRole('link', { name: 'Your account' }).click();
  await page.getByText('not connected').waitFor();
}

await run('connect', async () => {
  await step('from the account page', fromAccount);
  await step('in a call, 2026-07-28', () => disconnects().then(() => inACall({ pin: '2026-07-28' })));
  await step('in a call of a session', () => disconnects().then(() => inACall('legacy')));
  await step('the user does not want to', () => disconnects().then(declines));
  assert.deepEqual(complaints, []);
});
