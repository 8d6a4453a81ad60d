// The platform's floor: a JavaScript Worker → object → object that echoes the body. Nothing is
// looked at on the way: what this takes, two tiers take on this platform whatever they do.
import { DurableObject } from "cloudflare:workers";

export default {
  fetch(request, env) {
    return env.FIRST.getByName("alice").fetch(request);
  },
};

export class First extends DurableObject {
  fetch(request) {
    return this.env.SECOND.getByName("alice").fetch(request);
  }
}

export class Second extends DurableObject {
  async fetch(request) {
    const body = await request.text();
    return new Response(body, { headers: { "content-type": "application/json" } });
  }
}
