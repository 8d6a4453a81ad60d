//! Every bound of the product, in one place: queues, bodies, lists, waits. It must not know who
//! applies a bound.

/// Bytes of a request body. A larger one is refused with HTTP 413.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Things that one user may have blocked at once.
pub const BLOCKS_MAX: usize = 200;

/// How long a context is waited for that is to end what runs in it.
pub const STOP_MS: u64 = 5_000;

/// How long it is kept that a grant was ended: longer than any token of it is good.
pub const GRANT_ENDED_MS: u64 = 31 * 24 * 60 * 60 * 1000;

/// Personal keys of one user.
pub const KEYS_PER_USER_MAX: usize = 100;

/// Client programs of one user of which it is known that they were here.
pub const CLIENTS_MAX: usize = 200;

/// Grants of one client that are known. Older ones are listed by the authorization server only.
pub const GRANTS_PER_CLIENT_MAX: usize = 20;

/// How long no request may come until what was counted is written. The object goes to sleep that much
/// later after its last request: a row costs less than staying awake for longer.
pub const COUNTED_QUIET_MS: u64 = 1_000;

/// How long what was counted may wait to be written, however many requests come.
pub const COUNTED_MS_MAX: u64 = 60_000;

/// What ends later than this ends never, for whatever notes it: larger numbers JavaScript, and with it
/// an object's database, does not have exactly.
pub const NEVER_MS: u64 = 1 << 52;

/// How long it is waited before a context that did not take it is told again that something ends, each
/// time.
pub const STOP_PAUSES_MS: [u32; 2] = [200, 1_000];

/// Agents that are told at once that something ends.
pub const STOPS_AT_ONCE: usize = 64;

/// Bytes of a credential.
pub const CREDENTIAL_BYTES_MAX: usize = 16 * 1024;

/// Credentials of which an isolate knows what they are.
pub const CREDENTIALS_CACHED_MAX: usize = 2_000;

/// How long it knows that. A credential that is revoked is refused at once all the same: by its user's
/// McpRouter, which is asked anyway.
pub const CREDENTIAL_CACHED_MS: u64 = 5_000;

/// Seconds that a user is signed in at this site's own pages.
pub const SIGNED_IN_S: u64 = 12 * 60 * 60;

/// Seconds that any cookie of ours is kept.
pub const COOKIE_S_MAX: u64 = SIGNED_IN_S;

/// Bytes of a form.
pub const FORM_BYTES_MAX: usize = 64 * 1024;

/// Bytes of an answer that is read whole: metadata, keys and tokens of authorization servers.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// How long an authorization server may take to answer.
pub const ANSWER_MS_MAX: u64 = 10 * 1000;

/// Identity providers, and authorization servers, that a deployment may name.
pub const ISSUERS_MAX: usize = 16;

/// Characters of a text in the configuration of one, and texts in a list of it.
pub const SETTING_CHARS_MAX: usize = 512;
/// See [`SETTING_CHARS_MAX`].
pub const SETTING_TEXTS_MAX: usize = 32;

/// Bytes of a token of another authorization server.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// How far two clocks may be apart.
pub const CLOCK_SKEW_MS: u64 = 60 * 1000;

/// Keys of a set that are looked at.
pub const KEY_SET_MAX: usize = 64;

/// Keys that are kept ready for use, in each isolate.
pub const KEYS_READY_MAX: usize = 64;

/// Documents of issuers that an isolate keeps: metadata and keys of each that may be named.
pub const DOCUMENTS_MAX: usize = 4 * ISSUERS_MAX;

/// How long such a document is kept.
pub const DOCUMENT_MS_MAX: u64 = 10 * 60 * 1000;

/// How soon a document is asked for again that has not what it is wanted for.
pub const DOCUMENT_AGAIN_MS: u64 = 30 * 1000;

/// How soon a document is asked for again that could not be had.
pub const DOCUMENT_FAILED_MS: u64 = 2 * 1000;

/// How long others wait for whoever asks for a document, before one of them asks, too.
pub const DOCUMENT_FLIGHT_MS: u64 = 3 * 1000;

/// How often they look.
pub const DOCUMENT_LOOK_MS: u64 = 20;

/// Seconds that a login may take.
pub const LOGIN_S_MAX: u64 = 10 * 60;

/// Logins that are begun in one browser at a time.
pub const LOGINS_MAX: usize = 8;

/// Bytes of the path that a login leads to in the end. It is kept in a cookie, of 4,096 bytes.
pub const LOGIN_THEN_BYTES_MAX: usize = 2_400;

/// Rows of a table on a page.
pub const PAGE_ROWS_MAX: usize = 200;

/// Characters of what a user calls a personal key.
pub const KEY_NAME_CHARS_MAX: usize = 64;

/// Days that a personal key may be good for.
pub const KEY_DAYS_MAX: u64 = 365;

/// Characters of what a person is called.
pub const PERSON_CHARS_MAX: usize = 100;

/// Scopes that a credential may ask for.
pub const CREDENTIAL_SCOPES_MAX: usize = 64;

/// Bytes of a token of an authorization server, and of a code.
pub const GRANTED_BYTES_MAX: usize = 32 * 1024;

/// Connections of one user that were begun and not ended. The oldest goes when another begins.
pub const CONNECTIONS_MAX: usize = 16;

/// How long a user may take at an authorization server.
pub const CONNECTION_MS_MAX: u64 = 10 * 60 * 1000;

/// How long before its end a token is no longer handed out, at the most; a tenth of its life
/// otherwise.
pub const TOKEN_MARGIN_MS: u64 = 30 * 1000;

/// How long before its end a token that is in use is refreshed without being asked for, at the
/// most and without jitter; a fifth of its life otherwise.
pub const TOKEN_AHEAD_MS: u64 = 5 * 60 * 1000;

/// The longest that a token is taken to be good, whatever its authorization server says.
pub const TOKEN_MS_MAX: u64 = 366 * 24 * 60 * 60 * 1000;

/// How long after a failed refresh there is no other. Whoever asks meanwhile gets the same answer.
pub const REFRESH_PAUSE_MS: u64 = 5 * 1000;

/// Requests that wait for the same refresh.
pub const REFRESH_WAITING_MAX: usize = 10_000;

/// Registrations of this program at authorization servers that one user's router keeps.
pub const REGISTRATIONS_MAX: i64 = 64;

/// How young a token is that is not refreshed because a server refuses it: another would be
/// refused as well.
pub const TOKEN_YOUNG_MS: u64 = 30 * 1000;

/// How long a call waits for its user to connect a credential, once they agreed to.
pub const CONNECT_WAIT_MS: u64 = 5 * 60 * 1000;

/// How often it is looked meanwhile.
pub const CONNECT_POLL_MS: u32 = 1_000;

/// How long it is good that a user may enter a scope.
pub const ACCESS_YES_MS: u64 = 15 * 60 * 1000;

/// How long it is good that a user may not: what is made or granted is there soon.
pub const ACCESS_NO_MS: u64 = 30 * 1000;

/// How long the check may take.
pub const ACCESS_CHECK_MS: u64 = 15 * 1000;

/// Scopes of one user of which it is kept. Those go first that are good for the shortest time.
pub const ACCESSES_MAX: usize = 2_000;

/// Scopes of which it is known without the database.
pub const ACCESSES_CACHED_MAX: usize = 1_000;

/// Contexts that one user may enter. Those that were entered stay open.
pub const CONTEXTS_MAX: usize = 10_000;

/// Levels a scope may have (scope grammar: four at the most).
pub const SCOPE_LEVELS_MAX: usize = 4;

/// Characters of a slug.
pub const SLUG_CHARS_MAX: usize = 100;

/// Parameter names a level may be known by.
pub const LEVEL_PARAMETERS_MAX: usize = 16;

/// Depth of arguments in which a scope is looked for. Deeper ones are refused.
pub const ARGUMENT_DEPTH_MAX: usize = 64;

/// Names that one option of a URL's query may have.
pub const OPTION_NAMES_MAX: usize = 128;

/// Characters of such a name. A tool's name has at most 128, and a prefix may come before it.
pub const OPTION_NAME_CHARS_MAX: usize = NAME_CHARS_MAX + 1 + 128;

/// Characters of a name in the configuration.
pub const NAME_CHARS_MAX: usize = 64;

/// Bytes of one message of an upstream; a larger one is not read.
pub const UPSTREAM_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes that are read of what an upstream says beside an HTTP status of failure.
pub const UPSTREAM_ERROR_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the id of an upstream's session, or of one of its events.
pub const UPSTREAM_ID_BYTES_MAX: usize = 4096;

/// Bytes of what an upstream says it can do.
pub const UPSTREAM_CAPABILITIES_BYTES_MAX: usize = 64 * 1024;

/// Messages of an upstream that one call may have on its way to whoever asked.
pub const UPSTREAM_INBOX_MAX: usize = 256;

/// Bytes of them.
pub const UPSTREAM_INBOX_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Messages in one batch of an upstream (2025-03-26).
pub const UPSTREAM_BATCH_MAX: usize = 256;

/// Questions of one call of an upstream that are open at once: it is not heard until one is
/// answered.
pub const UPSTREAM_QUESTIONS_MAX: usize = 16;

/// Requests of one context to one upstream at once that take no time: lists, looks at tasks. They
/// wait for no call.
pub const UPSTREAM_BRIEF_MAX: usize = 4;

/// Questions of one call of an upstream, in the handshake era: one that asks more is given up.
pub const UPSTREAM_ASKED_MAX: u32 = 128;

/// Calls of one context that wait for their turn at one upstream, and as many such requests.
pub const UPSTREAM_QUEUE_MAX: usize = 64;

/// Redirects of one request that are followed.
pub const REDIRECTS_MAX: usize = 3;

/// Pages of one list of an upstream that are asked for.
pub const UPSTREAM_PAGES_MAX: usize = 100;

/// How long an upstream has for one list, with all its pages and the meeting before. One that is
/// given longer for each answer has as long.
pub const UPSTREAM_LIST_MS: u32 = 30 * 1000;

/// Items of one list of an upstream, and their bytes together. What is beyond is left out.
pub const UPSTREAM_ITEMS_MAX: usize = 2_000;
/// See [`UPSTREAM_ITEMS_MAX`].
pub const UPSTREAM_LIST_BYTES_MAX: usize = 1_500_000;

/// How long a list of an upstream is fresh that does not say how long it is.
pub const UPSTREAM_TTL_MS: u64 = 60 * 1000;

/// The longest that a list of an upstream is taken to be fresh, whatever it says.
pub const UPSTREAM_TTL_MS_MAX: u64 = 60 * 60 * 1000;

/// How old a list of an upstream may be that cannot be reached: it is shown, with a word on it.
pub const UPSTREAM_STALE_MS: u64 = 24 * 60 * 60 * 1000;

/// How long a list that is shown waits for an upstream: then it goes on without, and whoever listens
/// is told once it has answered. Less than [`SILENCE_MS`], so that no list becomes a stream by that.
pub const UPSTREAM_SOON_MS: u64 = 900;

/// How long a list is fresh of which something is missing.
pub const LACKING_TTL_MS: u64 = 2_000;

/// The least time between two tellings that something of one upstream has changed. What changes
/// meanwhile goes with the next.
pub const UPSTREAM_TELL_MS: u32 = 1_000;

/// Messages of progress that one call of an upstream has in a second, and lines of its log. Of more
/// progress the newest is told at the end of that second; other lines are left out.
pub const UPSTREAM_PROGRESS_MAX: u32 = 20;
/// See [`UPSTREAM_PROGRESS_MAX`].
pub const UPSTREAM_NOTES_MAX: u32 = 100;

/// Other messages that one call of an upstream has in a second. None may be left out, as each may
/// be the only one of its kind: one that says more is given up.
pub const UPSTREAM_OTHERS_MAX: u32 = 500;

/// How long it is believed what an upstream was met as, where no session says that it is still the
/// same, and that it has no stream for what it says by itself.
pub const UPSTREAM_MET_MS: u64 = 60 * 60 * 1000;

/// How much older a list may look after an eviction than it is: one that was read again and is as it
/// was is not written each time.
pub const UPSTREAM_KEPT_STEP_MS: u64 = 60 * 60 * 1000;

/// Lists that one context keeps of its upstreams.
pub const UPSTREAM_ROWS_MAX: usize = TOOLSETS_MAX * 8;

/// Meetings with its upstreams that one context remembers.
pub const UPSTREAM_MEETINGS_MAX: usize = TOOLSETS_MAX * 2;

/// Places of upstreams of which it is remembered what their tools were like: another address is
/// another place.
pub const UPSTREAM_PLACES_MAX: usize = TOOLSETS_MAX * 2;

/// Bytes of what a kind of clients can be asked for. Of one that says more of it only the names
/// are told.
pub const UPSTREAM_KIND_BYTES_MAX: usize = 1024;

/// Characters of a tool's fingerprint: 128 bits in hexadecimal.
pub const FINGERPRINT_CHARS: usize = 32;

/// Tools of one upstream of which it is remembered what they were like.
pub const UPSTREAM_MARKS_MAX: usize = 4_000;

/// Items that are left out of one list, with why, in one line of the log.
pub const UPSTREAM_DROPPED_LOGGED_MAX: usize = 16;

/// Ways in which a tool was seen that are known again: kinds of clients may each see another.
pub const UPSTREAM_SEEN_MAX: usize = 2 * UPSTREAM_LINKS_MAX;

/// Kinds of clients, by what they can be asked for, that one upstream is told apart.
pub const UPSTREAM_LINKS_MAX: usize = 8;

/// Characters of the name of an upstream's tool or prompt.
pub const UPSTREAM_NAME_CHARS_MAX: usize = 128;

/// Characters of a description that an upstream wrote; the rest is cut off.
pub const UPSTREAM_DESCRIPTION_CHARS_MAX: usize = 16 * 1024;

/// Characters of a title that an upstream wrote.
pub const UPSTREAM_TITLE_CHARS_MAX: usize = 200;

/// How long a session's own stream stays open after a request, for what belongs to it, and how
/// often it is looked at whether anybody still wants it.
pub const LINGER_MS: u64 = 20_000;
/// See [`LINGER_MS`].
pub const LINGER_MS_STEP: u32 = 5_000;

/// How long is waited before an upstream that is not heard any more is listened to again, at first
/// and at the most.
pub const RELISTEN_MS_MIN: u64 = 500;
/// See [`RELISTEN_MS_MIN`].
pub const RELISTEN_MS_MAX: u64 = 60_000;

/// How long a stream on which an upstream is listened to may be silent before it is opened anew:
/// that its other end is gone may show in nothing else.
pub const UPSTREAM_SILENCE_MS: u64 = 5 * 60 * 1000;

/// How often a stream of an upstream that broke before its reply is asked for again.
pub const UPSTREAM_RESUMES_MAX: u32 = 8;

/// The longest that an upstream is waited for before another try, whatever it asks for.
pub const RETRY_MS_MAX: u64 = 10_000;

/// How long is waited before the first try anew; the next waits twice as long.
pub const RETRY_MS_MIN: u64 = 200;

/// Rounds of questions that one call of an upstream may need (2026-07-28).
pub const UPSTREAM_ROUNDS_MAX: u32 = 16;

/// Failures in a row after which an upstream is left alone.
pub const BREAKER_FAILURES: u32 = 5;

/// How long it is left alone at first, and twice as long after each try that failed.
pub const BREAKER_MS_MIN: u64 = 5_000;

/// How long at the most.
pub const BREAKER_MS_MAX: u64 = 5 * 60 * 1000;

/// The longest that an upstream may be given for one call.
pub const UPSTREAM_MS_MAX: u32 = 60 * 60 * 1000;

/// Versions of a toolset's tools that a context has ready.
pub const VIEWS_MAX: usize = 8;

/// Toolsets one configuration may name.
pub const TOOLSETS_MAX: usize = 32;

/// Characters of a user's name.
pub const USER_CHARS_MAX: usize = 200;

/// Bytes of the visible `Mcp-Session-Id` header that are looked at.
pub const SESSION_ID_BYTES_MAX: usize = 128;

/// Live sessions of one user. The oldest idle one goes when another begins.
pub const SESSIONS_MAX: usize = 100;

/// An idle session ends after this long.
pub const SESSION_IDLE_MS: u64 = 24 * 60 * 60 * 1000;

/// How stale the stored "last seen" of a session may be: a call writes it only when it is older,
/// so that calls in a row write nothing.
pub const SESSION_SEEN_STEP_MS: u64 = 10 * 60 * 1000;

/// Bytes of what a client says of itself in `initialize` (its parameters, whole).
pub const CLIENT_BYTES_MAX: usize = 64 * 1024;

/// Calls that the sessions of one user may have running at once.
pub const CALLS_MAX: usize = 256;

/// Messages in one batch (2025-03-26).
pub const BATCH_MESSAGES_MAX: usize = 64;

/// Streams of one user that are open or can be resumed. The oldest that nobody uses goes when another
/// opens; where all are in use, no other opens.
pub const STREAMS_MAX: usize = 512;

/// Events kept of all streams of one user, and their bytes. The oldest of the stream that has the most
/// go first.
pub const STREAM_EVENTS_MAX: usize = 10_000;
/// See [`STREAM_EVENTS_MAX`].
pub const STREAM_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How many of its oldest events go at once when there are too many.
pub const STREAM_TRIM_EVENTS: u32 = 64;

/// Bytes of one event that is kept. A larger one reaches a client that is there, and a client that
/// comes back for it is told that it is gone. (A row has at most 2 MB on the platform.)
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of one line that an Agent says: a message that it streams.
pub const LINE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long an event can be asked for again.
pub const EVENT_AGE_MS: u64 = 60 * 60 * 1000;

/// Events that a stream may have waiting for its client. A client that is slower has to resume.
pub const STREAM_BACKLOG_MAX: usize = 1024;

/// Bytes that may wait so.
pub const STREAM_BACKLOG_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Resources that one session, or one stream of the modern era, may be subscribed to.
pub const SUBSCRIPTIONS_MAX: usize = 256;

/// Agents that are told at once what anybody wants to hear of. The platform has six connections.
pub const INTERESTS_AT_ONCE: usize = 6;

/// How long an Agent may take to be told.
pub const INTEREST_MS: u64 = 10 * 1000;

/// How long somebody waits who says what they want to hear of, until everything is listened to.
pub const INTEREST_WAIT_MS: u64 = 2 * 1000;

/// How long of that an Agent asks its upstreams which resources are inside of its scope.
pub const LEARN_MS: u32 = 1_500;

/// How often an Agent that listens is woken, in case it was evicted: the platform does so to one
/// that nobody has asked for a while (70 to 140 s), whatever it is waiting for itself.
pub const LISTEN_CHECK_MS: u64 = 60 * 1000;

/// Bytes of an answer from outside that is taken as a whole, where it says how long it is.
pub const SMALL_ANSWER_BYTES_MAX: u32 = 64 * 1024;

/// Bytes of a URI that is compared with templates.
pub const URI_BYTES_MAX: usize = 8 * 1024;

/// Values that a URI may have for the variables of one template, in all ways of reading it.
pub const URI_READINGS_MAX: usize = 64;

/// Bytes of the URI of a subscription.
pub const SUBSCRIPTION_URI_BYTES_MAX: usize = 2048;

/// What a client waits before it comes back for the rest of a stream that was paused.
pub const RETRY_MS: u32 = 500;

/// How long a stream that is held for a client may be silent before it gets a comment.
pub const LISTEN_KEEP_ALIVE_MS: u64 = 15_000;

/// Static keys one configuration may hold.
pub const KEYS_MAX: usize = 10_000;

/// Messages a handler may have waiting before the client has read them. Past that its
/// notifications fail; its reply never does.
pub const OUTBOX_MESSAGES_MAX: usize = 1024;

/// Bytes of such messages.
pub const OUTBOX_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Contexts that one call is spread over; a call that concerns more says so.
pub const SPREAD_MAX: usize = 32;

/// How long each of them has to answer.
pub const SPREAD_MS: u64 = 5_000;

/// Items on one page of a list.
pub const PAGE_ITEMS_MAX: usize = 100;

/// Values one completion may offer (MCP: at most 100).
pub const COMPLETION_VALUES_MAX: usize = 100;

/// Bytes of a note's text.
pub const NOTE_TEXT_BYTES_MAX: usize = 32 * 1024;

/// Characters of a note's title.
pub const NOTE_TITLE_CHARS_MAX: usize = 200;

/// Tags on one note.
pub const NOTE_TAGS_MAX: usize = 16;

/// Characters of a tag.
pub const NOTE_TAG_CHARS_MAX: usize = 64;

/// Notes in one context.
pub const NOTES_MAX: u64 = 1_000;

/// Bytes of all notes in one context (text, title, tags).
pub const NOTES_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Characters of a search query that are looked at.
pub const QUERY_CHARS_MAX: usize = 1_000;

/// Words of a search query that are looked at.
pub const QUERY_WORDS_MAX: usize = 32;

/// Notes in one answer of `recall` and `list_memories`, at the most and by default.
pub const NOTES_PAGE_MAX: u32 = 50;
/// See [`NOTES_PAGE_MAX`].
pub const NOTES_PAGE_DEFAULT: u32 = 10;

/// Characters of a note's text inside a page of notes; the whole is one resource read away.
pub const NOTE_EXCERPT_CHARS_MAX: usize = 2_000;

/// Milliseconds a tool list may be treated as fresh: it changes with the configuration only.
pub const TOOLS_TTL_MS: u64 = 5 * 60 * 1000;

/// Depth of a schema that is narrowed. A deeper one is refused.
pub const SCHEMA_DEPTH_MAX: usize = 64;

/// JSON containers inside each other in a schema: between a schema and the schema inside it there
/// may be the object of a keyword.
pub const SCHEMA_JSON_DEPTH_MAX: usize = 2 * SCHEMA_DEPTH_MAX;

/// JSON values that narrowing one schema may look at, some of them more than once. That is some
/// hundred kilobytes of schema, more than a model can use; a small schema that needs as much is
/// built to, as definitions are that each refer to the next one twice.
pub const SCHEMA_VISITS_MAX: usize = 50_000;

/// Characters of a caller's value that an error repeats.
pub const SHOWN_CHARS_MAX: usize = 100;

/// Turns that the tasks of one call have before others have theirs.
pub const PUMPS_MAX: usize = 256;

/// How long a call may be silent before its answer becomes a stream.
pub const SILENCE_MS: u32 = 1_000;

/// How long a stream may be silent before it shows that it is there. Only then is a client that
/// left noticed.
pub const KEEP_ALIVE_MS: u32 = 5_000;

/// How long a call may take, whatever it does. It is looked at whenever the call is silent.
pub const CALL_MS_MAX: u64 = 2 * 60 * 60 * 1000;

/// How long a call waits for the client to answer what it asked (handshake era).
pub const ASK_MS_MAX: u32 = 10 * 60 * 1000;

/// Questions that one call may have open at a time.
pub const QUESTIONS_MAX: usize = 16;

/// How long a call stays in memory while the client answers its questions (modern era). After
/// that it runs again from its start.
pub const PARK_MS_MAX: u32 = 5 * 60 * 1000;

/// Calls of one Agent that wait so. The oldest goes when another comes.
pub const PARKED_MAX: usize = 32;

/// How long a client may take to answer a call's questions, parked or not (modern era).
pub const STATE_MS_MAX: u64 = 60 * 60 * 1000;

/// Bytes of earlier answers that travel with the client. Where there are more, a call that is no
/// longer parked asks again.
pub const STATE_BYTES_MAX: usize = 64 * 1024;

/// Changes that one call may announce; more of them are one of the list.
pub const CHANGES_MAX: usize = 64;

/// Bytes of the name of a header that mirrors a parameter.
pub const MIRRORED_NAME_BYTES_MAX: usize = 128;

/// The largest integer that a header may mirror: every JSON reader has it exactly (2^53 - 1).
pub const MIRRORED_INTEGER_MAX: u64 = (1 << 53) - 1;

/// Tasks that one context keeps, over or not. None goes before its time.
pub const TASKS_MAX: i64 = 1_000;

/// Tasks of one context that are not over.
pub const TASKS_OPEN_MAX: i64 = 64;

/// How long a task can be asked about, from its beginning.
pub const TASK_TTL_MS: u64 = 24 * 60 * 60 * 1000;

/// How often an upstream is asked about a task, at the most and at the least, whatever it says.
pub const UPSTREAM_POLL_MS_MIN: u64 = 500;
/// See [`UPSTREAM_POLL_MS_MIN`].
pub const UPSTREAM_POLL_MS_MAX: u64 = 15_000;

/// How often a client should ask about a task.
pub const TASK_POLL_MS: u64 = 1_000;

/// How often an Agent looks whether the work of its tasks still runs. It also keeps the object in
/// memory while there is such work: an idle one is gone after 70 seconds at the earliest.
pub const TASK_CHECK_MS: u64 = 30 * 1000;

/// Runs of one task without an answer of its client in between. Work that was lost as often is
/// lost by its own doing.
pub const TASK_RUNS_MAX: u32 = 4;

/// Bytes of the call that a task does.
pub const TASK_CALL_BYTES_MAX: usize = 512 * 1024;

/// Bytes of what a task asks its client at a time.
pub const TASK_ASKED_BYTES_MAX: usize = 256 * 1024;

/// Bytes of what a client answered a task.
pub const TASK_ANSWERS_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a task's result.
pub const TASK_RESULT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a task's id.
pub const TASK_ID_BYTES_MAX: usize = SCOPE_LEVELS_MAX * (SLUG_CHARS_MAX + 1) + 32;

/// Bytes of a row in an object's database.
pub const ROW_BYTES_MAX: usize = 2_000_000;

const _: () = assert!(
    // A task that is over has no call, no questions and no answers any more.
    TASK_CALL_BYTES_MAX + TASK_ASKED_BYTES_MAX + TASK_ANSWERS_BYTES_MAX < ROW_BYTES_MAX
        && TASK_RESULT_BYTES_MAX < ROW_BYTES_MAX,
    "a task fits a row"
);
const _: () = assert!(UPSTREAM_LIST_BYTES_MAX < ROW_BYTES_MAX, "a list fits a row");
const _: () = assert!(UPSTREAM_SOON_MS < SILENCE_MS as u64, "a list is no stream");
const _: () = assert!(
    (UPSTREAM_OTHERS_MAX as usize) < OUTBOX_MESSAGES_MAX,
    "what an upstream may say fits what waits for a client"
);
const _: () = assert!(UPSTREAM_KEPT_STEP_MS < UPSTREAM_STALE_MS / 10);
const _: () = assert!(CALL_MS_MAX > UPSTREAM_MS_MAX as u64, "an upstream's own bound comes first");
const _: () = assert!(TASKS_OPEN_MAX < TASKS_MAX);
const _: () = assert!(STATE_MS_MAX >= PARK_MS_MAX as u64, "what is parked may still be answered");
const _: () = assert!(STATE_BYTES_MAX < BODY_BYTES_MAX / 2, "a state comes back in a body");
const _: () = assert!(NOTES_PAGE_DEFAULT <= NOTES_PAGE_MAX);
const _: () = assert!(NOTE_TEXT_BYTES_MAX < BODY_BYTES_MAX, "a note fits a request");
const _: () = assert!((NOTE_TEXT_BYTES_MAX as u64) < NOTES_BYTES_MAX);
const _: () = assert!(ACCESS_NO_MS < ACCESS_YES_MS && ACCESSES_CACHED_MAX <= ACCESSES_MAX);
const _: () = assert!(TOKEN_MARGIN_MS < TOKEN_AHEAD_MS, "what is in use does not run out");
const _: () = assert!(SESSION_SEEN_STEP_MS < SESSION_IDLE_MS / 10);
const _: () = assert!(EVENT_BYTES_MAX < STREAM_BYTES_MAX);
const _: () = assert!(CALLS_MAX < STREAMS_MAX, "every running call may have a stream");
const _: () = assert!(STREAM_BACKLOG_BYTES_MAX >= LINE_BYTES_MAX, "any one message may wait");
const _: () = assert!((STREAM_TRIM_EVENTS as usize) < STREAM_EVENTS_MAX);
const _: () = assert!(
    NOTES_PAGE_MAX as usize * NOTE_EXCERPT_CHARS_MAX * 4 < BODY_BYTES_MAX,
    "a page of notes stays far below what any client accepts"
);
