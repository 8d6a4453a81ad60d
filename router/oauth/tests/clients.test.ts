// Anybody may register clients: one that gets no token is soon forgotten, one that got some stays whatever others do.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { CLIENTS_MAX, CLIENT_S, UNPROVEN_S } from "../limits.ts";
import { shardOf } from "../server.ts";
import { ALICE, FORGED, World, begin } from "./world.ts";

// The first moment of a day.
const START = Date.UTC(2030, 0, 1);
const [DAY_MS, GRANT_MS] = [24 * 60 * 60 * 1000, 30 * 24 * 60 * 60 * 1000];
beforeEach(() => { mock.timers.enable({ apis: ["Date"], now: START }); });
afterEach(() => { mock.timers.reset(); });

const shardFor = (world: World, client: string) => world.shard(shardOf(`client:${client}`));
const isKnown = (world: World, client: string) => shardFor(world, client).get(`client:${client}`) !== null;

/** Its end, in seconds since the start; undefined where there is no row. */
function endOf(world: World, client: string): number | undefined {
  const { database } = world.disk(shardOf(`client:${client}`));
  const row = database.prepare("SELECT e FROM kv WHERE k = ?").get(`client:${client}`);
  return row && Number(row["e"]) - START / 1000;
}

/** How often a client's life is made longer from now on. */
function touches(world: World, client: string): string[] {
  const [shard, seen] = [shardFor(world, client), [] as string[]];
  const touch = shard.touch.bind(shard);
  shard.touch = (key, until) => { seen.push(key); touch(key, until); };
  return seen;
}

test("a client that gets no token is known for a day", async () => {
  const world = new World();
  const client = await world.register();
  mock.timers.tick(UNPROVEN_S * 1000 - 1);
  assert.ok(isKnown(world, client));
  mock.timers.tick(1);
  assert.ok(!isKnown(world, client));
  await world.ring();
  assert.equal(endOf(world, client), undefined);
  assert.ok(!world.rows().includes(client));
});

test("a client that gets a token is known for longer than its grant lives, from its last one", async () => {
  const { world, client, tokens } = await begin();
  assert.equal(endOf(world, client), CLIENT_S);
  mock.timers.tick(GRANT_MS - DAY_MS);
  assert.equal((await world.refresh(client, tokens["refresh_token"])).status, 200);
  assert.equal(endOf(world, client), CLIENT_S + 29 * UNPROVEN_S);
  assert.ok(CLIENT_S * 1000 - GRANT_MS >= UNPROVEN_S * 1000);
  mock.timers.tick(CLIENT_S * 1000 - 1);
  assert.ok(isKnown(world, client));
  mock.timers.tick(1);
  assert.ok(!isKnown(world, client));
});

test("a grant makes its client's life longer once a day", async () => {
  const world = new World();
  const client = await world.register();
  const seen = touches(world, client);
  let { refresh_token: token } = await world.redeem(client, await world.code(client, ALICE));
  const refresh = async () => ({ refresh_token: token } = await world.refresh(client, token));
  assert.deepEqual(seen, [`client:${client}`]);
  await refresh();
  for (let index = 0; index < 5; index += 1) await refresh();
  assert.equal(seen.length, 2);
  mock.timers.tick(DAY_MS);
  for (let index = 0; index < 5; index += 1) await refresh();
  assert.equal(seen.length, 3);
  mock.timers.tick(DAY_MS - 1);
  await refresh();
  assert.equal(seen.length, 3);
});

test("where a client's life cannot be made longer it has its token, and the next one does it", async () => {
  const world = new World();
  const [client, code] = [await world.register(), world.code.bind(world)];
  const shard = shardFor(world, client);
  const touch = shard.touch.bind(shard);
  shard.touch = () => { throw new Error("away"); };
  const tokens = await world.redeem(client, await code(client, ALICE));
  assert.deepEqual([tokens.status, endOf(world, client)], [200, UNPROVEN_S]);
  shard.touch = touch;
  assert.equal((await world.refresh(client, tokens["refresh_token"])).status, 200);
  assert.equal(endOf(world, client), CLIENT_S);
});

test("nothing that a stranger sends makes a client's life longer", async () => {
  const world = new World();
  const client = await world.register();
  const seen = touches(world, client);
  for (let hours = 0; hours < 24; hours += 1) {
    assert.equal((await world.token({ client_id: client, token: FORGED })).status, 200);
    assert.equal((await world.redeem(client, FORGED)).status, 400);
    assert.equal((await world.refresh(client, FORGED)).status, 400);
    mock.timers.tick(DAY_MS / 24);
  }
  assert.deepEqual([seen, isKnown(world, client)], [[], false]);
  // Nor what is given back, by whomever.
  const { world: other, client: own, tokens } = await begin();
  const later = touches(other, own);
  const stranger = await other.register();
  assert.equal((await other.token({ client_id: stranger, token: String(tokens["access_token"]) })).status, 200);
  assert.equal((await other.grants(ALICE)).length, 1);
  assert.equal((await other.token({ client_id: own, token: String(tokens["refresh_token"]) })).status, 200);
  assert.deepEqual(later, []);
});

test("a client that the library writes again keeps its life", async () => {
  const { world, client, tokens } = await begin();
  const shard = shardFor(world, client);
  const [put, ends] = [shard.put.bind(shard), [] as (number | undefined)[]];
  shard.put = async (key, ...more) => {
    await put(key, ...more);
    if (key === `client:${client}`) ends.push(endOf(world, client));
  };
  // In the second half of what it was told.
  mock.timers.tick(20 * DAY_MS);
  assert.equal((await world.refresh(client, tokens["refresh_token"])).status, 200);
  assert.deepEqual([ends, endOf(world, client)], [[CLIENT_S], CLIENT_S + 20 * UNPROVEN_S]);
  await shard.put(`client:${client}`, "{}", { expirationTtl: 60 });
  assert.equal(endOf(world, client), CLIENT_S + 20 * UNPROVEN_S);
});

test("of a shard's clients the newest stay, and those that got a token", async () => {
  const world = new World();
  const shard = world.shard("shard-0");
  const register = async (from: number, to: number) => {
    for (let index = from; index < to; index += 1) await shard.put(`client:${String(index)}`, "{}");
  };
  const listed = { prefix: "client:", limit: 2 * CLIENTS_MAX };
  const known = () => shard.list(listed).keys.map(({ name }) => Number(name.slice("client:".length)));
  const until = START / 1000 + CLIENT_S;
  await register(0, CLIENTS_MAX);
  shard.touch("client:0", until);
  shard.touch("client:2", until);
  assert.equal(known().length, CLIENTS_MAX);
  await register(CLIENTS_MAX, CLIENTS_MAX + 4);
  const gone = Array.from({ length: 6 }, (_, index) => index).filter((index) => !known().includes(index));
  assert.deepEqual([gone, known().length], [[1, 3], CLIENTS_MAX + 2]);
  // Written again, it takes nobody's place.
  await shard.put("client:4", "{}");
  assert.equal(known().length, CLIENTS_MAX + 2);
  await register(CLIENTS_MAX + 4, 2 * CLIENTS_MAX + 4);
  assert.deepEqual(known().filter((index) => index < CLIENTS_MAX + 4), [0, 2]);
  const { database } = world.disk("shard-0");
  assert.equal(database.prepare("SELECT count(*) AS count FROM newest").get()?.["count"], CLIENTS_MAX);
});

test("a life is made longer, never shorter, and none is made", async () => {
  const world = new World();
  const shard = world.shard("shard-0");
  shard.touch("client:x", START);
  assert.equal(world.rows(), "[]");
  await shard.put("question:a", "{}");
  await shard.put("question:b", "{}", { expiration: START / 1000 + 60 });
  const before = world.rows();
  for (const key of ["client:x", "question:a"]) shard.touch(key, START / 1000 + 90);
  shard.touch("question:b", START / 1000 + 30);
  assert.equal(world.rows(), before);
  shard.touch("question:b", START / 1000 + 90);
  mock.timers.tick(89_000);
  assert.notEqual(shard.get("question:b"), null);
});

test("a client with a secret is told how long it may be known", async () => {
  const world = new World();
  const asked = { redirect_uris: ["https://client.test/"], token_endpoint_auth_method: "client_secret_post" };
  const headers = { "content-type": "application/json" };
  const response = await world.send("/oauth/register", { method: "POST", headers, body: JSON.stringify(asked) });
  const { client_secret_expires_at: until } = (await response.json()) as { client_secret_expires_at: number };
  assert.equal(until, START / 1000 + CLIENT_S);
});
