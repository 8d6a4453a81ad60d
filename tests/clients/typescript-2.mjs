// The job with version 2 of the official TypeScript client, in the era it is told:
// typescript-2.mjs URL KEY handshake|modern. Owns how that library connects and calls.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { REQUEST_MS, era, key, run } from './job.mjs';

const timeout = REQUEST_MS;
// Neither falls back to the other.
const mode = era === 'modern' ? { pin: '2026-07-28' } : 'legacy';

// It shows this code for a missing resource in both eras, whichever the server sent.
const notFound = -32602;

async function open(url) {
  const about = { name: 'typescript-2', version: '1.0.0' };
  const client = new Client(about, { versionNegotiation: { mode } });
  const requestInit = { headers: { authorization: `Bearer ${key}` } };
  const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit });
  await client.connect(transport, { timeout });
  return {
    client,
    revision: client.getNegotiatedProtocolVersion(),
    session: () => transport.sessionId,
    call: (name, args, { meta, onprogress } = {}) =>
      client.callTool({ name, arguments: args, _meta: meta }, { onprogress, timeout }),
    onLog: handler =>
      client.setNotificationHandler('notifications/message', ({ params }) => handler(params)),
    end: async () => {
      if (era === 'handshake') await transport.terminateSession();
      await client.close();
    },
  };
}

await run('typescript-2', open, notFound);
