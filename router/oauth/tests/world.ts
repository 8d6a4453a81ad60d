// A deployment in memory: the shards with SQLite of Node, the entry before them, a client and its users.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import type { GrantSummary, OAuthHelpers } from "@cloudflare/workers-oauth-provider";
import Entry from "../entry.ts";
import { OAuthStore } from "../store.ts";

export const ORIGIN = "https://x.test";
/** As the library names alice. */
export const ALICE = "YWxpY2U";
/** In the form of a token, and none. */
export const FORGED = `${ALICE}:${"g".repeat(16)}:${"s".repeat(32)}`;
const CALLBACK = "https://client.test/callback";
const VERIFIER = "v".repeat(43);

/** An object's SQLite, and when its alarm is. They stay when the object loses its memory. */
interface Disk {
  database: DatabaseSync;
  alarm: number | null;
}

function storage(disk: Disk) {
  const { database } = disk;
  const exec = (statement: string, ...values: SQLInputValue[]) => {
    if (/^CREATE/.test(statement)) database.exec(statement);
    const rows = /^CREATE/.test(statement) ? [] : database.prepare(statement).all(...values);
    return { toArray: () => rows };
  };
  const setAlarm = (at: number) => Promise.resolve(void (disk.alarm = at));
  return { sql: { exec }, getAlarm: () => Promise.resolve(disk.alarm), setAlarm };
}

export class World {
  readonly disks = new Map<string, Disk>();
  readonly shards = new Map<string, OAuthStore>();
  readonly env: Record<string, unknown>;
  /** What the objects of users were told: name and body. */
  readonly told: { name: string; hop: unknown }[] = [];
  /** What they say to it. */
  taken: (name: string, init: RequestInit) => Promise<Response> = () => Promise.resolve(Response.json({ Ok: "Done" }));

  constructor(env: Record<string, unknown> = {}) {
    const take = (name: string) => (_: string, init: RequestInit) => {
      this.told.push({ name, hop: JSON.parse(String(init.body)) });
      return this.taken(name, init);
    };
    const ROUTER = { getByName: (name: string) => ({ fetch: take(name) }) };
    this.env = { ORIGIN, KEYRING: "a=x", OAUTH: { getByName: (name: string) => this.shard(name) }, ROUTER, ...env };
  }

  shard(name: string): OAuthStore {
    const known = this.shards.get(name);
    if (known) return known;
    const context = { id: { name }, storage: storage(this.disk(name)) };
    const shard = new OAuthStore(context as never, this.env as never);
    // A stub takes an address, too.
    const own = shard.fetch.bind(shard);
    shard.fetch = (request: Request | string, init?: RequestInit) => own(new Request(request, init));
    this.shards.set(name, shard);
    return shard;
  }

  disk(name: string): Disk {
    const disk = this.disks.get(name) ?? { database: new DatabaseSync(":memory:"), alarm: null };
    this.disks.set(name, disk);
    return disk;
  }

  /** The alarms that are due, each once. Says how many there were. */
  async ring(): Promise<number> {
    const due = [...this.disks].filter(([, { alarm }]) => alarm !== null && alarm <= Date.now());
    for (const [name, disk] of due) {
      disk.alarm = null;
      await this.shard(name).alarm();
    }
    return due.length;
  }

  /** Every object loses its memory. */
  evict(): void {
    this.shards.clear();
  }

  /** Every row of every shard, as text. */
  rows(): string {
    const tables = "SELECT name FROM sqlite_master WHERE type = 'table'";
    const all = [...this.disks.values()].flatMap(({ database }) =>
      database.prepare(tables).all().map(({ name }) => database.prepare(`SELECT * FROM ${String(name)}`).all()),
    );
    return JSON.stringify(all);
  }

  send(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (typeof init.body === "string") headers.set("content-length", String(Buffer.byteLength(init.body)));
    const entry = new Entry({} as never, this.env as never);
    return entry.fetch(new Request(new URL(path, ORIGIN), { ...init, headers }));
  }

  helpers(path = "/mcp"): OAuthHelpers {
    new Entry({} as never, this.env as never).fetch(new Request(`${ORIGIN}/`)).catch(() => undefined);
    return (this.env as { OAUTH_FOR: (origin: string, resource: string) => OAuthHelpers }).OAUTH_FOR(ORIGIN, ORIGIN + path);
  }

  async register(): Promise<string> {
    const asked = { client_name: "T", redirect_uris: [CALLBACK], token_endpoint_auth_method: "none" };
    const headers = { "content-type": "application/json" };
    const response = await this.send("/oauth/register", { method: "POST", headers, body: JSON.stringify(asked) });
    return ((await response.json()) as { client_id: string }).client_id;
  }

  /** A code, as the consent page gets it. */
  async code(client: string, user: string, path = "/mcp"): Promise<string> {
    const challenge = createHash("sha256").update(VERIFIER).digest("base64url");
    const query = new URLSearchParams({ response_type: "code", client_id: client, redirect_uri: CALLBACK, state: "s",
      code_challenge: challenge, code_challenge_method: "S256", resource: ORIGIN + path });
    const helpers = this.helpers(path);
    const request = await helpers.parseAuthRequest(new Request(`${ORIGIN}/authorize?${query.toString()}`));
    const [scope, props] = [["mcp:read"], { scope: null }];
    const options = { request, userId: user, scope, props, metadata: { name: "T" }, revokeExistingGrants: false };
    const { redirectTo } = await helpers.completeAuthorization(options);
    return new URL(redirectTo).searchParams.get("code") ?? "";
  }

  async token(fields: Record<string, string>): Promise<Record<string, unknown> & { status: number }> {
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const body = new URLSearchParams(fields).toString();
    const response = await this.send("/oauth/token", { method: "POST", headers, body });
    const text = await response.text();
    return { status: response.status, ...(text ? (JSON.parse(text) as Record<string, unknown>) : {}) };
  }

  redeem(client: string, code: string, more: Record<string, string> = {}) {
    return this.token({ grant_type: "authorization_code", client_id: client, code, code_verifier: VERIFIER, ...more });
  }

  refresh(client: string, token: unknown, more: Record<string, string> = {}) {
    return this.token({ grant_type: "refresh_token", client_id: client, refresh_token: String(token), ...more });
  }

  async grants(user: string): Promise<GrantSummary[]> {
    return (await this.helpers().listUserGrants(user)).items;
  }
}

/** A user who has let a client in. */
export async function begin(path = "/mcp", user = ALICE) {
  const world = new World();
  const client = await world.register();
  const tokens = await world.redeem(client, await world.code(client, user, path));
  assert.equal(tokens.status, 200);
  return { world, client, tokens };
}
