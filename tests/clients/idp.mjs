// An OpenID provider that nobody here wrote, on loopback: idp.mjs [CLIENT ...], each the metadata of
// a client as JSON. Prints `ready URL`; URL is the issuer. Owns two accounts, alice and bob, and the
// one page that they sign in on: a form that is sent says `login`, and nothing is asked after that.
// What is said for a resource (RFC 8707) is a JWT for it, so the tokens are good for `issuers`, too.
//
//   PORT   0: any free one (0)
//
// A client is native unless it says otherwise: its redirects on loopback are good at any port. Any
// client may register itself. Refresh tokens rotate.
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const ACCOUNTS = {
  alice: { name: 'Alice Example', preferred_username: 'alice', email: 'same@example.com' },
  bob: { name: 'Bob Example', preferred_username: 'bob', email: 'same@example.com' },
};
const SCOPES = 'mcp:read mcp:write';

function key(kid, type, options) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig' };
}

const clients = process.argv.slice(2).map(text => ({
  application_type: 'native',
  grant_types: ['authorization_code', 'refresh_token'],
  ...JSON.parse(text),
}));

const server = createServer();
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients,
  jwks: { keys: [key('rsa', 'rsa', { modulusLength: 2048 }), key('ec', 'ec', { namedCurve: 'P-256' })] },
  cookies: { keys: ['only for tests'] },
  claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email'] },
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256'] },
  scopes: ['openid', 'offline_access', ...SCOPES.split(' ')],
  rotateRefreshToken: true,
  issueRefreshToken: async (_, client) => client.grantTypeAllowed('refresh_token'),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    registration: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: SCOPES,
        audience: resource,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, id) =>
    Object.hasOwn(ACCOUNTS, id) ? { accountId: id, claims: () => ({ sub: id, ...ACCOUNTS[id] }) } : undefined,
  // Whoever has signed in agrees to everything that is asked for.
  loadExistingGrant: async ctx => {
    const { client, session, params, provider } = ctx.oidc;
    const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope(params.scope ?? '');
    for (const resource of [params.resource ?? []].flat()) grant.addResourceScope(resource, SCOPES);
    await grant.save();
    return grant;
  },
});

function page(uid, client) {
  const buttons = Object.keys(ACCOUNTS).map(name => `<button name="login" value="${name}">${name}</button>`);
  return `<!doctype html><title>Local provider</title><h1>Sign in to ${client}</h1>
    <form method="post" action="/interaction/${uid}">${buttons.join(' ')} <button name="login" value="">No</button></form>`;
}

async function body(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return new URLSearchParams(Buffer.concat(pieces).toString());
}

async function interact(request, response) {
  const { uid, params, prompt } = await provider.interactionDetails(request, response);
  // A native client is asked about in any case: anybody could be it.
  if (prompt.name === 'consent') return provider.interactionFinished(request, response, { consent: {} });
  if (request.method !== 'POST') {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    return response.end(page(uid, encodeURIComponent(params.client_id)));
  }
  const login = (await body(request)).get('login');
  const result = Object.hasOwn(ACCOUNTS, login ?? '')
    ? { login: { accountId: login } }
    : { error: 'access_denied', error_description: 'the user said no' };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

const serve = provider.callback();
server.on('request', (request, response) => {
  if (!request.url.startsWith('/interaction/')) return serve(request, response);
  interact(request, response).catch(error => {
    response.statusCode = 400;
    response.end(error.message);
  });
});
console.log(`ready ${issuer}`);
