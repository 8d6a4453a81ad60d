// One request to the world outside, in one step: each step between Rust and the platform costs about
// as much as reading a small answer does. It must not know what is asked.

// A small answer comes whole, as bytes; another with a reader of what comes. `init` is JSON; `names`
// are the headers that are looked at, and their values come back in a line each.
export async function send(url, init, body, signal, names, small) {
  const request = { ...JSON.parse(init), redirect: "manual", cache: "no-store", signal };
  if (body !== undefined) request.body = body;
  const response = await fetch(url, request);
  const { status, headers } = response;
  const values = names.split("\n").map((name) => headers.get(name) ?? "").join("\n");
  // How long it is says nothing of what is packed.
  const isPacked = headers.has("content-encoding");
  const length = headers.get("content-length");
  const isSmall = status === 200 && !isPacked && length !== null && Number(length) <= small;
  const rest = isSmall ? await response.arrayBuffer() : response.body?.getReader();
  return [status, values, rest];
}
