// A client that gets in by OAuth with version 2 of the official TypeScript library, and what its token
// is good for. Owns what it registers as, and a plain request of 2026-07-28; who its user is, and how
// they answer, belongs to the script that brings it.
import assert from 'node:assert/strict';
import { auth } from '@modelcontextprotocol/client';

const REVISION = '2026-07-28';
const STATE = 'state-1';
export const CLIENT_NAME = 'A test <b>client</b>';

/**
 * A client of a server that knows nothing yet. `browse` takes the address that its user is sent to, and
 * says with what they were sent back to `redirectUrl`. It registers, unless a document about itself is at
 * `clientMetadataUrl`.
 */
export function client(serverUrl, redirectUrl, browse, clientMetadataUrl) {
  const known = {};
  const store = name => ({ get: () => known[name], set: value => void (known[name] = value) });
  const [registered, tokens, verifier, discovery] = ['client', 'tokens', 'verifier', 'discovery'].map(store);
  const provider = {
    redirectUrl,
    clientMetadataUrl,
    clientMetadata: {
      client_name: CLIENT_NAME,
      redirect_uris: [redirectUrl],
      grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: 'none',
    },
    clientInformation: registered.get,
    saveClientInformation: registered.set,
    tokens: tokens.get,
    saveTokens: tokens.set,
    codeVerifier: verifier.get,
    saveCodeVerifier: verifier.set,
    discoveryState: discovery.get,
    saveDiscoveryState: discovery.set,
    state: () => STATE,
    redirectToAuthorization: async url => {
      known.answer = await browse(url);
    },
  };
  /** What its user was sent back with. */
  const asks = async () => {
    assert.equal(await auth(provider, { serverUrl }), 'REDIRECT');
    assert.equal(known.answer.get('state'), STATE);
    assert.equal(known.answer.get('iss'), new URL(serverUrl).origin);
    return known.answer;
  };
  /** The tokens for what they were sent back with. */
  const redeems = async () => {
    const [authorizationCode, iss] = ['code', 'iss'].map(name => known.answer.get(name));
    assert.equal(await auth(provider, { serverUrl, authorizationCode, iss }), 'AUTHORIZED');
    return known.tokens;
  };
  return { known, provider, asks, redeems, refreshes: () => auth(provider, { serverUrl }) };
}

/** Sends one request of 2026-07-28. */
export function request(token, url, method = 'tools/list', params = {}) {
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': REVISION,
    'io.modelcontextprotocol/clientCapabilities': {},
    'io.modelcontextprotocol/clientInfo': { name: 'oauth', version: '1' },
  };
  const headers = {
    authorization: `Bearer ${token}`,
    accept: 'application/json, text/event-stream',
    'content-type': 'application/json',
    'mcp-protocol-version': REVISION,
    'mcp-method': method,
    ...(params.name && { 'mcp-name': params.name }),
  };
  const message = { jsonrpc: '2.0', id: 1, method, params: { ...params, _meta } };
  return fetch(url, { method: 'POST', headers, body: JSON.stringify(message) });
}
