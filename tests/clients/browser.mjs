// The browser of somebody who lets a client in: browser.mjs START UNTIL [CHOICE=VALUE ...]. Owns
// cookies, redirects and forms; whoever lets the user in asks with the field `login`, or with the
// field `name`. It knows no client and no protocol: from START on it does what pages ask for, until
// it is sent to an address that begins with UNTIL, which it prints and does not visit.
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';

const PAGES_MAX = 30;
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
export async function browse(start, until, choices = {}) {
  let url = new URL(start);
  let init = {};
  for (let pages = 0; pages < PAGES_MAX; pages += 1) {
    const response = await ask(url, init);
    // A page may go on by itself, too.
    const location = response.headers.get('location') ?? response.headers.get('refresh')?.replace(/^0; url=/, '');
    if (location) {
      url = new URL(location, url);
      init = {};
      if (url.href.startsWith(until)) return url;
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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [start, until, ...choices] = process.argv.slice(2);
  assert.ok(start && until, 'call it with START UNTIL [CHOICE=VALUE ...]');
  console.log((await browse(start, until, Object.fromEntries(choices.map(choice => choice.split('='))))).href);
}
