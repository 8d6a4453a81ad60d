// The end of a grant, told to its user's McpRouter, which refuses its tokens whoever still knows them, and ends what
// runs by it. It must not know why it ended.

import { TELLS_MAX } from "./limits.ts";

/** The objects of users. */
export interface Told {
  ROUTER: DurableObjectNamespace;
}

const ACCOUNT_URL = "https://router/hop/account";

/** The user as the library names them (`identity::grant::name`): base64url of what they are called. */
function calledBy(name: string): string {
  const bytes = atob(name.replaceAll("-", "+").replaceAll("_", "/"));
  return new TextDecoder().decode(Uint8Array.from(bytes, (sign) => sign.charCodeAt(0)));
}

/** Tells it. The hop is `identity::account::Hop`, the object's name that of `UserId::object_name`. */
export async function tellEnd(env: Told, name: string, grant: string): Promise<void> {
  const user = calledBy(name);
  const router = env.ROUTER.getByName(user.replaceAll("%", "%25").replaceAll(":", "%3A"));
  const body = JSON.stringify({ user, request: { end_grant: { grant } } });
  // The grant is gone from the store by now: what is not told here is told by nobody.
  let failure: unknown;
  for (let tries = 0; tries < TELLS_MAX; tries += 1) {
    try {
      const answer = await router.fetch(ACCOUNT_URL, { method: "POST", body });
      const said = await answer.json<{ Err?: { detail?: string } }>();
      if ("Ok" in said) return;
      failure = new Error(`a grant's end was not taken: ${said.Err?.detail ?? ""}`);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}
