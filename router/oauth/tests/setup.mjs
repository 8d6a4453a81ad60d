// What the platform and the crates are to the tests: modules that only the runtime or the bundler has.
import { registerHooks } from "node:module";

const PARTS = {
  "cloudflare:workers": `
    class Part { constructor(ctx, env) { Object.assign(this, { ctx, env }); } }
    export { Part as DurableObject, Part as WorkerEntrypoint };`,
  "signalbox:rust": `
    export class Agent {}
    export class McpRouter {}
    export default class {
      constructor(ctx, env) { Object.assign(this, { ctx, env }); }
      fetch(request) { return Promise.resolve(new Response("rust " + request.url, { status: 404 })); }
    }`,
};

registerHooks({
  resolve: (name, context, next) => (name in PARTS ? { url: name, shortCircuit: true } : next(name, context)),
  load: (url, context, next) =>
    url in PARTS ? { format: "module", source: PARTS[url], shortCircuit: true } : next(url, context),
});
globalThis.Cloudflare = { compatibilityFlags: { global_fetch_strictly_public: true } };
// What is refused in a test on purpose is no news.
console.warn = () => undefined;
