// The end of a grant is told to its user's object, whatever ended it, until it is taken.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { UNTOLD, Untold } from "../ended.ts";
import { GRANTS_MAX, SWEEP_MS, TELLS_MAX, TELL_MS, TELL_TRIES_MAX, TELL_WAIT_MS_MAX } from "../limits.ts";
import { shardOf } from "../server.ts";
import { ALICE, FORGED, World, begin } from "./world.ts";

const GRANT_MS = 30 * 24 * 60 * 60 * 1000;
const SHARD = shardOf(`grant:${ALICE}`);
const refused = () => Promise.resolve(Response.json({ Err: { detail: "no" } }));
const taken = () => Promise.resolve(Response.json({ Ok: "Done" }));
beforeEach(() => { mock.timers.enable({ apis: ["Date"], now: Date.UTC(2030, 0, 1) }); });
afterEach(() => { mock.timers.reset(); mock.restoreAll(); });

function revoke(world: World, client: string, token: unknown) {
  return world.token({ client_id: client, token: String(token) });
}

/** What alice's object is told. */
function of(grant: string | undefined) {
  return { name: "alice", hop: { user: "alice", request: { end_grant: { grant } } } };
}

type Hop = ReturnType<typeof of>["hop"];
const grantsTold = (world: World) => world.told.map(({ hop }) => (hop as Hop).request.end_grant.grant);
const untold = (world: World) => world.disk(SHARD).database.prepare("SELECT k FROM untold").all().length;

/** Another user of the same shard. */
function neighbour(): string {
  for (let index = 0; ; index += 1) {
    const name = Buffer.from(`u${String(index)}`).toString("base64url");
    if (shardOf(`grant:${name}`) === SHARD) return name;
  }
}

test("whatever ends a grant at the token endpoint is told before the client is", async () => {
  for (const token of ["access_token", "refresh_token"]) {
    const { world, client, tokens } = await begin();
    const [grant] = await world.grants(ALICE);
    assert.deepEqual(world.told, []);
    const { promise, resolve } = Promise.withResolvers<Response>();
    const heard = Promise.withResolvers<undefined>();
    world.taken = () => (heard.resolve(undefined), promise);
    let isAnswered = false;
    const answer = revoke(world, client, tokens[token]).finally(() => { isAnswered = true; });
    await heard.promise;
    assert.deepEqual([world.told, isAnswered, await world.grants(ALICE)], [[of(grant?.id)], false, []]);
    resolve(Response.json({ Ok: "Done" }));
    assert.equal((await answer).status, 200);
    assert.equal(untold(world), 0);
    // Who shows what is nothing any more makes no object.
    assert.equal((await revoke(world, client, tokens[token])).status, 200);
    assert.equal((await revoke(world, client, FORGED)).status, 200);
    mock.timers.tick(SWEEP_MS);
    assert.ok(await world.ring() > 0);
    assert.equal(world.told.length, 1);
  }
  const { world, client, tokens } = await begin();
  const next = await world.refresh(client, tokens["refresh_token"]);
  await world.refresh(client, next["refresh_token"]);
  assert.equal((await world.refresh(client, tokens["refresh_token"])).status, 400);
  assert.equal(world.told.length, 1);
});

test("a user's object has the name that Rust gives it", async () => {
  const name = Buffer.from("https://id.test#ü%:1").toString("base64url");
  const { world, client, tokens } = await begin("/mcp", name);
  await revoke(world, client, tokens["access_token"]);
  const [told] = world.told as { name: string; hop: { user: string } }[];
  assert.deepEqual([told?.name, told?.hop.user], ["https%3A//id.test#ü%25%3A1", "https://id.test#ü%:1"]);
});

test("what is never taken is told for a month", async () => {
  const { world, client, tokens } = await begin();
  world.taken = () => Promise.reject(new Error("away"));
  await revoke(world, client, tokens["refresh_token"]);
  const began = Date.now();
  // More turns than there are tries would be no end.
  for (let turn = 0; untold(world) > 0; turn += 1) {
    assert.ok(turn <= TELL_TRIES_MAX);
    mock.timers.tick(TELL_WAIT_MS_MAX);
    await world.ring();
  }
  assert.equal(world.told.length, TELL_TRIES_MAX);
  assert.ok(Date.now() - began >= 31 * 24 * 60 * 60 * 1000);
});

test("what is not taken is told again, each time later, until it is", async () => {
  const { world, client, tokens } = await begin();
  const [grant] = await world.grants(ALICE);
  const broken = () => Promise.resolve(new Response("broken", { status: 500 }));
  const failures = [refused, () => Promise.reject(new Error("away")), broken];
  world.taken = () => (failures[world.told.length % failures.length] ?? refused)();
  // It has ended all the same.
  assert.equal((await revoke(world, client, tokens["refresh_token"])).status, 200);
  assert.deepEqual(await world.grants(ALICE), []);
  let wait = TELL_MS;
  for (let tries = 1; tries < 12; tries += 1) {
    assert.deepEqual([world.told.length, untold(world)], [tries, 1]);
    // The object may lose its memory in between.
    world.evict();
    mock.timers.tick(wait - 1);
    await world.shard(SHARD).alarm();
    assert.equal(world.told.length, tries);
    mock.timers.tick(1);
    assert.ok(await world.ring() > 0);
    wait = Math.min(2 * wait, TELL_WAIT_MS_MAX);
  }
  assert.equal(wait, TELL_WAIT_MS_MAX);
  world.taken = taken;
  mock.timers.tick(wait);
  await world.ring();
  assert.deepEqual([world.told.at(-1), world.told.length, untold(world)], [of(grant?.id), 13, 0]);
  mock.timers.tick(wait);
  await world.ring();
  assert.equal(world.told.length, 13);
});

test("an end is on its way before it is told, and told by one at a time", async () => {
  const { world, client, tokens } = await begin();
  const { promise, resolve } = Promise.withResolvers<Response>();
  const heard = Promise.withResolvers<undefined>();
  world.taken = () => (heard.resolve(undefined), promise);
  const answer = revoke(world, client, tokens["refresh_token"]);
  await heard.promise;
  await new Promise(setImmediate);
  // Whatever becomes of the one who tells it.
  assert.deepEqual([untold(world), world.disk(SHARD).alarm], [1, Date.now() + TELL_MS]);
  await world.shard(SHARD).alarm();
  assert.equal(world.told.length, 1);
  resolve(Response.json({ Ok: "Done" }));
  await answer;
  assert.deepEqual([untold(world), world.told.length], [0, 1]);
});

test("whoever comes while an end is told, or before it is due again, tells nothing", async () => {
  const [world, database] = [new World(), new DatabaseSync(":memory:")];
  database.exec(UNTOLD);
  const run = (statement: string, ...values: SQLInputValue[]) => database.prepare(statement).all(...values);
  const [ends, key] = [new Untold(run as never, world.env as never), `grant:${ALICE}:x`];
  world.taken = refused;
  ends.add(key);
  await Promise.all([ends.tell(key), ends.tell(key), ends.tellDue()]);
  await ends.tell(key);
  assert.deepEqual([world.told.length, ends.next()], [1, Date.now() + TELL_MS]);
});

test("a user's object that says nothing is waited for no longer than so", async () => {
  const { world, client, tokens } = await begin();
  const given = new AbortController();
  const timeout = mock.method(AbortSignal, "timeout", () => given.signal);
  world.taken = (_, { signal }) => new Promise((_, reject) => {
    signal?.addEventListener("abort", () => { reject(new Error("too long")); });
    given.abort();
  });
  assert.equal((await revoke(world, client, tokens["refresh_token"])).status, 200);
  assert.deepEqual([timeout.mock.calls.map(({ arguments: given }) => given), untold(world)], [[[TELL_MS]], 1]);
});

test("a grant that another one takes the place of is told", async () => {
  const { world, client } = await begin();
  const [oldest] = await world.grants(ALICE);
  for (let index = 0; index < GRANTS_MAX; index += 1) await world.code(client, ALICE);
  assert.deepEqual([world.told, untold(world)], [[], 1]);
  assert.equal(await world.ring(), 1);
  assert.deepEqual([world.told, untold(world)], [[of(oldest?.id)], 0]);
});

test("a grant that expires is told, and with it goes what hangs on it", async () => {
  const { world, client, tokens } = await begin();
  const [grant] = await world.grants(ALICE);
  let { refresh_token: token } = tokens;
  ({ refresh_token: token } = await world.refresh(client, token));
  mock.timers.tick(GRANT_MS - 1000);
  await world.ring();
  assert.deepEqual(world.told, []);
  mock.timers.tick(SWEEP_MS);
  await world.ring();
  assert.deepEqual([world.told, untold(world)], [[of(grant?.id)], 0]);
  assert.ok(!world.rows().includes(ALICE));
  mock.timers.tick(SWEEP_MS);
  await world.ring();
  assert.equal(world.told.length, 1);
});

test("one user's object that never takes it keeps no other from being told", async () => {
  const world = new World();
  const [shard, other] = [world.shard(SHARD), neighbour()];
  const end = async (user: string, grant: string) => {
    await shard.put(`grant:${user}:${grant}`, "{}");
    shard.delete(`grant:${user}:${grant}`);
  };
  world.taken = (name) => (name === "alice" ? refused() : taken());
  const names = Array.from({ length: 2 * TELLS_MAX }, (_, index) => String(1000 - index));
  for (const name of names) {
    await end(ALICE, name);
    mock.timers.tick(1);
  }
  await shard.put(`grant:${other}:kept`, "{}");
  await world.ring();
  // Those first that have waited longest, no more at once, and the rest without delay.
  assert.deepEqual(grantsTold(world), names.slice(0, TELLS_MAX));
  assert.ok(Number(world.disk(SHARD).alarm) <= Date.now());
  await end(other, "x");
  await world.ring();
  assert.equal(world.told.length, 2 * TELLS_MAX);
  // All of them fail for ever; what has ended since is told next.
  assert.ok(!grantsTold(world).includes("x"));
  await world.ring();
  assert.deepEqual([grantsTold(world).at(-1), world.told.length], ["x", 2 * TELLS_MAX + 1]);
  // When all are due again, one that has waited less is told in the same round of all.
  mock.timers.tick(TELL_WAIT_MS_MAX);
  await end(other, "y");
  world.told.length = 0;
  for (let rounds = 0; rounds < 3; rounds += 1) await world.ring();
  assert.deepEqual([grantsTold(world).includes("y"), world.told.length], [true, 2 * TELLS_MAX + 1]);
});

test("what its user ends is known already", async () => {
  const { world, client, tokens } = await begin();
  const [grant] = await world.grants(ALICE);
  await world.helpers().revokeGrant(String(grant?.id), ALICE);
  assert.deepEqual([world.told, untold(world), await world.grants(ALICE)], [[], 0, []]);
  // Also where it could not be told before.
  const again = await world.redeem(client, await world.code(client, ALICE));
  const [next] = await world.grants(ALICE);
  world.taken = refused;
  assert.equal((await revoke(world, client, again["refresh_token"])).status, 200);
  assert.equal(untold(world), 1);
  await world.helpers().revokeGrant(String(next?.id), ALICE);
  assert.equal(untold(world), 0);
  assert.equal((await world.refresh(client, tokens["refresh_token"])).status, 400);
  mock.timers.tick(SWEEP_MS);
  await world.ring();
  assert.equal(world.told.length, 1);
});

test("a grant that ends by a request that fails is told, too", async () => {
  mock.method(console, "error", () => undefined);
  const { world, client, tokens } = await begin();
  const next = await world.refresh(client, tokens["refresh_token"]);
  await world.refresh(client, next["refresh_token"]);
  const shard = world.shard(shardOf(`client:${client}`));
  const get = shard.get.bind(shard);
  shard.get = (key, options) => {
    if (key.startsWith("client:")) throw new Error("away");
    return get(key, options);
  };
  assert.equal((await world.refresh(client, tokens["refresh_token"])).status, 503);
  assert.deepEqual([world.told.length, untold(world)], [1, 0]);
});

test("there is an alarm as long as there is anything to do", async () => {
  const { world, client, tokens } = await begin();
  world.taken = refused;
  await revoke(world, client, tokens["refresh_token"]);
  const disk = world.disk(SHARD);
  mock.timers.tick(2 * GRANT_MS);
  disk.alarm = null;
  await world.shard(SHARD).alarm();
  assert.deepEqual([untold(world), Number(disk.alarm) > Date.now()], [1, true]);
  world.taken = taken;
  mock.timers.tick(TELL_WAIT_MS_MAX);
  while (await world.ring() > 0);
  assert.deepEqual([untold(world), disk.alarm], [0, null]);
});

// As they were made before ends were kept and clients were bounded.
const BEFORE = `CREATE TABLE kv (k TEXT PRIMARY KEY, v TEXT NOT NULL, m TEXT, e INTEGER);
  CREATE TABLE spent (h TEXT PRIMARY KEY, k TEXT NOT NULL, at INTEGER NOT NULL, e INTEGER NOT NULL);
  CREATE INDEX kv_e ON kv (e); CREATE INDEX spent_k ON spent (k, at)`;

test("the objects of the version before are read, told of and bounded like others", async () => {
  const made = await begin();
  const old = new World();
  for (const [name, { database, alarm }] of made.world.disks) {
    const before = new DatabaseSync(":memory:");
    before.exec(BEFORE);
    for (const table of ["kv", "spent"]) {
      for (const row of database.prepare(`SELECT * FROM ${table}`).all()) {
        const values = Object.values(row);
        before.prepare(`INSERT INTO ${table} VALUES (${values.map(() => "?").join()})`).run(...values);
      }
    }
    old.disks.set(name, { database: before, alarm });
  }
  const rows = (world: World) => world.rows().replaceAll("[],", "").replaceAll(",[]", "");
  const before = rows(old);
  const [grant] = await old.grants(ALICE);
  assert.equal(old.shard(SHARD).get("grant:nobody"), null);
  assert.equal(rows(old), before);
  const next = await old.refresh(made.client, made.tokens["refresh_token"]);
  assert.equal(next.status, 200);
  assert.ok((await old.register()).length > 0);
  assert.equal((await revoke(old, made.client, next["access_token"])).status, 200);
  assert.deepEqual(old.told, [of(grant?.id)]);
  mock.timers.tick(2 * GRANT_MS);
  await old.ring();
  // Nothing is made where nothing was.
  const empty = new World();
  await empty.shard(SHARD).alarm();
  assert.equal(empty.rows(), "[]");
  assert.equal(empty.disk(SHARD).alarm, null);
});
