// A conversation with mcpdo, the second command line of the MCP Inspector, which keeps a connection
// between its runs: mcpdo.mjs URL KEY handshake|modern. Owns the steps as that program can do them:
// it answers forms and roots, tails logs and follows a resource. It has no sampling, and shows
// neither progress nor changes of lists (2.12.0). Stopped, it leaves its call to its daemon, which
// cancels it a minute later; to disconnect ends the stream, and so the call in the modern era only.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const TALK_MS = 120_000;
const [url, key, era] = process.argv.slice(2);
assert.ok(url && key && ['handshake', 'modern'].includes(era), 'call it with URL KEY handshake|modern');
const mcpdo = fileURLToPath(new URL('../../node_modules/.bin/mcpdo', import.meta.url));
// It keeps files and the socket of its daemon in the home folder.
const home = await mkdtemp(join(tmpdir(), 'mcpdo-'));
const authorization = `Bearer ${key}`;
let current = 'start';

function start(...args) {
  const env = { PATH: process.env.PATH, HOME: home, MCP_INSPECTOR_SECRET_STORE: 'memory' };
  const run = spawn(process.execPath, [mcpdo, '--format', 'json', ...args], { env });
  run.text = '';
  run.errors = '';
  run.stdout.setEncoding('utf8').on('data', text => {
    run.text += text;
    run.emit('said');
  });
  run.stderr.setEncoding('utf8').on('data', text => { run.errors += text; });
  return run;
}

/** Runs a command to its end: what it prints, and what it complains of. */
async function command(...args) {
  const run = start(...args);
  await once(run, 'close');
  return { code: run.exitCode, said: run.text && JSON.parse(run.text), errors: run.errors };
}

async function get(...args) {
  const { code, said, errors } = await command('--connection', url, ...args);
  assert.equal(code, 0, `${args}: ${errors}`);
  return said;
}

const text = result => result.content[0].text;

/** Calls a tool that asks, and gives each answer in its turn; what the last of them brings. */
async function asked(tool, args, ...answers) {
  let said = await get('tools/call', tool, ...args);
  for (const [message, ...answer] of answers) {
    const { elicitationId, ...question } = said.elicitationPending ?? assert.fail(JSON.stringify(said));
    assert.ok(question.message.includes(message), question.message);
    said = await get('elicitation/respond', elicitationId, ...answer);
  }
  return text(said);
}

/** A command that goes on, once it has said this; a function waits for more of it. */
async function going(args, word) {
  const run = start('--connection', url, ...args);
  const heard = async word => {
    while (!run.text.includes(word)) {
      assert.equal(run.exitCode, null, run.errors);
      await Promise.race([once(run, 'said'), once(run, 'close')]);
    }
  };
  if (word) await heard(word);
  return { run, heard };
}

async function stop({ run }) {
  run.kill('SIGINT');
  if (run.exitCode === null && run.signalCode === null) await once(run, 'close');
}

async function step(name, work) {
  current = name;
  await work();
}

async function talk(direct) {
  await step('connect', async () => {
    const protocol = era === 'modern' ? 'modern' : 'legacy';
    const how = ['--transport', 'http', '--header', `Authorization: ${authorization}`, '--era', protocol];
    const { said, errors } = await command('connect', url, ...how);
    assert.equal(said.protocolEra, protocol, errors);
  });
  await step('a form is accepted, declined and cancelled', async () => {
    const who = ['message:=who?'];
    const form = ['username:=alice', 'email:=alice@example.com'];
    assert.match(await asked('test_elicitation', who, ['who?', ...form]), /accept.*alice/);
    assert.match(await asked('test_elicitation', who, ['who?', '--decline']), /action: decline, content: {}/);
    assert.match(await asked('test_elicitation', who, ['who?', '--cancel']), /action: cancel, content: {}/);
  });
  await step('one question after the other', async () => {
    const rounds = [['Step 1', 'name:=Alice'], ['Step 2', 'color:=teal']];
    assert.equal(await asked('test_input_required_result_multi_round', [], ...rounds), 'Alice likes teal');
  });
  await step('roots', async () => {
    const roots = [{ uri: 'file:///home/alice/project' }];
    await get('roots/set', '--roots-json', JSON.stringify(roots));
    assert.match(text(await get('tools/call', 'test_input_required_result_list_roots')), /project/);
  });
  await step('no sampling', async () => {
    const { code, said, errors } = await command('--connection', url, 'tools/call', 'test_sampling', 'prompt:=x');
    assert.notEqual(code, 0);
    assert.match(`${JSON.stringify(said)}${errors}`, /sampling\/createMessage: it lacks the capability/);
  });
  await step('calls with progress and a paused stream', async () => {
    assert.match(text(await get('tools/call', 'test_tool_with_progress')), /success/);
    await get('tools/call', 'test_reconnection');
  });
  await step('logs', async () => {
    const tail = await going(['logging/tail']);
    // Whether it listens yet, it does not say.
    while (!tail.run.text.includes('notifications/message')) {
      await get('tools/call', 'test_tool_with_logging');
    }
    await stop(tail);
  });
  await step('a resource changes', async () => {
    const { id, uri } = (await get('tools/call', 'remember', 'text:=first')).structuredContent;
    const following = await going(['resources/subscribe', uri], '"subscribed"');
    await get('tools/call', 'remember', `id:=${id}`, 'text:=second');
    await following.heard('"resources/updated"');
    await stop(following);
    await get('tools/call', 'forget', `id:=${id}`);
  });
  if (era === 'handshake') return;
  await step('cancellation', async () => {
    // It does one thing at a time, so another client counts.
    const waiting = async count => {
      for (;;) {
        const result = await direct.callTool({ name: 'test_waiting', arguments: {} });
        if (text(result) === count) return;
      }
    };
    const call = await going(['tools/call', 'test_wait']);
    await waiting('1');
    await stop(call);
    await get('disconnect', url);
    await waiting('0');
  });
}

const direct = new Client({ name: 'direct', version: '1.0.0' });
function fail(error) {
  console.error(`mcpdo (${era}) at ${url}, step "${current}":`, error);
  process.exitCode = 1;
}
const late = setTimeout(() => {
  fail(new Error(`not done within ${TALK_MS} ms`));
  start('daemon', 'stop').once('close', () => process.exit());
}, TALK_MS);
try {
  const requestInit = { headers: { authorization } };
  await direct.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
  await talk(direct);
  console.log(JSON.stringify({ client: 'mcpdo', era }));
} catch (error) {
  fail(error);
} finally {
  clearTimeout(late);
  await command('daemon', 'stop');
  await direct.close();
  await rm(home, { recursive: true, force: true });
}
