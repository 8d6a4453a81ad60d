// What worker-build makes of the crates, as the bundler finds it.
declare module "signalbox:rust" {
  import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";
  export class McpRouter extends DurableObject {}
  export class Agent extends DurableObject {}
  export default class Rust<Env> extends WorkerEntrypoint<Env> {
    override fetch(request: Request): Promise<Response>;
  }
}
