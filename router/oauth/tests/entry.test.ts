// What goes to the library and what to Rust; and that there is no OAuth where nobody has set it up.
import assert from "node:assert/strict";
import { test } from "node:test";
import { originOf } from "../origin.ts";
import { REQUEST_BYTES_MAX } from "../limits.ts";
import { ORIGIN, World } from "./world.ts";

const METADATA = "/.well-known/oauth-authorization-server";
const isRust = async (response: Response) => response.status === 404 && (await response.text()).startsWith("rust ");

test("where a deployment is known by", () => {
  const origin = (env: Record<string, string | null>, url: string) => originOf({ KEYRING: "a=x", ...env }, new URL(url));
  assert.equal(origin({}, "http://localhost:8787/x"), "http://localhost:8787");
  assert.equal(origin({}, "http://[::1]:1/x"), "http://[::1]:1");
  assert.equal(origin({}, "https://x.test/"), null);
  assert.equal(origin({ ORIGIN: null }, "https://localhost.x.test/"), null);
  assert.equal(origin({ ORIGIN }, "https://y.test/"), ORIGIN);
  assert.equal(origin({ ORIGIN: "https://X.test" }, "https://x.test/"), null);
  assert.equal(origin({ ORIGIN: `${ORIGIN}/` }, "https://x.test/"), null);
  assert.equal(origin({ ORIGIN: "x" }, "https://x.test/"), null);
  assert.equal(origin({ ORIGIN, KEYRING: "" }, "https://x.test/"), null);
  assert.equal(origin({ ORIGIN, KEYRING: null }, "https://x.test/"), null);
  assert.equal(origin({ ORIGIN, ALLOWED_HOSTS: "y.test, X.test" }, "https://x.test:8443/"), ORIGIN);
  assert.equal(origin({ ORIGIN, ALLOWED_HOSTS: "y.test" }, "https://x.test/"), null);
});

test("only these paths are OAuth's", async () => {
  const world = new World();
  for (const path of ["/oauth/token", "/oauth/register", METADATA]) {
    assert.ok(!(await isRust(await world.send(path))), path);
    assert.ok(await isRust(await new World({ KEYRING: null }).send(path)), path);
    assert.ok(await isRust(await new World({ ALLOWED_HOSTS: "y.test" }).send(path)), path);
  }
  // The issuer has no path (RFC 8414, 3.1), and there is no OpenID Connect.
  const others = ["/", "/mcp", "/oauth/", "/oauth/token/", "/oauth/authorize", `${METADATA}/mcp`, "/x?y=/oauth/token"];
  for (const path of [...others, "/.well-known/openid-configuration"])
    assert.ok(await isRust(await world.send(path)), path);
});

test("the metadata says what there is, at the origin that is configured", async () => {
  const response = await new World().send(`http://other.test${METADATA}`, { headers: { origin: "https://page.test" } });
  assert.equal(response.headers.get("access-control-allow-origin"), "*");
  assert.equal(response.headers.get("access-control-allow-credentials"), null);
  const metadata = (await response.json()) as Record<string, unknown>;
  assert.equal(metadata["issuer"], ORIGIN);
  assert.equal(metadata["authorization_endpoint"], `${ORIGIN}/authorize`);
  assert.equal(metadata["token_endpoint"], `${ORIGIN}/oauth/token`);
  assert.deepEqual(metadata["code_challenge_methods_supported"], ["S256"]);
  assert.equal(metadata["client_id_metadata_document_supported"], true);
  assert.ok(!("protected_resources" in metadata));
});

test("a page is told what it may send", async () => {
  const response = await new World().send("/oauth/token", { method: "OPTIONS", headers: { origin: "https://page.test" } });
  assert.equal(response.status, 204);
  assert.match(response.headers.get("access-control-allow-headers") ?? "", /content-type/);
});

test("a request has a length, and a bound", async () => {
  const world = new World();
  const post = (body: string) => world.send("/oauth/token", { method: "POST", body });
  assert.equal((await post("x".repeat(REQUEST_BYTES_MAX + 1))).status, 413);
  assert.equal((await post("x")).status, 400);
  const body = new ReadableStream({ start: (to) => { to.close(); } });
  const init = { method: "POST", body, duplex: "half" } as RequestInit;
  assert.equal((await world.send("/oauth/token", init)).status, 413);
});

test("a store that fails is no answer, and says nothing of why", async (context) => {
  const log = context.mock.method(console, "error", () => undefined);
  const OAUTH = { getByName: () => ({ get: () => { throw new Error("secret"); } }) };
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  const body = "grant_type=refresh_token&client_id=x&refresh_token=y";
  const response = await new World({ OAUTH }).send("/oauth/token", { method: "POST", headers, body });
  assert.deepEqual([response.status, await response.json()], [503, { error: "temporarily_unavailable" }]);
  assert.equal(log.mock.callCount(), 1);
});
