// The Worker's entry: what belongs to OAuth goes to the library, all else to Rust as it came. It must not know MCP,
// users or pages.
import { Agent, McpRouter, default as Rust } from "signalbox:rust";
import { REQUEST_BYTES_MAX } from "./limits.ts";
import { heldIn } from "./held.ts";
import { originOf, type Known } from "./origin.ts";
import { helpersOf, kept, serverOf, shardOf, type Shard } from "./server.ts";
import { OAuthStore, type Bindings } from "./store.ts";

export { Agent, McpRouter, OAuthStore };

/** What this reads of the environment, and what it gives to Rust. */
interface Settings extends Bindings, Known {
  OAUTH_FOR?: (origin: string, resource: string) => ReturnType<typeof helpersOf>;
}

const METADATA = "/.well-known/oauth-authorization-server";
const PATHS = ["/oauth/token", "/oauth/register", METADATA];
// Nothing here goes by a cookie, so any page may read it; clients that run in a browser must.
const CORS = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "GET, POST, OPTIONS",
  "access-control-allow-headers": "authorization, content-type, mcp-protocol-version",
  "access-control-max-age": "7200",
};

async function answer(request: Request, env: Bindings, ctx: ExecutionContext, address: string): Promise<Response> {
  if (request.method === "OPTIONS") return new Response(null, { status: 204 });
  const { origin, pathname } = new URL(address);
  const init: RequestInit = { method: request.method, headers: new Headers(request.headers) };
  if (request.method === "POST") {
    // Clients know how long a form is, and say so.
    const length = Number(request.headers.get("content-length") ?? Infinity);
    if (!(length <= REQUEST_BYTES_MAX)) return Response.json({ error: "invalid_request" }, { status: 413 });
    const body = await request.text();
    const held = pathname === "/oauth/token" ? await heldIn(new URLSearchParams(body)) : null;
    if (held) return env.OAUTH.getByName(shardOf(held.key)).fetch(address, { ...init, body });
    init.body = body;
  }
  const shards = kept((name): Shard => env.OAUTH.getByName(name));
  const response = await serverOf(origin, `${origin}/mcp`).fetch(new Request(address, init), { OAUTH_KV: shards }, ctx);
  if (pathname !== METADATA || !response.ok || request.method === "HEAD") return response;
  // The server that was asked knows of one resource, and would say that there is no other.
  const { protected_resources: _, ...metadata } = await response.json<Record<string, unknown>>();
  return Response.json(metadata);
}

export default class Entry extends Rust<Settings> {
  override fetch(request: Request): Promise<Response> {
    const { env } = this;
    env.OAUTH_FOR ??= helpersOf.bind(null, (name): Shard => env.OAUTH.getByName(name));
    // All other requests, which are most, cost no more than these two comparisons.
    const at = request.url.indexOf("/", "https://".length);
    if (!request.url.startsWith("/oauth/", at) && !request.url.startsWith(METADATA, at)) return super.fetch(request);
    const url = new URL(request.url);
    const origin = originOf(env, url);
    const isOurs = origin !== null && PATHS.includes(url.pathname);
    return isOurs ? this.#answer(request, origin + url.pathname) : super.fetch(request);
  }

  async #answer(request: Request, address: string): Promise<Response> {
    const response = await answer(request, this.env, this.ctx, address).catch((error: unknown) => {
      console.error(JSON.stringify({ level: "error", place: "oauth", detail: String(error) }));
      return Response.json({ error: "temporarily_unavailable" }, { status: 503, headers: { "retry-after": "1" } });
    });
    const headers = new Headers(response.headers);
    for (const [name, value] of Object.entries(CORS)) headers.set(name, value);
    return new Response(response.body, { status: response.status, headers });
  }
}
