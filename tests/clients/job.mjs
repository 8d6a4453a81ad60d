// The job that every TypeScript client does against a running server: what a program does with the
// endpoint from its first request to its last, each step with what must come of it. Owns the steps
// and the arguments URL KEY ERA; how a client library is called belongs to the script that brings
// it. Prints one line of JSON, or the step that failed to standard error, and exits with 1.
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';

const JOB_MS = 60_000;
/** How long one request may take. */
export const REQUEST_MS = 10_000;

/** The revision that each era must negotiate. */
const REVISIONS = { handshake: '2025-11-25', modern: '2026-07-28' };
const LOG_LEVEL = 'io.modelcontextprotocol/logLevel';
const TOOLS = ['remember', 'recall', 'list_memories', 'forget'];

export const [url, key, era] = process.argv.slice(2);

assert.ok(url && key && era in REVISIONS, 'call it with URL KEY handshake|modern');

// The URL says what is pinned. What it leaves open is named as this.
const pinned = new URL(url).pathname.split('/').slice(2);
const depth = pinned.length;
const [org = 'acme', project = 'web'] = pinned;
const PARAMETERS = ['organizationSlug', 'projectSlug'];
const everything = { organizationSlug: org, projectSlug: project };

// Digits have no inflections, so a word's beginning is a beginning of its stem.
const word = () => `w${Array.from({ length: 16 }, () => randomInt(10)).join('')}`;

let steps = 0;
let current = 'start';

async function step(name, work) {
  current = name;
  const result = await work();
  steps += 1;
  return result;
}

/** The client library refuses with this code, and says all of this. */
async function refused(promise, code, ...parts) {
  const error = await promise.then(
    result => assert.fail(`expected error ${code}, got the result ${JSON.stringify(result)}`),
    error => error,
  );
  assert.equal(error.code, code, `expected error ${code}, got ${error.code}: ${error.message}`);
  for (const part of parts) assert.ok(error.message.includes(part), `${part} in: ${error.message}`);
}

let notFoundCode;
/** The client library refuses: there is no resource of this URI. */
const notFound = (promise, uri) => refused(promise, notFoundCode, uri);

/** The structured content of a result, once it is known to be what the text says too. */
function structured(result) {
  assert.notEqual(result.isError, true, `a tool failed: ${result.content[0]?.text}`);
  assert.deepEqual(JSON.parse(result.content[0].text), result.structuredContent);
  return result.structuredContent;
}

const texts = page => page.notes.map(note => note.text);
const ids = page => page.notes.map(note => note.id);

/** Every item of a list, page by page. */
async function all(list, items) {
  const found = [];
  let cursor;
  for (let pages = 0; pages < 50; pages += 1) {
    const page = await list(cursor === undefined ? {} : { cursor });
    found.push(...page[items]);
    cursor = page.nextCursor;
    if (cursor === undefined) return found;
  }
  return assert.fail(`${items} do not end`);
}

/**
 * Does the whole job. `open(url)` connects and gives a peer: the library's `client`, the negotiated
 * `revision`, `session()` for the id if there is one, `call(name, arguments, {meta, onprogress})`,
 * `onLog(handler)` and `end()`. `code` is that of a resource which is not there, as the library
 * shows it.
 */
export async function run(name, open, code = era === 'modern' ? -32602 : -32002) {
  notFoundCode = code;
  const opened = [];
  const connect = async url => {
    const peer = await open(url);
    opened.push(peer);
    // Lets the library check every result against its tool's output schema.
    peer.tools = await all(params => peer.client.listTools(params), 'tools');
    peer.ask = async (...call) => structured(await peer.call(...call));
    return peer;
  };
  setTimeout(() => fail(name, new Error(`not done within ${JOB_MS} ms`)), JOB_MS);
  try {
    const peer = await step('connect', () => connect(url));
    await meets(peer);
    await listsTools(peer);
    const notes = await remembers(peer);
    await offersResources(peer, notes);
    await offersPrompts(peer, notes);
    await replaces(peer, notes);
    await shares(peer, notes);
    await keepsScopes(peer, connect, notes);
    await refusesMistakes(peer);
    await reports(peer);
    await forgets(peer, notes);
    await ends(opened);
  } catch (error) {
    fail(name, error);
  }
  console.log(JSON.stringify({ client: name, era, revision: REVISIONS[era], steps }));
  process.exit(0);
}

function fail(name, error) {
  console.error(`${name} (${era}) at ${url}, step "${current}":`, error);
  process.exit(1);
}

async function meets({ client, revision, session }) {
  await step('revision', () => assert.equal(revision, REVISIONS[era]));
  await step('server info', () => assert.equal(client.getServerVersion()?.name, 'signalbox'));
  await step('capabilities', () => {
    const offered = client.getServerCapabilities();
    for (const name of ['tools', 'resources', 'prompts', 'completions', 'logging']) {
      assert.equal(typeof offered[name], 'object', `the capability ${name} is missing`);
    }
  });
  await step('session', () => assert.equal(typeof session() === 'string', era === 'handshake'));
  // 2026-07-28 has neither method.
  if (era === 'modern') return;
  await step('ping', () => client.ping());
  await step('logging/setLevel', () => client.setLoggingLevel('info'));
}

async function listsTools({ tools }) {
  const tool = name => tools.find(tool => tool.name === name) ?? assert.fail(`no tool ${name}`);
  await step('tools/list', () => {
    for (const { name, title, annotations, outputSchema } of TOOLS.map(tool)) {
      assert.ok(title, `${name} has no title`);
      assert.equal(annotations?.readOnlyHint, name === 'recall' || name === 'list_memories', name);
      assert.equal(outputSchema?.type, 'object', `${name} has no outputSchema`);
    }
    assert.equal(tool('forget').annotations.destructiveHint, true);
  });
  await step('what the URL pins is in no schema', () => {
    for (const { name, inputSchema } of TOOLS.map(tool)) {
      for (const [level, parameter] of PARAMETERS.entries()) {
        const text = JSON.stringify(inputSchema);
        if (level >= depth) assert.ok(inputSchema.properties[parameter], `${name}: ${text}`);
        else assert.ok(!text.includes(parameter), `${name} has ${parameter}: ${text}`);
      }
    }
  });
}

async function remembers({ ask }) {
  const notes = { word: word(), tag: word(), made: [] };
  notes.text = `The word of this run is ${notes.word}.\n\nZwölf Boxkämpfer: 🥊`;
  notes.title = `About ${notes.word}`;
  const keep = async (text, title) => {
    const note = await ask('remember', { text, title, tags: [notes.tag, 'clients'] });
    assert.equal(note.uri, `memory://notes/${note.id}`);
    assert.equal(note.shared, false);
    notes.made.push(note.id);
    return note;
  };
  await step('remember', async () => {
    notes.note = await keep(notes.text, notes.title);
  });
  await step('recall by a word', async () => {
    const [found, ...more] = (await ask('recall', { query: notes.word })).notes;
    assert.deepEqual(more, []);
    assert.equal(found.id, notes.note.id);
    assert.equal(found.text, notes.text);
    assert.equal(found.title, notes.title);
    assert.deepEqual(found.tags, [notes.tag, 'clients']);
    assert.equal(found.truncated, false);
    assert.equal(found.createdAt, notes.note.createdAt);
  });
  await step('recall by the beginning of a word', async () => {
    assert.deepEqual(ids(await ask('recall', { query: notes.word.slice(0, -3) })), notes.made);
  });
  await step('list_memories page by page', async () => {
    for (const number of ['second', 'third']) await keep(`The ${number} note.`);
    const page = params => ask('list_memories', { tag: notes.tag, limit: 1, ...params });
    const found = await all(page, 'notes');
    assert.deepEqual(found.map(note => note.id), notes.made.toReversed());
    assert.deepEqual(ids(await ask('list_memories', { tag: notes.tag })), notes.made.toReversed());
  });
  return notes;
}

async function offersResources({ client }, { note, text, title }) {
  await step('resources/list', async () => {
    const found = (await all(params => client.listResources(params), 'resources')).find(
      resource => resource.uri === note.uri,
    );
    assert.equal(found?.title, title);
    assert.equal(found?.mimeType, 'text/markdown');
  });
  await step('resources/read', async () => {
    const { contents } = await client.readResource({ uri: note.uri });
    assert.deepEqual(contents, [{ uri: note.uri, mimeType: 'text/markdown', text }]);
  });
  await step('resources/templates/list', async () => {
    const templates = await all(p => client.listResourceTemplates(p), 'resourceTemplates');
    const uris = templates.map(template => template.uriTemplate);
    for (const uri of ['memory://notes/{id}', 'memory://shared/{id}']) {
      assert.ok(uris.includes(uri), `${uri} in ${uris}`);
    }
  });
  await step('completion/complete of a template', async () => {
    const ref = { type: 'ref/resource', uri: 'memory://notes/{id}' };
    const argument = { name: 'id', value: note.id.slice(0, -2) };
    assert.deepEqual((await client.complete({ ref, argument })).completion.values, [note.id]);
  });
}

async function offersPrompts({ client }, { word, text, tag }) {
  await step('prompts/list', async () => {
    const prompts = await all(params => client.listPrompts(params), 'prompts');
    const briefing = prompts.find(prompt => prompt.name === 'briefing');
    assert.deepEqual(briefing?.arguments?.map(argument => argument.name), ['topic']);
  });
  await step('prompts/get', async () => {
    const prompt = await client.getPrompt({ name: 'briefing', arguments: { topic: word } });
    assert.equal(prompt.messages[0].role, 'user');
    const said = prompt.messages[0].content.text;
    assert.ok(said.includes(text), `the note in: ${said}`);
  });
  await step('completion/complete of a prompt', async () => {
    const ref = { type: 'ref/prompt', name: 'briefing' };
    const argument = { name: 'topic', value: tag.slice(0, -2) };
    assert.deepEqual((await client.complete({ ref, argument })).completion.values, [tag]);
  });
}

async function replaces({ ask, client }, notes) {
  await step('replace a note', async () => {
    const { id, createdAt, updatedAt, uri } = notes.note;
    const fresh = word();
    const text = `Now the word is ${fresh}.`;
    const replaced = await ask('remember', { id, text, title: 'Replaced', tags: [notes.tag] });
    assert.equal(replaced.id, id);
    assert.equal(replaced.createdAt, createdAt);
    assert.ok(replaced.updatedAt >= updatedAt, `${replaced.updatedAt} before ${updatedAt}`);
    assert.deepEqual(texts(await ask('recall', { query: fresh })), [text]);
    assert.deepEqual(texts(await ask('recall', { query: notes.word })), []);
    assert.equal((await client.readResource({ uri })).contents[0].text, text);
    assert.equal(ids(await ask('list_memories', { tag: notes.tag, limit: 1 }))[0], id);
  });
}

async function shares({ ask, client }, notes) {
  await step('remember a shared note', async () => {
    const text = `Everywhere: ${word()}`;
    notes.shared = await ask('remember', { text, tags: [notes.tag], shared: true });
    assert.equal(notes.shared.shared, true);
    assert.equal(notes.shared.uri, `memory://shared/${notes.shared.id}`);
    const listed = (await ask('list_memories', { tag: notes.tag })).notes;
    assert.equal(listed.length, notes.made.length + 1);
    assert.deepEqual(listed.filter(note => note.shared).map(note => note.text), [text]);
    const { contents } = await client.readResource({ uri: notes.shared.uri });
    assert.equal(contents[0].text, text);
  });
}

async function keepsScopes(peer, connect, notes) {
  for (const parameter of PARAMETERS.slice(0, depth)) {
    await step(`${parameter} is pinned`, async () => {
      const tag = notes.tag;
      const asked = peer.call('recall', { query: tag, [parameter]: 'other' });
      await refused(asked, -32602, parameter, everything[parameter], 'other');
      const same = await peer.ask('list_memories', { tag, [parameter]: everything[parameter] });
      assert.deepEqual(same, await peer.ask('list_memories', { tag }));
    });
  }
  // The same context from a wide URL, by arguments, and from the URL that pins it.
  const elsewhere = new URL(depth < 2 ? `/mcp/${org}/${project}` : '/mcp', url).href;
  const other = await step('connect elsewhere', () => connect(elsewhere));
  const [wide, narrow] = depth < 2 ? [peer, other] : [other, peer];
  const named = depth === 1 ? { projectSlug: project } : everything;
  await step('a call is routed by its arguments', async () => {
    const query = word();
    const { id } = await wide.ask('remember', { text: `Over there: ${query}`, ...named });
    const there = await narrow.ask('recall', { query });
    assert.deepEqual(ids(there), [id]);
    assert.deepEqual(await wide.ask('recall', { query, ...named }), there);
    assert.deepEqual(ids(await wide.ask('recall', { query })), []);
    await wide.ask('forget', { id, ...named });
    assert.deepEqual(ids(await narrow.ask('recall', { query })), []);
  });
  await step('what is shared is seen elsewhere, and nothing else', async () => {
    const seen = await other.ask('list_memories', { tag: notes.tag });
    assert.deepEqual(ids(seen), [notes.shared.id]);
    assert.ok((await other.client.readResource({ uri: notes.shared.uri })).contents[0].text);
    await notFound(other.client.readResource({ uri: notes.note.uri }), notes.note.uri);
  });
}

async function refusesMistakes({ call, client }) {
  const failed = async (...args) => {
    const result = await call(...args);
    assert.equal(result.isError, true, JSON.stringify(result));
    return result.content[0].text;
  };
  await step('an unknown tool', () => refused(call('no_such_tool', {}), -32602, 'no_such_tool'));
  await step('a missing argument', async () => assert.match(await failed('recall', {}), /query/));
  await step('forget what is not there', async () =>
    assert.match(await failed('forget', { id: 'n0nothing' }), /n0nothing/),
  );
  await step('read what is not there', () =>
    notFound(client.readResource({ uri: 'memory://notes/n0nothing' }), 'n0nothing'),
  );
}

/** Needs the tools of the test build. */
async function reports({ tools, call, client, onLog }) {
  const has = name => tools.some(tool => tool.name === name);
  if (has('test_tool_with_progress')) {
    await step('progress comes in order, before the result', async () => {
      const heard = [];
      const onprogress = ({ progress, total }) => heard.push(`${progress}/${total}`);
      await call('test_tool_with_progress', {}, { onprogress });
      assert.deepEqual(heard, ['0/100', '50/100', '100/100']);
    });
  }
  if (has('test_tool_with_logging')) {
    await step('log messages come before the result, as severe as was asked', async () => {
      let heard = [];
      onLog(({ level }) => heard.push(level));
      const logged = async level => {
        heard = [];
        if (era === 'handshake' && level) await client.setLoggingLevel(level);
        const meta = era === 'modern' && level ? { [LOG_LEVEL]: level } : undefined;
        await call('test_tool_with_logging', {}, { meta });
        return heard;
      };
      // Nothing asked: the handshake still has what it set first, a modern request wants none.
      const unasked = era === 'handshake' ? ['info', 'info', 'info'] : [];
      assert.deepEqual(await logged(undefined), unasked);
      assert.deepEqual(await logged('info'), ['info', 'info', 'info']);
      assert.deepEqual(await logged('error'), []);
    });
  }
}

async function forgets({ ask, client }, notes) {
  await step('forget', async () => {
    for (const id of [...notes.made, notes.shared.id]) {
      assert.equal((await ask('forget', { id })).id, id);
    }
    assert.deepEqual(ids(await ask('list_memories', { tag: notes.tag })), []);
    assert.deepEqual(ids(await ask('recall', { query: notes.tag })), []);
    for (const { uri } of [notes.note, notes.shared]) {
      await notFound(client.readResource({ uri }), uri);
    }
  });
}

async function ends(opened) {
  const ping = async session => {
    const headers = {
      authorization: `Bearer ${key}`,
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      'mcp-session-id': session,
    };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 'ping', method: 'ping' });
    const signal = AbortSignal.timeout(REQUEST_MS);
    return (await fetch(url, { method: 'POST', headers, body, signal })).status;
  };
  await step('end', async () => {
    const session = opened[0].session();
    if (era === 'handshake') assert.equal(await ping(session), 200);
    for (const peer of opened) await peer.end();
    // A modern connection ends by itself: there was nothing to end.
    if (era === 'handshake') assert.equal(await ping(session), 404, 'the session goes on');
  });
}
