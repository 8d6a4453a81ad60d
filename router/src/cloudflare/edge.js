// What the entry and the router need of the platform's own objects, where going through Rust for
// every event would cost more than the event.

// A stream of bytes that says what a socket says, for as long as either side stays. A comment now
// and then shows that somebody is there, and finds out whether the client still is.
export function hold(socket, keepAliveMs, comment, backlog) {
  const encoder = new TextEncoder();
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

// The headers that mirror parameters, as names and values in turn: seldom any.
export function mirrors(headers) {
  const found = [];
  for (const [name, value] of headers) {
    if (name.startsWith("mcp-param-")) found.push(name.slice(10), value);
  }
  return found;
}
