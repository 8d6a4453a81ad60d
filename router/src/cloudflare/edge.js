// What the entry and the router need of the platform's own objects, where going through Rust for
// every event would cost more than the event.

// A stream of bytes that says what a socket says, for as long as either side stays. A comment now
// and then shows that somebody is there, and finds out whether the client still is.
export function hold(socket, keepAliveMs, comment, backlog) {
  let timer;
  let hasEnded = false;
  const end = (finish) => {
    if (hasEnded) return;
    hasEnded = true;
    clearInterval(timer);
    finish();
  };
  const source = {
    start(controller) {
      const say = (text) => {
        if (hasEnded) return;
        // A client that does not read comes back for what it missed.
        if (controller.desiredSize < -backlog) {
          end(() => controller.error(new Error("the client does not read")));
          socket.close(1008);
          return;
        }
        controller.enqueue(encoder.encode(text));
      };
      socket.addEventListener("message", (event) => say(event.data));
      socket.addEventListener("close", () => end(() => controller.close()));
      socket.addEventListener("error", () => end(() => controller.close()));
      timer = setInterval(() => say(comment), keepAliveMs);
      socket.accept();
    },
    cancel() {
      end(() => socket.close(1000));
    },
  };
  // Nothing is asked for ahead, so that what waits is what the client has not read.
  return new ReadableStream(source, new ByteLengthQueuingStrategy({ highWaterMark: 0 }));
}

// Hands a request over to its router: what a router looks at, as one text (see `handover.rs`).
// Returns the router's response, null for a body that is too large, or why it broke off.
export async function handOver(router, url, request, caller, names, isLengthKnown, bytesMax) {
  const { headers, method } = request;
  let head = `${method}\n${request.url}\n${caller}\n`;
  for (const name of names) {
    const value = headers.get(name);
    head += value === null ? "\n" : `=${value}\n`;
  }
  // Only requests of the modern era have them, and these name their method.
  const found = headers.has("mcp-method") ? mirrors(headers) : [];
  head += `${found.length}\n${found.join("")}`;
  if (method !== "POST") return router.fetch(url, { method: "POST", body: head });
  let body;
  try {
    // A length beside pieces means nothing, and the platform does not show it.
    body = isLengthKnown
      ? new Uint8Array(await request.arrayBuffer())
      : await bounded(request.body, bytesMax);
  } catch (error) {
    return String(error);
  }
  if (body === null || body.byteLength > bytesMax) return null;
  // A unit of UTF-16 is three bytes at most.
  const whole = new Uint8Array(head.length * 3 + body.byteLength);
  const { written } = encoder.encodeInto(head, whole);
  whole.set(body, written);
  return router.fetch(url, { method: "POST", body: whole.subarray(0, written + body.byteLength) });
}

const encoder = new TextEncoder();

// The headers that mirror parameters: seldom any. Their names are fewer than what they say.
function mirrors(headers) {
  const found = [];
  for (const name of headers.keys()) {
    if (name.startsWith("mcp-param-")) found.push(`${name.slice(10)}=${headers.get(name)}\n`);
  }
  return found;
}

// All bytes of a body, or null where there are more than there may be. Pieces are copied: however
// small one is, the memory behind it may not be.
async function bounded(body, bytesMax) {
  let all = new Uint8Array(Math.min(65536, bytesMax));
  let length = 0;
  for await (const piece of body ?? []) {
    const needed = length + piece.byteLength;
    if (needed > bytesMax) return null;
    if (needed > all.byteLength) {
      const larger = new Uint8Array(Math.min(bytesMax, Math.max(needed, all.byteLength * 2)));
      larger.set(all.subarray(0, length));
      all = larger;
    }
    all.set(piece, length);
    length = needed;
  }
  return all.subarray(0, length);
}
