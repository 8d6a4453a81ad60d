// An authorization server on loopback that signs whatever it is told to: issuer.mjs. Prints `ready URL`; URL is
// the issuer. Owns the keys `rsa`, `ec`, `new` (RSA) and `secret` (RSA, never published); must not know who
// trusts it.
//
//   GET  /keys      the keys that are published: rsa and ec at first
//   GET  /asked     how often they were asked for
//   POST /publish   [KID, ...]: publishes these from now on
//   POST /sign      { key, header, claims, alter }: a JWT. `key` is one of the keys, `none` for no signature, or
//                   `hmac` for one by the text of the published RSA key; `alter` is a part that is changed after
import { constants, createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 });
const keys = {
  rsa: rsa(),
  ec: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  new: rsa(),
  secret: rsa(),
};
let published = ['rsa', 'ec'];
let asked = 0;

const jwk = kid => ({ ...keys[kid].publicKey.export({ format: 'jwk' }), kid, use: 'sig' });
const part = value => Buffer.from(JSON.stringify(value)).toString('base64url');

function signature(key, algorithm, text) {
  const bytes = Buffer.from(text);
  if (key === 'none') return Buffer.alloc(0);
  if (key === 'hmac') return createHmac('sha256', keys.rsa.publicKey.export({ type: 'spki', format: 'pem' })).update(bytes).digest();
  const { privateKey } = keys[key];
  const padding = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
  const how = key === 'ec' ? { dsaEncoding: 'ieee-p1363' } : algorithm.startsWith('PS') ? padding : {};
  const digest = algorithm.endsWith('384') ? 'sha384' : 'sha256';
  return sign(digest, bytes, { key: privateKey, ...how });
}

function signed({ key, header, claims, alter }) {
  // A public key in the header is the signer's own.
  if (header.jwk) header.jwk = jwk(key);
  const text = `${part(header)}.${part(claims)}`;
  const parts = [...text.split('.'), signature(key, header.alg, text).toString('base64url')];
  if (alter === 'claims') parts[1] = part({ ...claims, sub: 'mallory' });
  if (alter === 'header') parts[0] = part({ ...header, more: 1 });
  if (alter === 'signature') parts[2] = (parts[2][0] === 'A' ? 'B' : 'A') + parts[2].slice(1);
  if (alter === 'der') parts[2] = sign('sha256', Buffer.from(text), keys.ec.privateKey).toString('base64url');
  return parts.join('.');
}

async function body(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return JSON.parse(Buffer.concat(pieces).toString());
}

const server = createServer(async (request, response) => {
  const json = value => response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
  switch (request.url) {
    case '/.well-known/oauth-authorization-server': return json({ issuer, jwks_uri: `${issuer}/keys` });
    case '/keys':
      asked += 1;
      return json({ keys: published.map(jwk) });
    case '/asked': return json(asked);
    case '/publish':
      published = await body(request);
      return json(published);
    case '/sign': return response.end(signed(await body(request)));
    default: return response.writeHead(404).end();
  }
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;
console.log(`ready ${issuer}`);
