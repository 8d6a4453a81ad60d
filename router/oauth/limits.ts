// Every bound of the store and of what stands in front of it. Rust's are in shared/src/limits.rs.

/** Shards of the store. Another number would lose what is stored: it never changes. */
export const SHARDS = 16;
/** Bytes of a request to the token or registration endpoint. */
export const REQUEST_BYTES_MAX = 16 * 1024;
/**
 * Seconds that a client stays registered until it gets a token, and since it last got one: so much longer than a grant
 * lives (30 days) that no client is as near to its end as an unproven one while a grant of it lives.
 */
export const [UNPROVEN_S, CLIENT_S] = [24 * 60 * 60, 31 * 24 * 60 * 60];
/** How often at most a grant makes the life of its client longer. */
export const PROVE_MS = 24 * 60 * 60 * 1000;
/** The newest clients of a shard that all stay. Of those before them stay the ones that got a token. */
export const CLIENTS_MAX = 5_000;
/** Authorization servers that an isolate keeps, one per resource. */
export const SERVERS_MAX = 500;
/** How long a refresh that is sent again gets the same answer, and how many such answers a shard keeps. */
export const [RETRY_MS, RETRIES_MAX] = [30_000, 1_000];
/** Grants of one user, access tokens and spent refresh tokens of one grant. The oldest goes first. */
export const [GRANTS_MAX, TOKENS_MAX, SPENT_MAX] = [200, 64, 1_000];
/** Token requests of one user that may wait for their turn. */
export const WAITING_MAX = 32;
/** How often a shard throws away what has expired. */
export const SWEEP_MS = 60 * 60 * 1000;
/** Ends of grants that a shard tells at once. */
export const TELLS_MAX = 32;
/** How long a user's object may take for one, which is told again after as long, then twice as long, up to the last. */
export const [TELL_MS, TELL_WAIT_MS_MAX] = [20_000, SWEEP_MS];
/** How often it is told: for the 31 days in which a McpRouter remembers that a grant has ended. */
export const TELL_TRIES_MAX = 750;
