// The authorization servers, one per resource, over the shards of the store. It must not know SQL, nor which paths
// are resources: whoever asks for one has made sure that it is.
import { OAuthAuthorizationServer, type OAuthHelpers } from "@cloudflare/workers-oauth-provider";
import { CLIENT_S, SERVERS_MAX, SHARDS } from "./limits.ts";

type Soon<T> = T | Promise<T>;
export type Listed = Pick<KVNamespaceListOptions, "prefix" | "limit" | "cursor">;
export type Options = Pick<KVNamespacePutOptions, "expiration" | "expirationTtl" | "metadata">;
export interface Page {
  keys: { name: string; metadata?: unknown }[];
  list_complete: boolean;
  cursor?: string;
}

/** One shard, here or elsewhere; all of them are what the library calls OAUTH_KV. */
export interface Shard {
  get(key: string, options?: { type?: string }): Soon<unknown>;
  put(key: string, value: string, options?: Options): Soon<void>;
  delete(key: string): Soon<void>;
  list(listed: Listed): Soon<Page>;
  end(user: string, grant: string): Soon<void>;
  /** What is at this key, if anything is, lives until then (in seconds) at least. */
  touch(key: string, until: number): Soon<void>;
}
export type Shards = (name: string) => Shard;

/** The name of the shard that a key belongs to: what is of one user is together. */
export function shardOf(key: string): string {
  const [kind, user] = key.split(":");
  const name = kind === "grant" || kind === "token" ? (user ?? "") : key;
  let hash = 7;
  for (const sign of name) hash = (hash * 31 + (sign.codePointAt(0) ?? 0)) >>> 0;
  return `shard-${String(hash % SHARDS)}`;
}

export function kept(shards: Shards) {
  const at = (key: string) => shards(shardOf(key));
  return {
    get: (key: string, options?: { type?: string }) => at(key).get(key, options),
    put: (key: string, value: string, options?: Options) => at(key).put(key, value, options),
    delete: (key: string) => at(key).delete(key),
    list: (listed: Listed) => at(listed.prefix ?? "").list(listed),
    touch: (key: string, until: number) => at(key).touch(key, until),
  };
}

type Server = OAuthAuthorizationServer<{ OAUTH_KV: ReturnType<typeof kept> }>;
const servers = new Map<string, Server>();

export function serverOf(issuer: string, resource: string): Server {
  const name = `${issuer} ${resource}`;
  const known = servers.get(name);
  if (known) return known;
  const [oldest] = servers.keys();
  if (servers.size >= SERVERS_MAX && oldest !== undefined) servers.delete(oldest);
  const server: Server = new OAuthAuthorizationServer({
    issuer,
    resources: [resource],
    clientRegistrationEndpoint: "/oauth/register",
    // What clients with a secret are told. How long one stays is the store's to say.
    clientRegistrationTTL: CLIENT_S,
    clientIdMetadataDocumentEnabled: true,
    scopesSupported: ["mcp:read", "mcp:write", "offline_access"],
    onError: ({ code, internal }) => {
      const { category, reason } = internal;
      console.warn(JSON.stringify({ level: "warn", place: "oauth", code, category, reason }));
    },
  });
  servers.set(name, server);
  return server;
}

/** What Rust asks of the library for one resource. A grant is ended where its token requests are answered. */
export function helpersOf(shards: Shards, issuer: string, resource: string): OAuthHelpers {
  const revokeGrant = async (grant: string, user: string) => shards(shardOf(`grant:${user}`)).end(user, grant);
  return Object.assign(serverOf(issuer, resource).getOAuthApi({ OAUTH_KV: kept(shards) }), { revokeGrant });
}
