// What a token request shows: a code or a token, and of which user and grant it is. It must not know what is stored.

/** A code or a token of ours as the library makes them, and where the library keeps what it knows of it. */
export interface Held {
  user: string;
  grant: string;
  hash: string;
  key: string;
  token: string;
  isRefresh: boolean;
}

const SHAPE = /^([\w-]{1,1200}):([\w-]{16}):[\w-]{32}$/;
const FIELDS: Record<string, string> = { authorization_code: "code", refresh_token: "refresh_token", "": "token" };

/** As the library does: by the grant type, or for a revocation what is to be revoked. */
export async function heldIn(form: URLSearchParams): Promise<Held | null> {
  const field = FIELDS[form.get("grant_type") ?? ""] ?? "";
  const text = form.get(field) ?? "";
  const [, user, grant] = SHAPE.exec(text) ?? [];
  if (user === undefined || grant === undefined) return null;
  const [hash, of] = [await hashOf(text), `${user}:${grant}`];
  return { user, grant, hash, key: `grant:${of}`, token: `token:${of}:${hash}`, isRefresh: field === "refresh_token" };
}

/** As the library names tokens. */
export async function hashOf(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
