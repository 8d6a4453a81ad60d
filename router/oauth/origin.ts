// Which address a deployment is known by. It must not know requests, nor what is at any path.

/** What says so in the environment, null where the variable is unset. */
export interface Known {
  ORIGIN?: string | null;
  KEYRING?: string | null;
  ALLOWED_HOSTS?: string | null;
}

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

/** Scheme and authority that this deployment is known by; null where it does no OAuth, or not for this host. */
export function originOf({ ORIGIN, KEYRING, ALLOWED_HOSTS }: Known, url: URL): string | null {
  const hosts = (ALLOWED_HOSTS ?? "").toLowerCase().split(",").map((host) => host.trim()).filter(Boolean);
  if (!KEYRING || (hosts.length > 0 && !hosts.includes(url.hostname))) return null;
  if (ORIGIN) return URL.canParse(ORIGIN) && new URL(ORIGIN).origin === ORIGIN ? ORIGIN : null;
  return LOOPBACK.includes(url.hostname) ? url.origin : null;
}
