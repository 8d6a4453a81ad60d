// A real Chromium, and what every test in it holds a page of ours to. Owns the browser, the server of
// pages that are not ours, screenshots, and the time that a script may take. It must not know what any
// page is for.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const SCRIPT_MS = 120_000;
const STEP_MS = 20_000;
const NARROW = { width: 360, height: 740 };
const WIDE = { width: 1000, height: 800 };

/** Addresses of our pages, which load nothing else. */
const PAGES = /^\/(account|authorize|connect|login|logout)(\/|$)/;

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Where screenshots go: a folder that is kept if one is named, else one that is not. */
const kept = process.env.SCREENSHOTS;
const shots = kept || mkdtempSync(join(tmpdir(), 'signalbox-screenshots-'));
if (kept) mkdirSync(kept, { recursive: true });
else process.on('exit', () => rmSync(shots, { recursive: true, force: true }));

/** It asks nobody for anything but what a page does. */
const QUIET = [
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-quic',
  '--no-first-run',
];

/** A browser, which ends with this process. `keepsPages`: it holds on to pages that are gone back to. */
export async function launch({ keepsPages = false } = {}) {
  const executablePath = process.env.SIGNALBOX_CHROMIUM;
  assert.ok(executablePath, 'SIGNALBOX_CHROMIUM is not set: run `make test`');
  return chromium.launch({
    executablePath,
    chromiumSandbox: process.getuid?.() !== 0,
    args: QUIET,
    ignoreDefaultArgs: keepsPages ? ['--disable-back-forward-cache'] : [],
  });
}

/**
 * A person at a browser of their own: `page`, and `complaints`, what the browser says of pages of
 * `origin`: errors, warnings, and what a policy kept from happening.
 */
export async function person(browser, origin, options = {}) {
  const context = await browser.newContext({ viewport: WIDE, ...options });
  context.setDefaultTimeout(STEP_MS);
  const complaints = [];
  context.on('console', said => {
    const { url } = said.location();
    // A page that says what went wrong has a status that says so, too.
    const isStatus = said.text().startsWith('Failed to load resource') && PAGES.test(url.slice(origin.length).split('?')[0]);
    if (url.startsWith(origin) && said.type() !== 'log' && !isStatus) complaints.push(`${said.type()}: ${said.text()}`);
  });
  context.on('weberror', error => complaints.push(error.error().message));
  return { context, page: await context.newPage(), complaints };
}

/** Signs in under a name of one's own, where that is asked for. */
export async function signIn(page, name) {
  await page.getByLabel('Your name on this machine').fill(name);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

/** What one colour scheme makes of a page: text of another colour, and nothing that keeps anybody out. */
async function isReadable(page, name, scheme) {
  await page.emulateMedia({ colorScheme: scheme });
  await page.screenshot({ path: join(shots, `${name}-${scheme}.png`), fullPage: true });
  const found = await page.evaluate(() => globalThis.axe.run());
  const violations = found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(node => node.html).join(', ')}`);
  assert.deepEqual(violations, [], `${name}, ${scheme}`);
  return page.evaluate(() => getComputedStyle(document.body).color);
}

/**
 * Looks at a page of ours as people do: in both colour schemes, and on a telephone, where nothing is
 * beside the screen. Every input has a label, and whatever else axe knows holds.
 */
export async function look(page, name) {
  await page.evaluate(axe);
  const light = await isReadable(page, name, 'light');
  assert.notEqual(await isReadable(page, name, 'dark'), light, `${name} is the same in the dark`);
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(NARROW);
  await page.screenshot({ path: join(shots, `${name}-narrow.png`), fullPage: true });
  const [whole, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  assert.ok(whole <= seen, `${name} is ${whole} wide on a screen of ${seen}`);
  await page.setViewportSize(WIDE);
}

/** Presses Tab until what is focused says so; a page has an end. */
export async function tabTo(page, target) {
  for (let presses = 0; presses < 60; presses += 1) {
    await page.keyboard.press('Tab');
    if (await target.evaluate(element => element === document.activeElement)) return;
  }
  assert.fail(`Tab does not reach ${target}`);
}

/**
 * A site that is not ours: by path the HTML of a page, or what makes an answer of an address. A path
 * that it does not know is an empty page. `origin` and `other` are two origins of it.
 */
export async function elsewhere(pages = {}) {
  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://site');
    const page = pages[url.pathname] ?? '';
    const answer = typeof page === 'function' ? page(url) : { body: page };
    const { status = 200, headers = {}, body = '' } = answer;
    response.writeHead(status, { 'content-type': 'text/html; charset=utf-8', ...headers });
    response.end(body);
  });
  server.listen(0);
  await once(server, 'listening');
  const { port } = server.address();
  return { origin: `http://127.0.0.1:${port}`, other: `http://localhost:${port}` };
}

/** What is said of a script that fails: the step that it was in. */
let current = 'start';
export async function step(name, work) {
  current = name;
  return work();
}

/** Does a script's work, within its time, and ends this process. */
export async function run(name, work) {
  const fail = error => {
    console.error(`browser ${name}, step "${current}":`, error);
    process.exit(1);
  };
  setTimeout(() => fail(new Error(`not done within ${SCRIPT_MS} ms`)), SCRIPT_MS);
  await work().catch(fail);
  console.log(JSON.stringify({ client: 'browser', name }));
  process.exit(0);
}
