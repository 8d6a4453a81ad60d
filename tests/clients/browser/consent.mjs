// A person lets clients in, in a real Chromium: consent.mjs ORIGIN. They sign in under a name of their
// own or at a provider, read what a client may do, leave less of it, or say no; with a mouse, with a
// keyboard alone, and without scripts. The client is the official one, and its token is held to what
// was left. Owns what a person must see on the way.
import assert from 'node:assert/strict';
import { CLIENT_NAME, client, request } from '../authorized.mjs';
import { elsewhere, launch, look, person, run, signIn, step, tabTo } from './chromium.mjs';

const [origin] = process.argv.slice(2);
assert.ok(origin, 'call it with ORIGIN');
const note = { name: 'remember', arguments: { text: 'kept by a client with a token' } };
const LET_IN = `Let ${CLIENT_NAME} in?`;

const browser = await launch();
const site = await elsewhere({
  '/callback': '<title>Client</title><h1>Back at the client</h1>',
  // Some clients have a page on the web that sends the browser on, to whoever asked.
  '/relay': url => ({ status: 302, headers: { location: `${site.other}/callback${url.search}` } }),
});

/** With a mouse. */
const mouse = page => ({
  fill: (label, text) => page.getByLabel(label, { exact: true }).fill(text),
  choose: label => page.getByLabel(label).check(),
  press: name => page.getByRole('button', { name, exact: true }).click(),
  follow: name => page.getByRole('link', { name }).click(),
});

/** With Tab, Enter, Space and letters alone. */
function keyboard(page) {
  const to = async target => tabTo(page, target);
  return {
    fill: async (label, text) => {
      await to(page.getByLabel(label, { exact: true }));
      await page.keyboard.type(text);
    },
    choose: async label => {
      // Tab stops at the one that is chosen of several.
      await to(page.locator('input[type=radio]:checked'));
      await page.keyboard.press('ArrowDown');
      assert.ok(await page.getByLabel(label).isChecked());
    },
    press: async name => {
      await to(page.getByRole('button', { name, exact: true }));
      await page.keyboard.press('Enter');
    },
    follow: async name => {
      await to(page.getByRole('link', { name }));
      await page.keyboard.press('Enter');
    },
  };
}

/** Signs in under a name of one's own. */
const named = name => async (page, hands) => {
  await hands.fill('Your name on this machine', name);
  await hands.press('Sign in');
};

/** Signs in at the provider, whose page is its own. */
const provided = name => async (page, hands) => {
  await hands.follow('Sign in with Example');
  await page.getByRole('heading', { name: 'Sign in to signalbox' }).waitFor();
  await hands.press(name);
};

/** A person with a client at a path: what `answer` does on the page that asks is what comes of it. */
async function asked(path, { signIn, hands = mouse, answer, redirect = '/callback', options }) {
  const { context, page, complaints } = await person(browser, origin, options);
  const redirectUrl = `${site.origin}${redirect}`;
  const wants = client(`${origin}${path}`, redirectUrl, async url => {
    await page.goto(url.href);
    await signIn(page, hands(page));
    await page.getByRole('heading', { name: LET_IN }).waitFor();
    const back = page.waitForURL(url => url.pathname === '/callback');
    await answer(page, hands(page));
    await back;
    return new URL(page.url()).searchParams;
  });
  const answered = await wants.asks();
  assert.deepEqual(complaints, []);
  await context.close();
  return { answered, gets: wants.redeems };
}

async function status(token, path, method, params) {
  return (await request(token, `${origin}${path}`, method, params)).status;
}

/** The scopes of a token that say what it allows. */
const allows = ({ scope }) => scope.split(' ').filter(name => name.startsWith('mcp:')).join(' ');

/** Who asks, where access goes to, for whom and for what: all of it is on the page. */
async function tells(page, user, path) {
  const text = await page.locator('main').innerText();
  const { hostname } = new URL(site.origin);
  for (const part of [
    LET_IN,
    'nobody has verified its name',
    `Access is sent to ${hostname}.`,
    'a program on your own computer',
    `It would act as ${user} at ${path}.`,
    'Read and write:',
    'Read only:',
  ]) {
    assert.ok(text.includes(part), `${part} in: ${text}`);
  }
}

async function narrows() {
  const { gets } = await asked('/mcp', {
    signIn: async (page, hands) => {
      await look(page, 'sign-in');
      await named('alice')(page, hands);
    },
    answer: async (page, hands) => {
      await tells(page, 'alice', '/mcp');
      await look(page, 'consent');
      await hands.fill('org', 'Acme');
      await hands.fill('project', 'web');
      await hands.choose('Read only');
      await hands.press('Allow');
    },
  });
  const tokens = await gets();
  const { access_token: token } = tokens;
  assert.equal(allows(tokens), 'mcp:read');
  assert.equal(await status(token, '/mcp/acme/web'), 200);
  assert.equal(await status(token, '/mcp/acme/web', 'tools/call', note), 403);
  for (const path of ['/mcp/other', '/mcp/acme/other']) assert.equal(await status(token, path), 401, path);
  // At the address that the client asked for, and on the way from there, it is where its user let it in:
  // no argument widens that.
  for (const path of ['/mcp', '/mcp/acme']) {
    const { result } = await (await request(token, `${origin}${path}`)).json();
    const parameters = result.tools.flatMap(tool => Object.keys(tool.inputSchema.properties));
    assert.ok(parameters.length > 0);
    assert.ok(!parameters.includes('organizationSlug') && !parameters.includes('projectSlug'), `${path}: ${parameters}`);
    assert.ok(!result.tools.some(tool => tool.name === 'remember'));
  }
}

async function byKeyboard() {
  const { gets } = await asked('/mcp', {
    signIn: named('alice'),
    hands: keyboard,
    answer: async (page, hands) => {
      await hands.fill('org', 'acme');
      await hands.press('Allow');
    },
  });
  const tokens = await gets();
  const { access_token: token } = tokens;
  assert.equal(allows(tokens), 'mcp:read mcp:write');
  assert.equal(await status(token, '/mcp/acme', 'tools/call', note), 200);
  assert.equal(await status(token, '/mcp/acme/web', 'tools/call', note), 200);
  assert.equal(await status(token, '/mcp/other'), 401);
  const reads = await asked('/mcp/acme', {
    signIn: named('alice'),
    hands: keyboard,
    answer: async (page, hands) => {
      await hands.choose('Read only');
      await hands.press('Allow');
    },
  });
  assert.equal(allows(await reads.gets()), 'mcp:read');
}

async function withoutScripts() {
  const { gets } = await asked('/mcp/acme/web', {
    signIn: provided('alice'),
    options: { javaScriptEnabled: false },
    answer: async (page, hands) => {
      await tells(page, 'Alice Example', '/mcp/acme/web');
      assert.equal(await page.locator('input[type=text]').count(), 0, 'there is nothing to narrow');
      await hands.press('Allow');
    },
  });
  const { access_token: token } = await gets();
  assert.equal(await status(token, '/mcp/acme/web', 'tools/call', note), 200);
  assert.equal(await status(token, '/mcp/acme'), 401);
}

async function denies() {
  const { answered } = await asked('/mcp', { signIn: named('alice'), answer: (_, hands) => hands.press('Deny') });
  assert.equal(answered.get('error'), 'access_denied');
  assert.equal(answered.get('code'), null);
}

async function corrects() {
  const { gets } = await asked('/mcp', {
    signIn: named('alice'),
    answer: async (page, hands) => {
      await hands.fill('project', 'web');
      await hands.press('Allow');
      await page.getByText('Name the org that this project is in.').waitFor();
      await look(page, 'consent-mistake');
      await page.goBack();
      await hands.fill('org', 'acme');
      await hands.fill('project', 'web');
      await hands.press('Allow');
    },
  });
  const { access_token: token } = await gets();
  assert.equal(await status(token, '/mcp/acme/web', 'tools/call', note), 200);
  assert.equal(await status(token, '/mcp/acme/other'), 401);
}

async function relays() {
  const { answered, gets } = await asked('/mcp', {
    signIn: named('alice'),
    redirect: '/relay',
    answer: (_, hands) => hands.press('Allow'),
  });
  assert.ok(answered.get('code'));
  const { access_token: token } = await gets();
  assert.equal(await status(token, '/mcp'), 200);
}

async function ends() {
  const { gets } = await asked('/mcp/acme', { signIn: named('carol'), answer: (_, hands) => hands.press('Allow') });
  const { access_token: token } = await gets();
  assert.equal(await status(token, '/mcp/acme'), 200);
  const { page, complaints } = await person(browser, origin);
  await page.goto(`${origin}/account`);
  await signIn(page, 'carol');
  await page.getByRole('button', { name: 'End access' }).click();
  await page.getByRole('button', { name: 'End access' }).waitFor({ state: 'detached' });
  assert.equal(await status(token, '/mcp/acme'), 401);
  assert.deepEqual(complaints, []);
}

await run('consent', async () => {
  await step('a client is let into a part, to read', narrows);
  await step('with a keyboard alone', byKeyboard);
  await step('without scripts, by a provider', withoutScripts);
  await step('a client is not let in', denies);
  await step('what is filled in wrong is corrected', corrects);
  await step('a client whose page goes on to another site', relays);
  await step('what a client was given is ended', ends);
});
