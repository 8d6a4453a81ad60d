// The job with version 1 of the official TypeScript client: typescript-1.mjs URL KEY handshake.
// Owns how that library connects and calls; it knows the handshake era only.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { REQUEST_MS, key, run } from './job.mjs';

const timeout = REQUEST_MS;

await run('typescript-1', async url => {
  const client = new Client({ name: 'typescript-1', version: '1.0.0' });
  const requestInit = { headers: { authorization: `Bearer ${key}` } };
  const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit });
  await client.connect(transport, { timeout });
  return {
    client,
    revision: transport.protocolVersion,
    session: () => transport.sessionId,
    call: (name, args, { meta, onprogress } = {}) =>
      client.callTool({ name, arguments: args, _meta: meta }, undefined, { onprogress, timeout }),
    onLog: handler =>
      client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => {
        handler(params);
      }),
    end: async () => {
      await transport.terminateSession();
      await client.close();
    },
  };
});
