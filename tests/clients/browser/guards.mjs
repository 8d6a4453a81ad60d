// What keeps other sites out of our pages, in a real Chromium: guards.mjs ORIGIN. A page of ours is in
// nobody's frame, runs no script, takes no form of another site, and is not there any more once its
// user has signed out. Owns what other sites try; each try is seen to work where nothing is in its way.
import assert from 'node:assert/strict';
import { elsewhere, launch, person, run, signIn, step } from './chromium.mjs';

const [origin] = process.argv.slice(2);
assert.ok(origin, 'call it with ORIGIN');
const browser = await launch();

/** Somebody who is signed in, at their own page. */
async function alice(on = browser) {
  const { page, context, complaints } = await person(on, origin);
  await page.goto(`${origin}/account`);
  await signIn(page, 'alice');
  await page.getByRole('heading', { name: 'alice' }).waitFor();
  return { page, context, complaints };
}

const authorize = redirect => {
  const address = new URL('/authorize', origin);
  address.search = new URLSearchParams({ response_type: 'code', client_id: 'none', redirect_uri: redirect });
  return address.href;
};

async function frames() {
  const ours = [`${origin}/account`, `${origin}/login`, `${origin}/logout`, authorize('https://client.test/')];
  const frame = url => `<!doctype html><title>Frame</title><iframe src="${url.replaceAll('&', '&amp;')}"></iframe>`;
  const site = await elsewhere({
    '/mine': '<p>a page that lets anybody frame it</p>',
    '/0': frame('/mine'),
    ...Object.fromEntries(ours.map((url, n) => [`/${n + 1}`, frame(url)])),
  });
  const { page } = await alice();
  const framed = async number => {
    await page.goto(`${site.origin}/${number}`);
    const [, inside] = page.frames();
    return { url: inside.url(), text: await inside.locator('body').innerText() };
  };
  assert.match((await framed(0)).text, /lets anybody frame it/);
  for (let number = 1; number <= ours.length; number += 1) {
    const { url, text } = await framed(number);
    assert.ok(url.startsWith('chrome-error:') && !/Sign|alice|Start again/.test(text), `${ours[number - 1]}: ${url} ${text}`);
  }
}

/** Puts scripts into a page as somebody would who found a way to: those that ran, and why others did not. */
function inject() {
  const refused = [];
  document.addEventListener('securitypolicyviolation', event => refused.push(event.effectiveDirective));
  globalThis.ran = [];
  const script = document.createElement('script');
  script.textContent = 'ran.push("script")';
  const button = document.createElement('button');
  button.setAttribute('onclick', 'ran.push("handler")');
  document.body.append(script, button);
  button.click();
  return new Promise(resolve => {
    // What is refused is told in a turn of its own.
    setTimeout(() => resolve({ ran: globalThis.ran, refused: refused.sort() }));
  });
}

async function scripts() {
  const site = await elsewhere({ '/': '<!doctype html><title>Site</title>' });
  const { page } = await alice();
  const { ran, refused } = await page.evaluate(inject);
  assert.deepEqual({ ran, refused }, { ran: [], refused: ['script-src-attr', 'script-src-elem'] });
  await page.goto(site.origin);
  assert.deepEqual((await page.evaluate(inject)).ran, ['script', 'handler']);
}

async function forms() {
  const { page, context } = await alice();
  const token = await page.locator('input[name=token]').first().inputValue();
  const form = (action, fields) => `<!doctype html><title>Form</title><form method="post" action="${action}">
    ${Object.entries(fields).map(([name, value]) => `<input name="${name}" value="${value}">`).join('')}
    <button>Send</button></form>`;
  const block = { token, action: 'block', kind: 'user', value: '' };
  // Even with the text that only alice's own page has.
  const site = await elsewhere({
    '/block': form(`${origin}/account`, block),
    '/out': form(`${origin}/logout`, { token }),
    '/let-in': form(`${origin}/authorize`, { token, handle: 'x', scope: '/mcp', access: 'write', decision: 'allow' }),
  });
  // One of these is of the same site for a browser, and cookies go with its forms.
  for (const from of [site.origin, site.other]) {
    for (const path of ['/block', '/out', '/let-in']) {
      await page.goto(`${from}${path}`);
      const answer = page.waitForResponse(response => response.request().method() === 'POST');
      await page.getByRole('button', { name: 'Send' }).click();
      const status = (await answer).status();
      // A stranger is sent to sign in; one who is known is told.
      const expected = from === site.other && path === '/block' ? [303, 403] : [403];
      assert.ok(expected.includes(status), `${from}${path}: ${status}`);
    }
  }
  await page.goto(`${origin}/account`);
  await page.getByRole('heading', { name: 'alice' }).waitFor();
  assert.equal(await page.getByText('Everything of yours is blocked').count(), 0);
  // The same form works where it belongs.
  const answer = await context.request.post(`${origin}/account`, { form: block, headers: { origin } });
  assert.match(await answer.text(), /Everything of yours is blocked/);
  await page.goto(`${origin}/account`);
  await page.getByRole('button', { name: 'Unblock' }).click();
  await page.getByRole('button', { name: 'Block everything' }).waitFor();
}

/** The browser keeps pages to go back to, as people's do, and shows what it kept. */
async function back() {
  const keeper = await launch({ keepsPages: true });
  const { page, context, complaints } = await alice(keeper);
  let shown;
  await context.exposeBinding('shown', (_, ...what) => shown?.(what));
  await page.addInitScript(() => addEventListener('pageshow', ({ persisted }) => shown(persisted, document.body.innerText)));
  const goBack = async () => {
    const next = new Promise(resolve => {
      shown = resolve;
    });
    await page.evaluate(() => history.back());
    return next;
  };
  await page.goto(`${origin}/account`);
  await page.getByRole('link', { name: 'Sign out' }).click();
  await page.getByText('You are signed in as alice.').waitFor();
  // It does keep them: who is still signed in is shown their page as it was.
  const [isKept, kept] = await goBack();
  assert.ok(isKept && /Personal keys/.test(kept), `${isKept}: ${kept}`);
  await page.getByRole('link', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'You are signed out' }).waitFor();
  for (let steps = 0; steps < 2; steps += 1) {
    const [, text] = await goBack();
    assert.ok(!/alice|Personal keys/.test(text), text);
  }
  await page.goto(`${origin}/account`);
  await page.waitForURL(`${origin}/login?then=%2Faccount`);
  assert.deepEqual(complaints, []);
  await keeper.close();
}

await run('guards', async () => {
  await step('a page is in no frame', frames);
  await step('no script runs in a page', scripts);
  await step('a form of another site does nothing', forms);
  await step('who has signed out is shown nothing', back);
});
