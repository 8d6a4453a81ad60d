// The store of the library as Durable Objects: a fixed number of shards, each with its own SQLite. Token requests are
// answered in the shard of their user, one at a time. It must not know what stands in front of it.
import type { Grant } from "@cloudflare/workers-oauth-provider";
import { DurableObject } from "cloudflare:workers";
import { CLIENTS_MAX, CLIENT_S, GRANTS_MAX, PROVE_MS, RETRIES_MAX, RETRY_MS, SPENT_MAX, SWEEP_MS, TOKENS_MAX,
  UNPROVEN_S, WAITING_MAX } from "./limits.ts";
import { UNTOLD, Untold, warn, type Told } from "./ended.ts";
import { hashOf, heldIn, type Held } from "./held.ts";
import { kept, serverOf, type Listed, type Options, type Page, type Shard } from "./server.ts";

export interface Bindings extends Told {
  OAUTH: DurableObjectNamespace<OAuthStore>;
}

const TABLES = `CREATE TABLE IF NOT EXISTS kv (k TEXT PRIMARY KEY, v TEXT NOT NULL, m TEXT, e INTEGER);
  CREATE TABLE IF NOT EXISTS spent (h TEXT PRIMARY KEY, k TEXT NOT NULL, at INTEGER NOT NULL, e INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS newest (n INTEGER PRIMARY KEY, k TEXT NOT NULL, e INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS kv_e ON kv (e); CREATE INDEX IF NOT EXISTS spent_k ON spent (k, at); ${UNTOLD}`;
const END = "\uffff";

export class OAuthStore extends DurableObject<Bindings> implements Shard {
  readonly #sql = this.ctx.storage.sql;
  readonly #kept = kept((name) => (name === this.ctx.id.name ? this : this.env.OAUTH.getByName(name)));
  readonly #turns = new Map<string, { last: Promise<unknown>; waiting: number }>();
  // Answers hold tokens in clear, so they are nowhere but here.
  readonly #answers = new Map<string, { until: number; request: string; next: string | undefined; text: string }>();
  readonly #untold = new Untold((statement, ...values) => this.#run(statement, ...values), this.env);
  // Who only asks makes nothing: there are no tables before there is a row. What is new since gets made beside them.
  #isMade = this.#sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'kv'").toArray().length > 0 && this.#make();

  #make(): true {
    this.#sql.exec(TABLES);
    return true;
  }

  #run<T extends Record<string, SqlStorageValue>>(statement: string, ...values: SqlStorageValue[]): T[] {
    return this.#isMade ? this.#sql.exec<T>(statement, ...values).toArray() : [];
  }

  get(key: string, options?: { type?: string }): unknown {
    const alive = "SELECT v FROM kv WHERE k = ? AND (e IS NULL OR e > ?)";
    const text = this.#run<{ v: string }>(alive, key, Date.now() / 1000)[0]?.v ?? null;
    return text !== null && options?.type === "json" ? JSON.parse(text) : text;
  }

  async put(key: string, value: string, { expiration, expirationTtl, metadata }: Options = {}): Promise<void> {
    this.#isMade ||= this.#make();
    const ttl = expirationTtl === undefined ? null : Math.floor(Date.now() / 1000) + expirationTtl;
    const listed = metadata === undefined ? null : JSON.stringify(metadata);
    const expires = key.startsWith("client:") ? this.#endOfClient(key) : (expiration ?? ttl);
    this.#run("INSERT OR REPLACE INTO kv VALUES (?, ?, ?, ?)", key, value, listed, expires);
    const prefix = key.slice(0, key.lastIndexOf(":") + 1);
    const most = { grant: GRANTS_MAX, token: TOKENS_MAX }[key.split(":")[0] ?? ""] ?? null;
    const older = "SELECT k FROM kv WHERE k > ? AND k < ? ORDER BY rowid DESC LIMIT -1 OFFSET ?";
    if (most !== null) for (const { k } of this.#run<{ k: string }>(older, prefix, prefix + END, most)) this.delete(k);
    await this.#wake();
  }

  /**
   * Until when a client stays: a new one for a day, one that is written again as long as before. Anybody may make new
   * ones, so those before the newest go, unless they have got a token since. For that nothing is counted.
   */
  #endOfClient(key: string): number | null {
    const known = this.#run<{ e: number | null }>("SELECT e FROM kv WHERE k = ?", key)[0];
    if (known) return known.e;
    const end = Math.floor(Date.now() / 1000) + UNPROVEN_S;
    const [added] = this.#run<{ n: number }>("INSERT INTO newest (k, e) VALUES (?, ?) RETURNING n", key, end);
    const last = (added?.n ?? 0) - CLIENTS_MAX;
    const before = this.#run<{ k: string }>("DELETE FROM newest WHERE n <= ? RETURNING k", last);
    for (const { k } of before) this.#run("DELETE FROM kv WHERE k = ? AND e <= ?", k, end);
    return end;
  }

  touch(key: string, until: number): void {
    this.#run("UPDATE kv SET e = MAX(e, ?) WHERE k = ?", until, key);
  }

  /** With a grant goes whatever hangs on it, and its user's McpRouter is to hear of it. */
  delete(key: string): void {
    const gone = this.#run("DELETE FROM kv WHERE k = ? RETURNING k", key);
    if (!key.startsWith("grant:")) return;
    if (gone.length > 0) this.#untold.add(key);
    const tokens = `${key.replace("grant", "token")}:`;
    this.#run("DELETE FROM kv WHERE k > ? AND k < ?", tokens, tokens + END);
    this.#run("DELETE FROM spent WHERE k = ?", key);
  }

  list({ prefix, limit, cursor }: Listed): Page {
    const [from, most] = [prefix ?? "", limit ?? 1000];
    const alive = "SELECT k, m FROM kv WHERE k >= ? AND k < ? AND k > ? AND (e IS NULL OR e > ?) ORDER BY k LIMIT ?";
    const values = [from, from + END, cursor ?? "", Date.now() / 1000, most];
    const rows = this.#run<{ k: string; m: string | null }>(alive, ...values);
    const keys = rows.map(({ k, m }) => ({ name: k, ...(m !== null && { metadata: JSON.parse(m) as unknown }) }));
    const last = rows.length < most ? undefined : rows.at(-1)?.k;
    return last === undefined ? { keys, list_complete: true } : { keys, list_complete: false, cursor: last };
  }

  /**
   * Ends a grant between two token requests: one that runs would write it again. Whoever wants that has told the user's
   * McpRouter first, and it would have to look through all that runs once more.
   */
  async end(user: string, grant: string): Promise<void> {
    const key = `grant:${user}:${grant}`;
    await this.#turn(user, () => {
      this.delete(key);
      this.#untold.remove(key);
      return Promise.resolve();
    });
  }

  override async alarm(): Promise<void> {
    const now = Date.now() / 1000;
    // Looked for by their end, of which there is an index: there are few.
    const grants = "SELECT k FROM kv WHERE e <= ? AND substr(k, 1, 6) = 'grant:'";
    for (const { k } of this.#run<{ k: string }>(grants, now)) this.delete(k);
    for (const table of ["kv", "spent", "newest"]) this.#run(`DELETE FROM ${table} WHERE e <= ?`, now);
    await this.#untold.tellDue();
    await this.#wake();
  }

  /** The one alarm of the object is for what is due first: to tell that a grant ended, or to sweep. */
  async #wake(): Promise<void> {
    const tells = this.#untold.next();
    if (tells === null && this.#run("SELECT 1 FROM kv LIMIT 1").length === 0) return;
    const [at, set] = [tells ?? Date.now() + SWEEP_MS, await this.ctx.storage.getAlarm()];
    if (set === null || set > at) await this.ctx.storage.setAlarm(at);
  }

  /** Answers a token request. Who shows nothing that was given out here waits for nobody, and nobody for them. */
  override async fetch(request: Request): Promise<Response> {
    const form = new URLSearchParams(await request.text());
    const held = await heldIn(form);
    if (!held || !this.#isGiven(held)) return this.#ask(request, form, held);
    if ((this.#turns.get(held.user)?.waiting ?? 0) >= WAITING_MAX)
      return Response.json({ error: "temporarily_unavailable" }, { status: 429, headers: { "retry-after": "1" } });
    try {
      const { response, client } = await this.#turn(held.user, () => this.#answer(request, form, held));
      if (client !== undefined) await this.#prove(client);
      return response;
    } finally {
      // Before its client is told: from the next request on it is good nowhere. Where that fails it has ended all the
      // same and is told later, so the client has no reason to come again (RFC 7009, 2.1, allows for such a delay).
      await Promise.all([this.#untold.tell(held.key), this.#wake().catch(warn)]);
    }
  }

  /** The answer, and which client has proved itself by it. */
  async #answer(request: Request, form: URLSearchParams, held: Held) {
    const [wasGood, wasProven] = [this.get(held.token) !== null, this.#isProven(held)];
    const response = await (held.isRefresh ? this.#refresh(request, form, held) : this.#ask(request, form, held));
    // A client that gives a token back wants nothing more by it (RFC 7009, 2.1).
    if (wasGood && this.get(held.token) === null) this.delete(held.key);
    const isProving = response.ok && form.has("grant_type") && !wasProven;
    return { response, client: isProving ? this.#grant(held)?.clientId : undefined };
  }

  /** Whether a grant was refreshed today: then its client has been given its life already. */
  #isProven({ key }: Held): boolean {
    const last = this.#run<{ at: number | null }>("SELECT MAX(at) AS at FROM spent WHERE k = ?", key)[0]?.at ?? 0;
    return Math.floor(last / PROVE_MS) === Math.floor(Date.now() / PROVE_MS);
  }

  /** A client that got a token stays. It has it, whether its life is longer now or not: that of tomorrow sees to it. */
  async #prove(client: string): Promise<void> {
    try {
      await this.#kept.touch(`client:${client}`, Math.floor(Date.now() / 1000) + CLIENT_S);
    } catch (error) {
      warn(error);
    }
  }

  async #turn<T>(user: string, work: () => Promise<T>): Promise<T> {
    const turns = this.#turns.get(user) ?? { last: Promise.resolve(), waiting: 0 };
    this.#turns.set(user, turns);
    turns.waiting += 1;
    const result = turns.last.then(work, work);
    turns.last = result;
    return result.finally(() => {
      turns.waiting -= 1;
      if (turns.waiting === 0) this.#turns.delete(user);
    });
  }

  #grant = ({ key }: Held) => this.get(key, { type: "json" }) as Grant | null;
  #spentAt = ({ hash }: Held) => this.#run<{ at: number }>("SELECT at FROM spent WHERE h = ?", hash)[0]?.at;

  #isGiven(held: Held): boolean {
    const grant = this.#grant(held);
    const isKnown = [grant?.authCodeId, grant?.refreshTokenId, grant?.previousRefreshTokenId].includes(held.hash);
    return isKnown || this.#spentAt(held) !== undefined || this.get(held.token) !== null;
  }

  /** The library's answer. A client may write a resource in another case than it was granted in. */
  async #ask(request: Request, form: URLSearchParams, held: Held | null): Promise<Response> {
    const { origin } = new URL(request.url);
    const granted = held && this.#grant(held)?.resource;
    const resource = typeof granted === "string" ? granted : `${origin}/mcp`;
    const named = form.getAll("resource").map((each) => each.replace(/\/$/, "").toLowerCase());
    if (named.length === 1 && named[0] === resource.toLowerCase()) form.set("resource", resource);
    // What was ended is no grant, whatever it was for: clients start again when they are told so.
    if (held && typeof granted !== "string") form.delete("resource");
    const again = new Request(request.url, { method: "POST", headers: request.headers, body: form.toString() });
    return serverOf(origin, resource).fetch(again, { OAUTH_KV: this.#kept }, this.ctx as unknown as ExecutionContext);
  }

  /**
   * A refresh that is sent again within some seconds gets the same answer. A spent token that comes back later, or
   * after the next one was used, was stolen, or the next one was: its grant ends (RFC 9700, 4.14.2).
   */
  async #refresh(request: Request, form: URLSearchParams, held: Held): Promise<Response> {
    const { hash, key } = held;
    const [now, headers] = [Date.now(), { "content-type": "application/json", "cache-control": "no-store" }];
    const same = await hashOf(`${request.headers.get("authorization") ?? ""}\n${form.toString()}`);
    for (const [id, { until }] of this.#answers) if (until <= now) this.#answers.delete(id);
    const known = this.#answers.get(hash);
    if (known?.request === same) return new Response(known.text, { headers });
    const [spentAt, before] = [this.#spentAt(held), this.#grant(held)];
    const isLate = spentAt !== undefined && now >= spentAt + RETRY_MS;
    if (isLate || (spentAt !== undefined && before?.previousRefreshTokenId !== hash)) this.delete(key);
    const response = await this.#ask(request, form, held);
    if (!response.ok) return response;
    const [text, after] = [await response.text(), this.#grant(held)];
    // A token that was given out meanwhile and never used is good no more either.
    for (const id of new Set([before?.refreshTokenId ?? hash, hash])) {
      const expires = after?.expiresAt ?? Number.MAX_SAFE_INTEGER;
      this.#run("INSERT OR REPLACE INTO spent VALUES (?, ?, ?, ?)", id, key, now, expires);
    }
    const oldest = "SELECT h FROM spent WHERE k = ? ORDER BY at DESC, rowid DESC LIMIT -1 OFFSET ?";
    this.#run(`DELETE FROM spent WHERE h IN (${oldest})`, key, SPENT_MAX);
    // Whoever uses a token has got the answer that it came with.
    for (const [id, { next }] of this.#answers) if (next === hash) this.#answers.delete(id);
    const answer = { until: now + RETRY_MS, request: same, next: after?.refreshTokenId, text };
    if (this.#answers.size < RETRIES_MAX) this.#answers.set(hash, answer);
    return new Response(text, { headers });
  }
}
