// Every bound of the store and of what stands in front of it. Rust's are in shared/src/limits.rs.

/** Shards of the store. Another number would lose what is stored: it never changes. */
export const SHARDS = 16;
/** Bytes of a request to the token or registration endpoint. */
export const REQUEST_BYTES_MAX = 16 * 1024;
/** Seconds that a client stays registered which gets no tokens: as long as a grant lives. */
export const CLIENT_S = 30 * 24 * 60 * 60;
/** Authorization servers that an isolate keeps, one per resource. */
export const SERVERS_MAX = 500;
/** How long a refresh that is sent again gets the same answer, and how many such answers a shard keeps. */
export const [RETRY_MS, RETRIES_MAX] = [30_000, 1_000];
/** Grants of one user, access tokens and spent refresh tokens of one grant. The oldest goes first. */
export const [GRANTS_MAX, TOKENS_MAX, SPENT_MAX] = [200, 64, 1_000];
/** Token requests of one user that may wait for their turn. */
export const WAITING_MAX = 32;
/** How often a user's object is told that a grant has ended, until it takes it. */
export const TELLS_MAX = 3;
/** How often a shard throws away what has expired. */
export const SWEEP_MS = 60 * 60 * 1000;
