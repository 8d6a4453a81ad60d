// The store's: which grants have ended that their users' McpRouters have not heard of. Each is told until it takes it:
// it refuses the grant's tokens, whoever still knows them, and ends what runs by it. This must not know why it ended.
import { TELLS_MAX, TELL_MS, TELL_TRIES_MAX, TELL_WAIT_MS_MAX } from "./limits.ts";

/** The objects of users. */
export interface Told {
  ROUTER: DurableObjectNamespace;
}

type Run = <T extends Record<string, SqlStorageValue>>(statement: string, ...values: SqlStorageValue[]) => T[];

/** By the keys of the grants. */
export const UNTOLD = `CREATE TABLE IF NOT EXISTS untold (
    k TEXT PRIMARY KEY, tries INTEGER NOT NULL, at INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS untold_at ON untold (at);`;
const ACCOUNT_URL = "https://router/hop/account";

export class Untold {
  readonly #run: Run;
  readonly #env: Told;

  constructor(run: Run, env: Told) {
    [this.#run, this.#env] = [run, env];
  }

  /** Called in the step in which the grant goes, so that neither is stored without the other. */
  add(key: string): void {
    this.#run("INSERT OR IGNORE INTO untold VALUES (?, 0, ?)", key, Date.now());
  }

  /** Where it has to be known it is. */
  remove(key: string): void {
    this.#run("DELETE FROM untold WHERE k = ?", key);
  }

  /** When there is something to tell; null where there is nothing. */
  next(): number | null {
    return this.#run<{ at: number }>("SELECT at FROM untold ORDER BY at LIMIT 1")[0]?.at ?? null;
  }

  /** Tells some that are due, the longest due first: whoever does not take it is behind all others then. */
  async tellDue(): Promise<void> {
    // By then nobody knows a token of it any more that would have to be refused.
    this.#run("DELETE FROM untold WHERE tries >= ?", TELL_TRIES_MAX);
    const due = "SELECT k FROM untold WHERE at <= ? ORDER BY at LIMIT ?";
    await Promise.all(this.#run<{ k: string }>(due, Date.now(), TELLS_MAX).map(({ k }) => this.tell(k)));
  }

  /** Tells one, if it is due. It fails for nobody: what is not taken is due again, after twice as long each time. */
  async tell(key: string): Promise<void> {
    const now = Date.now();
    // Before it is told, so that nobody else tells it meanwhile.
    const later = "UPDATE untold SET tries = tries + 1, at = ? + MIN(? << MIN(tries, 20), ?)";
    const values = [now, TELL_MS, TELL_WAIT_MS_MAX, key, now];
    if (this.#run(`${later} WHERE k = ? AND at <= ? RETURNING k`, ...values).length === 0) return;
    try {
      await tell(this.#env, key);
      this.remove(key);
    } catch (error) {
      warn(error);
    }
  }
}

/** What no client is told. */
export function warn(error: unknown): void {
  console.warn(JSON.stringify({ level: "warn", place: "oauth", detail: String(error) }));
}

/** The hop is `identity::account::Hop`, the object's name that of `UserId::object_name`. */
async function tell(env: Told, key: string): Promise<void> {
  const [, name = "", grant] = key.split(":");
  const user = calledBy(name);
  const router = env.ROUTER.getByName(user.replaceAll("%", "%25").replaceAll(":", "%3A"));
  const body = JSON.stringify({ user, request: { end_grant: { grant } } });
  const answer = await router.fetch(ACCOUNT_URL, { method: "POST", body, signal: AbortSignal.timeout(TELL_MS) });
  const said = await answer.json<{ Err?: { detail?: string } }>();
  if (!("Ok" in said)) throw new Error(`a grant's end was not taken: ${said.Err?.detail ?? ""}`);
}

/** The user as the library names them (`identity::grant::name`): base64url of what they are called. */
function calledBy(name: string): string {
  const bytes = atob(name.replaceAll("-", "+").replaceAll("_", "/"));
  return new TextDecoder().decode(Uint8Array.from(bytes, (sign) => sign.charCodeAt(0)));
}
