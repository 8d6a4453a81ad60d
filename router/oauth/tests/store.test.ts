// Codes and refresh tokens are good once, whatever happens at the same time; what is stored proves nothing.
import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";
import { CLIENT_S, GRANTS_MAX, RETRY_MS, SPENT_MAX, SWEEP_MS, TOKENS_MAX, WAITING_MAX } from "../limits.ts";
import { shardOf } from "../server.ts";
import { ALICE, FORGED, ORIGIN, World, begin } from "./world.ts";

afterEach(() => { mock.timers.reset(); });

test("a code that comes twice ends what it gave", async () => {
  const world = new World();
  const client = await world.register();
  const code = await world.code(client, ALICE);
  const answers = await Promise.all([world.redeem(client, code), world.redeem(client, code)]);
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400]);
  assert.deepEqual(await world.grants(ALICE), []);
});

test("the same refresh at the same time gets the same answer, and both go on with it", async () => {
  const { world, client, tokens } = await begin();
  const [one, two] = await Promise.all([1, 2].map(() => world.refresh(client, tokens["refresh_token"])));
  assert.equal(one?.status, 200);
  assert.deepEqual(one, two);
  const [three, four] = await Promise.all([1, 2].map(() => world.refresh(client, one?.["refresh_token"])));
  assert.equal(three?.status, 200);
  assert.deepEqual(three, four);
});

test("a refresh that is not the same is not answered for another", async () => {
  const { world, client, tokens } = await begin();
  const one = await world.refresh(client, tokens["refresh_token"]);
  const stranger = await world.register();
  const other = await world.refresh(stranger, tokens["refresh_token"]);
  assert.deepEqual([other.status, other["error"]], [400, "invalid_grant"]);
  // It proved nothing about the client, whose own goes on.
  assert.equal((await world.refresh(client, one["refresh_token"])).status, 200);
});

test("a spent token that comes back late ends its grant", async () => {
  mock.timers.enable({ apis: ["Date"], now: Date.now() });
  const { world, client, tokens } = await begin();
  const next = await world.refresh(client, tokens["refresh_token"]);
  mock.timers.tick(RETRY_MS);
  assert.equal((await world.refresh(client, tokens["refresh_token"])).status, 400);
  assert.equal((await world.refresh(client, next["refresh_token"])).status, 400);
  assert.equal(await world.helpers().unwrapToken(String(next["access_token"])), null);
  assert.deepEqual(await world.grants(ALICE), []);
});

test("a spent token that comes back after the next one was used ends its grant at once", async () => {
  const { world, client, tokens } = await begin();
  const next = await world.refresh(client, tokens["refresh_token"]);
  const last = await world.refresh(client, next["refresh_token"]);
  assert.equal((await world.refresh(client, tokens["refresh_token"])).status, 400);
  assert.equal((await world.refresh(client, last["refresh_token"])).status, 400);
});

test("after an eviction a retry rotates again, and what was given out before ends the grant", async () => {
  const { world, client, tokens } = await begin();
  const lost = await world.refresh(client, tokens["refresh_token"]);
  world.evict();
  const again = await world.refresh(client, tokens["refresh_token"]);
  assert.equal(again.status, 200);
  assert.notEqual(again["refresh_token"], lost["refresh_token"]);
  assert.equal((await world.refresh(client, lost["refresh_token"])).status, 400);
  assert.equal((await world.refresh(client, again["refresh_token"])).status, 400);
});

test("a grant that is ended while it is refreshed stays ended", async () => {
  const { world, client, tokens } = await begin();
  const [grant] = await world.grants(ALICE);
  assert.ok(grant);
  const shard = world.shard(shardOf(`grant:${ALICE}`));
  const put = shard.put.bind(shard);
  let ended: Promise<void> | undefined;
  shard.put = (key, ...more) => {
    ended ??= world.helpers().revokeGrant(grant.id, ALICE);
    return put(key, ...more);
  };
  const answer = await world.refresh(client, tokens["refresh_token"]);
  assert.ok(ended);
  await ended;
  assert.deepEqual(await world.grants(ALICE), []);
  assert.equal(await world.helpers().unwrapToken(String(answer["access_token"])), null);
});

test("who shows nothing waits for nobody", async () => {
  const { world, client, tokens } = await begin();
  const shard = world.shard(shardOf(`client:${client}`));
  const get = shard.get.bind(shard);
  const { promise, resolve } = Promise.withResolvers<void>();
  shard.get = (key, options) => (key === `client:${client}` ? promise.then(() => get(key, options)) : get(key, options));
  const slow = world.refresh(client, tokens["refresh_token"]);
  assert.equal((await world.refresh("nobody", FORGED)).status, 401);
  resolve();
  assert.equal((await slow).status, 200);
});

test("a token is for the resource that was asked for, in whatever case it is named", async () => {
  const { world, client, tokens } = await begin("/mcp/acme");
  assert.equal(tokens["resource"], `${ORIGIN}/mcp/acme`);
  const other = await world.refresh(client, tokens["refresh_token"], { resource: `${ORIGIN}/mcp` });
  assert.deepEqual([other.status, other["error"]], [400, "invalid_target"]);
  const same = await world.refresh(client, tokens["refresh_token"], { resource: `${ORIGIN}/mcp/Acme/` });
  assert.deepEqual([same.status, same["resource"]], [200, `${ORIGIN}/mcp/acme`]);
});

test("nothing that is stored is a token, a code or a secret", async () => {
  const { world, client, tokens } = await begin();
  const code = await world.code(client, ALICE);
  const next = await world.refresh(client, tokens["refresh_token"]);
  const rows = world.rows();
  for (const text of [code, tokens["access_token"], tokens["refresh_token"], next["access_token"], next["refresh_token"]])
    assert.ok(!rows.includes(String(text).split(":")[2] ?? "?"));
  assert.ok(rows.includes(client));
});

test("who shows nothing writes nothing", async () => {
  const { world, client } = await begin();
  const before = world.rows();
  assert.equal((await world.refresh(client, FORGED)).status, 400);
  assert.equal((await world.redeem(client, FORGED)).status, 400);
  assert.equal((await world.token({ client_id: client, token: FORGED })).status, 200);
  assert.equal((await world.refresh("nobody", "x")).status, 401);
  assert.equal(await world.helpers().unwrapToken(FORGED), null);
  assert.equal(world.rows(), before);
  const empty = new World();
  assert.equal((await empty.refresh("nobody", FORGED)).status, 401);
  assert.equal(empty.rows(), "[]");
});

test("whoever waits for too many is told to come again", async () => {
  const { world, client, tokens } = await begin();
  const refresh = (scope: number) => world.refresh(client, tokens["refresh_token"], { scope: `mcp:read x${String(scope)}` });
  const answers = await Promise.all(Array.from({ length: WAITING_MAX + 8 }, (_, index) => refresh(index)));
  assert.equal(answers.filter(({ status }) => status === 429).length, 8);
});

test("a user's grants and a grant's tokens have a bound, and what expired is swept", async () => {
  mock.timers.enable({ apis: ["Date"], now: Date.now() });
  const world = new World();
  const [client, shard] = [await world.register(), world.shard(shardOf(`grant:${ALICE}`))];
  for (let index = 0; index < GRANTS_MAX + 2; index += 1) await world.code(client, ALICE);
  assert.equal(shard.list({ prefix: `grant:${ALICE}:` }).keys.length, GRANTS_MAX);
  let { refresh_token: token } = await world.redeem(client, await world.code(client, ALICE));
  for (let index = 0; index < TOKENS_MAX; index += 1) ({ refresh_token: token } = await world.refresh(client, token));
  assert.equal(shard.list({ prefix: `token:${ALICE}:` }).keys.length, TOKENS_MAX);
  assert.ok(SPENT_MAX > TOKENS_MAX);
  mock.timers.tick(CLIENT_S * 1000 + SWEEP_MS);
  while (await world.ring() > 0);
  assert.ok(!world.rows().includes(ALICE) && !world.rows().includes(client));
});

test("lists come in pages", async () => {
  const shard = new World().shard("shard-0");
  for (const name of ["a:1", "a:2", "a:3", "b:1"]) await shard.put(name, "{}", { metadata: { name } });
  const first = shard.list({ prefix: "a:", limit: 2 });
  assert.deepEqual(first.keys, [{ name: "a:1", metadata: { name: "a:1" } }, { name: "a:2", metadata: { name: "a:2" } }]);
  const { cursor } = first;
  assert.ok(cursor !== undefined && !first.list_complete);
  const second = shard.list({ prefix: "a:", limit: 2, cursor });
  assert.deepEqual([second.keys.map(({ name }) => name), second.list_complete], [["a:3"], true]);
});

test("what is of one user is in one shard, and there are sixteen", () => {
  assert.equal(shardOf(`grant:${ALICE}:g`), shardOf(`token:${ALICE}:h:t`));
  const names = new Set(Array.from({ length: 1000 }, (_, index) => shardOf(`client:${String(index)}`)));
  assert.equal(names.size, 16);
});
