// Part of the job with the command line of the MCP Inspector, in the era it is told:
// inspector.mjs URL KEY handshake|modern. Owns the steps as that program can do them: one process
// and so one connection per request, no completion, no notifications, no codes of errors.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const REQUEST_MS = 15_000;
const JOB_MS = 180_000;
const REVISIONS = { handshake: '2025-11-25', modern: '2026-07-28' };
const TOOLS = ['remember', 'recall', 'list_memories', 'forget'];
const PARAMETERS = ['organizationSlug', 'projectSlug'];

const [url, key, era] = process.argv.slice(2);
assert.ok(url && key && era in REVISIONS, 'call it with URL KEY handshake|modern');
const inspector = fileURLToPath(new URL('../../node_modules/.bin/mcp-inspector', import.meta.url));
// It keeps files in the home folder.
const home = await mkdtemp(join(tmpdir(), 'inspector-'));
let steps = 0;
let current = 'start';

/** Runs one request: `{ code, result }`, or `{ code, error }` with what it says of a failure. */
function request(url, method, ...options) {
  const connection = ['--transport', 'http', '--server-url', url];
  const args = [
    ...[inspector, '--cli', ...connection, '--header', `Authorization: Bearer ${key}`],
    ...['--protocol-era', era === 'modern' ? 'modern' : 'legacy', '--stored-auth-only'],
    ...['--format', 'json', '--quiet', '--method', method, ...options],
  ];
  const env = { PATH: process.env.PATH, HOME: home };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { env, timeout: REQUEST_MS }, (error, out, err) => {
      if (error && typeof error.code !== 'number') return reject(error);
      const read = text => {
        try {
          return JSON.parse(text);
        } catch {
          return reject(new Error(`${method}: ${out || err || 'nothing'}`));
        }
      };
      const said = error ? { ...(out && read(out)), ...(err && read(err)) } : read(out);
      resolve({ code: error?.code ?? 0, ...said });
    });
  });
}

async function step(name, work) {
  current = name;
  const result = await work();
  steps += 1;
  return result;
}

async function get(method, ...options) {
  const { code, result, error } = await request(url, method, ...options);
  assert.equal(code, 0, `${method}: ${error?.message}`);
  return result;
}

const tool = (name, args) => ['--tool-name', name, '--tool-args-json', JSON.stringify(args)];

/** The structured content of a tool's result, once it is known to be what the text says too. */
async function call(url, name, args) {
  const { code, result, error } = await request(url, 'tools/call', ...tool(name, args));
  assert.equal(code, 0, `${name}: ${error?.message} ${JSON.stringify(result)}`);
  assert.deepEqual(JSON.parse(result.content[0].text), result.structuredContent);
  return result.structuredContent;
}

async function job() {
  const path = new URL(url).pathname.split('/');
  const depth = path.length - 2;
  const [, , org = 'acme', project = 'web'] = path;
  const word = `w${randomInt(1e12)}${randomInt(1e3)}`;
  const text = `The word of this run is ${word}.\n\nZwölf Boxkämpfer: 🥊`;

  await step('initialize', async () => {
    const { serverInfo, protocolVersion, capabilities } = await get('initialize');
    assert.equal(serverInfo.name, 'signalbox');
    assert.equal(protocolVersion, REVISIONS[era]);
    for (const name of ['tools', 'resources', 'prompts', 'completions', 'logging']) {
      assert.equal(typeof capabilities[name], 'object', `the capability ${name} is missing`);
    }
  });
  await step('tools/list', async () => {
    // Exits with 6 if a schema is one that some clients cannot use.
    const { tools } = await get('tools/list', '--strict');
    for (const name of TOOLS) {
      const { title, annotations, outputSchema, inputSchema } =
        tools.find(tool => tool.name === name) ?? assert.fail(`no tool ${name}`);
      assert.ok(title && annotations && outputSchema, `${name} lacks something`);
      for (const [level, parameter] of PARAMETERS.entries()) {
        const has = JSON.stringify(inputSchema).includes(parameter);
        assert.equal(has, level >= depth, `${parameter} in ${JSON.stringify(inputSchema)}`);
      }
    }
  });
  if (era === 'handshake') {
    await step('logging/setLevel', () => get('logging/setLevel', '--log-level', 'info'));
  }
  const note = await step('remember', () => call(url, 'remember', { text, tags: [word] }));
  const { id, uri } = note;
  const found = await step('recall', async () => {
    const page = await call(url, 'recall', { query: word });
    assert.deepEqual(page.notes.map(note => [note.id, note.text]), [[id, text]]);
    return page;
  });
  await step('list_memories', async () => {
    assert.deepEqual(await call(url, 'list_memories', { tag: word }), found);
  });
  await step('resources/list', async () => {
    const { resources } = await get('resources/list');
    assert.ok(resources.some(resource => resource.uri === uri), `${uri} is not listed`);
  });
  await step('resources/read', async () => {
    const { contents } = await get('resources/read', '--uri', uri);
    assert.deepEqual(contents, [{ uri, mimeType: 'text/markdown', text }]);
  });
  await step('resources/templates/list', async () => {
    const { resourceTemplates } = await get('resources/templates/list');
    const uris = resourceTemplates.map(template => template.uriTemplate);
    assert.ok(uris.includes('memory://notes/{id}'), `templates: ${uris}`);
  });
  await step('prompts/list', async () => {
    const { prompts } = await get('prompts/list');
    assert.ok(prompts.some(prompt => prompt.name === 'briefing'), JSON.stringify(prompts));
  });
  await step('prompts/get', async () => {
    const topic = ['--prompt-name', 'briefing', '--prompt-args', `topic=${word}`];
    const { messages } = await get('prompts/get', ...topic);
    assert.ok(messages[0].content.text.includes(text), messages[0].content.text);
  });
  if (depth > 0) {
    await step('a pinned parameter', async () => {
      const other = tool('recall', { query: word, organizationSlug: 'other' });
      const { code, error } = await request(url, 'tools/call', ...other);
      assert.notEqual(code, 0, 'another organization was accepted');
      assert.ok(error.message.includes(org) && error.message.includes('other'), error.message);
      const same = { query: word, organizationSlug: org };
      assert.deepEqual(await call(url, 'recall', same), found);
    });
  }
  await step('a call is routed by its arguments', async () => {
    const there = new URL(`/mcp/${org}/${project}`, url).href;
    const wide = depth < 2 ? url : new URL('/mcp', url).href;
    const named = { organizationSlug: org, projectSlug: project };
    const query = `${word}0`;
    const kept = await call(wide, 'remember', { text: `Over there: ${query}`, ...named });
    const page = await call(there, 'recall', { query });
    assert.deepEqual(page.notes.map(note => note.id), [kept.id]);
    assert.deepEqual(await call(wide, 'recall', { query, ...named }), page);
    assert.deepEqual(await call(wide, 'recall', { query }), { notes: [] });
    await call(wide, 'forget', { id: kept.id, ...named });
  });
  await step('mistakes', async () => {
    const refused = async (part, ...args) => {
      const { code, error } = await request(url, ...args);
      assert.equal(code, 1, `${args}`);
      assert.ok(error.message.includes(part), error.message);
    };
    await refused('n0nothing', 'resources/read', '--uri', 'memory://notes/n0nothing');
    // It looks an unknown tool up itself and never asks for it, so that is left out.
    const { code, result } = await request(url, 'tools/call', ...tool('recall', {}));
    assert.equal(code, 5, 'recall without query must be a failed result');
    assert.ok(result.isError && result.content[0].text.includes('query'), JSON.stringify(result));
  });
  await step('forget', async () => {
    await call(url, 'forget', { id });
    assert.deepEqual(await call(url, 'list_memories', { tag: word }), { notes: [] });
    const { code } = await request(url, 'resources/read', '--uri', uri);
    assert.equal(code, 1, `${uri} is still there`);
  });
}

function fail(error) {
  console.error(`inspector (${era}) at ${url}, step "${current}":`, error);
  process.exitCode = 1;
}

const late = setTimeout(() => {
  fail(new Error(`not done within ${JOB_MS} ms`));
  process.exit();
}, JOB_MS);
try {
  await job();
  const revision = REVISIONS[era];
  console.log(JSON.stringify({ client: 'inspector', era, revision, steps }));
} catch (error) {
  fail(error);
} finally {
  clearTimeout(late);
  await rm(home, { recursive: true, force: true });
}
