//! Probes of HTTP itself: methods, paths, hosts, origins, credentials, media types, framing. Where
//! workerd answers before our code runs, its answer is the right one.

use super::{
    Is::{Closed, Empty, Error, Platform, Result, Stream},
    PING, Place, Row,
    wire::Ask,
};

pub(super) fn rows(place: &Place) -> Vec<Row> {
    let parts: [fn(&Place) -> Vec<Row>; 12] = [
        methods,
        paths,
        segments,
        hosts,
        origins,
        preflights,
        credentials,
        accepts,
        content_types,
        lengths,
        chunks,
        lines,
    ];
    parts.iter().flat_map(|rows| rows(place)).collect()
}

/// Methods, and where each of them means something.
fn methods(place: &Place) -> Vec<Row> {
    let mcp = |method: &str| Ask::new(method, "/mcp");
    let modern = |method| mcp(method).with("MCP-Protocol-Version", "2026-07-28");
    let ping = || place.post(PING);
    vec![
        ("PUT", ping().by("PUT"), Error(405, -32600)),
        ("PATCH", ping().by("PATCH"), Error(405, -32600)),
        ("OPTIONS of no page", mcp("OPTIONS"), Error(405, -32600)),
        ("HEAD", mcp("HEAD"), Empty(405)),
        ("PROPFIND", mcp("PROPFIND"), Error(405, -32600)),
        ("PURGE", mcp("PURGE"), Error(405, -32600)),
        ("TRACE", mcp("TRACE"), Error(405, -32600)),
        // workerd asks a Worker for tunnels in another way than for requests: we have none.
        ("CONNECT", mcp("CONNECT"), Platform(500)),
        // workerd does not know these.
        ("a method nobody knows", mcp("BREW"), Platform(501)),
        ("a method in lower case", ping().by("post"), Platform(501)),
        ("a method of 10000 letters", mcp(&"A".repeat(10_000)), Platform(501)),
        ("GET without a session", mcp("GET"), Error(400, -32600)),
        ("DELETE without a session", mcp("DELETE"), Error(400, -32600)),
        ("GET in the modern era", modern("GET"), Error(405, -32600)),
        ("DELETE in the modern era", modern("DELETE"), Error(405, -32600)),
        ("PUT in the modern era", modern("PUT"), Error(405, -32600)),
        ("POST to the old stream", ping().to("/sse"), Error(405, -32600)),
        ("DELETE of the old stream", Ask::new("DELETE", "/sse"), Error(405, -32600)),
        ("GET of the old messages", Ask::new("GET", "/messages"), Error(405, -32600)),
        ("DELETE of the old messages", Ask::new("DELETE", "/messages"), Error(405, -32600)),
        ("PUT to the old messages", Ask::new("PUT", "/messages"), Error(405, -32600)),
        ("a method to override", ping().with("X-HTTP-Method-Override", "DELETE"), Result),
        ("GET with a body", place.post(PING).by("GET").without("Accept"), Error(406, -32600)),
    ]
}

/// Paths that are none, and what a path may have besides.
fn paths(place: &Place) -> Vec<Row> {
    let to = |path: &str| place.post(PING).to(path);
    let long = format!("/mcp/{}", "a".repeat(30_000));
    let longer = format!("/mcp/{}", "a".repeat(300_000));
    vec![
        ("the root of the host", to("/"), Error(404, -32001)),
        ("another path", to("/other"), Error(404, -32001)),
        ("a path that begins alike", to("/mcpx"), Error(404, -32001)),
        ("a path in upper case", to("/MCP"), Error(404, -32001)),
        ("two slashes before", to("//mcp"), Error(404, -32001)),
        ("a path of ours within", to("/hop/notes"), Error(404, -32001)),
        ("a path of ours to listen", to("/hop/listen"), Error(404, -32001)),
        ("metadata nobody has", Ask::new("GET", "/.well-known/openid"), Error(404, -32001)),
        ("one slash after", to("/mcp/"), Result),
        ("a query", to("/mcp?a=b&c=%00&&=#?"), Result),
        ("a long query", to(&format!("/mcp?{}", "a".repeat(30_000))), Result),
        ("a fragment", to("/mcp#/../other"), Result),
        ("a path parameter", to("/mcp;a=b"), Error(404, -32001)),
        // A path is read as it was sent: dots lead nowhere, they are no slug.
        ("dots to itself", to("/mcp/../mcp"), Error(400, -32600)),
        ("dots to elsewhere", to("/mcp/../other"), Error(400, -32600)),
        ("dots past the root", to("/../../../etc/passwd"), Error(404, -32001)),
        ("encoded dots", to("/mcp/%2e%2e/%2E%2E/etc/passwd"), Error(400, -32600)),
        ("backslashes", to("/mcp\\..\\other"), Error(404, -32001)),
        ("an encoded slash", to("/mcp%2facme"), Error(404, -32001)),
        ("an encoded letter", to("/mc%70"), Error(404, -32001)),
        ("a target of 30000 letters", to(&long), Error(400, -32600)),
        ("a target of 300000 letters", to(&longer), Platform(414)),
        // workerd gives the path to whom `Host` names.
        ("an absolute target elsewhere", to("http://evil.example/mcp"), Result),
        ("no path at all", to(""), Platform(400)),
        ("a star", to("*"), Error(403, -32001)),
    ]
}

/// Segments of a path that are no slugs, or too many.
fn segments(place: &Place) -> Vec<Row> {
    let to = |path: &str| place.post(PING).to(path);
    let most = format!("/mcp/{}", "a".repeat(100));
    vec![
        ("three segments", to("/mcp/a/b/c"), Error(404, -32001)),
        ("a thousand segments", to(&format!("/mcp{}", "/a".repeat(1000))), Error(404, -32001)),
        ("an empty segment", to("/mcp//web"), Error(400, -32600)),
        ("nothing but slashes", to("/mcp////"), Error(400, -32600)),
        ("two slashes after", to("/mcp/acme//"), Error(400, -32600)),
        ("dots in a segment", to("/mcp/a..b"), Error(400, -32600)),
        ("a hidden segment", to("/mcp/.git"), Error(400, -32600)),
        ("a segment of dots", to("/mcp/..."), Error(400, -32600)),
        ("a dash at the end", to("/mcp/acme-"), Error(400, -32600)),
        ("a blank in a segment", to("/mcp/a%20b"), Error(400, -32600)),
        ("an encoded letter in a segment", to("/mcp/%61cme"), Error(400, -32600)),
        ("an encoded slash in a segment", to("/mcp/acme%2fweb"), Error(400, -32600)),
        ("an encoded nothing", to("/mcp/%00"), Error(400, -32600)),
        ("half an escape", to("/mcp/%f"), Error(400, -32600)),
        ("a line break in a segment", to("/mcp/a%0d%0aX:%20y"), Error(400, -32600)),
        ("a colon in a segment", to("/mcp/bob:acme"), Error(400, -32600)),
        ("letters of other alphabets", to("/mcp/ümläut"), Error(400, -32600)),
        ("a letter that looks alike", to("/mcp/\u{430}cme"), Error(400, -32600)),
        ("a parameter in a segment", to("/mcp/acme;x=1"), Error(400, -32600)),
        ("101 letters", to(&format!("{most}a")), Error(400, -32600)),
        // The last one that is a scope: the session is of another.
        ("100 letters", to(&most), Error(404, -32001)),
        ("another scope in other case", to("/mcp/ACME"), Error(404, -32001)),
        ("a segment of the old stream", Ask::new("GET", "/sse/a%20b"), Error(400, -32600)),
        ("three of the old stream", Ask::new("GET", "/sse/a/b/c"), Error(404, -32001)),
        ("three of the old messages", to("/messages/a/b/c"), Error(404, -32001)),
    ]
}

fn hosts(place: &Place) -> Vec<Row> {
    let host = |value: &str| place.post(PING).set("Host", value);
    vec![
        ("another host", host("evil.example"), Error(403, -32001)),
        ("a host that begins alike", host("{host}.evil.example"), Error(403, -32001)),
        ("a host that ends alike", host("evil-localhost"), Error(403, -32001)),
        ("a host with a user", host("127.0.0.1@evil.example"), Error(403, -32001)),
        ("a host after a port", host("127.0.0.1:80.evil.example"), Error(403, -32001)),
        ("a host after a comma", host("{host}, evil.example"), Error(403, -32001)),
        ("a host in other case", host("LocalHost"), Result),
        ("a host with another port", host("localhost:1"), Result),
        ("a host in brackets", host("[::1]:99"), Result),
        ("a host with a dot after", host("localhost."), Error(403, -32001)),
        ("a host with a path", host("evil.example/mcp"), Error(403, -32001)),
        ("a host of our own", host("router"), Error(403, -32001)),
        ("a host behind a proxy", place.post(PING).with("X-Forwarded-Host", "evil"), Result),
        ("a host with a port that is none", host("localhost:99999"), Error(403, -32001)),
        ("an empty host", host(""), Platform(400)),
        ("a host with a blank", host("a b"), Error(403, -32001)),
        ("no host", place.post(PING).without("Host"), Platform(400)),
        ("two hosts", place.post(PING).with("Host", "evil.example"), Error(403, -32001)),
        ("a host of 10000 letters", host(&"a".repeat(10_000)), Error(403, -32001)),
    ]
}

fn origins(place: &Place) -> Vec<Row> {
    let origin = |value: &str| place.post(PING).with("Origin", value);
    vec![
        ("another origin", origin("https://evil.example"), Error(403, -32001)),
        ("the origin of no page", origin("null"), Error(403, -32001)),
        // workerd drops an empty one; no page has such an origin.
        ("an empty origin", origin(""), Result),
        ("the own origin", origin("http://{host}"), Result),
        ("the own origin with a path", origin("http://{host}/"), Error(403, -32001)),
        ("the own origin by another scheme", origin("https://{host}"), Error(403, -32001)),
        ("the own host at another port", origin("http://127.0.0.1:1"), Error(403, -32001)),
        ("an origin that begins alike", origin("http://{host}.evil"), Error(403, -32001)),
        ("two origins in one", origin("http://{host}, https://evil"), Error(403, -32001)),
        ("two origins", origin("http://{host}").with("Origin", "https://evil"), Error(403, -32001)),
        ("an origin of a file", origin("file://"), Error(403, -32001)),
        ("an origin of 10000 letters", origin(&"a".repeat(10_000)), Error(403, -32001)),
        ("an origin that is no text", origin("ü\u{7f}"), Error(403, -32001)),
        (
            "another origin of a stream",
            Ask::new("GET", "/sse").with("Origin", "x"),
            Error(403, -32001),
        ),
    ]
}

fn preflights(_place: &Place) -> Vec<Row> {
    let asks = |origin: &str, method: &str| {
        let ask = Ask::new("OPTIONS", "/mcp").without("Authorization").with("Origin", origin);
        ask.with("Access-Control-Request-Method", method)
    };
    let own = |method| asks("http://{host}", method);
    let headers = "Access-Control-Request-Headers";
    vec![
        ("a preflight", own("POST"), Empty(204)),
        ("a preflight of PUT", own("PUT"), Error(405, -32600)),
        ("a preflight of OPTIONS", own("OPTIONS"), Error(405, -32600)),
        ("a preflight of nothing", own(""), Error(405, -32600)),
        ("a preflight of two methods", own("GET, POST"), Error(405, -32600)),
        ("a preflight of another page", asks("https://evil", "POST"), Error(403, -32001)),
        ("a preflight of no page", asks("null", "POST"), Error(403, -32001)),
        ("a preflight elsewhere", own("POST").to("/other"), Error(404, -32001)),
        ("a preflight of no scope", own("POST").to("/mcp/a..b"), Error(400, -32600)),
        ("a preflight that asks for all", own("POST").with(headers, "*"), Empty(204)),
        (
            "a preflight of 10000 headers",
            own("POST").with(headers, "mcp-a,".repeat(10_000)),
            Empty(204),
        ),
        ("a preflight of garbage", own("POST").with(headers, "ü, :;, mcp-\u{1}"), Empty(204)),
    ]
}

fn credentials(place: &Place) -> Vec<Row> {
    let with = |value: &[u8]| place.post(PING).set("Authorization", value);
    vec![
        ("no credential", place.post(PING).without("Authorization"), Error(401, -32001)),
        ("an empty credential", with(b""), Error(401, -32001)),
        ("a key nobody has", with(b"Bearer key-z"), Error(401, -32001)),
        ("a scheme without a key", with(b"Bearer"), Error(401, -32001)),
        ("a key without a scheme", with(b"key-a"), Error(401, -32001)),
        ("another scheme", with(b"Basic key-a"), Error(401, -32001)),
        ("a tab for a blank", with(b"Bearer\tkey-a"), Error(401, -32001)),
        ("two keys", with(b"Bearer key-a key-b"), Error(401, -32001)),
        (
            "two credentials",
            place.post(PING).with("Authorization", "Bearer key-b"),
            Error(401, -32001),
        ),
        ("a key in other case", with(b"Bearer KEY-A"), Error(401, -32001)),
        ("half a key", with(b"Bearer key-"), Error(401, -32001)),
        ("a key and a comma", with(b"Bearer key-a,"), Error(401, -32001)),
        ("a key in quotes", with(b"Bearer \"key-a\""), Error(401, -32001)),
        ("a key of 30000 letters", with("Bearer ".repeat(4000).as_bytes()), Error(401, -32001)),
        ("a key that is no text", with(b"Bearer \xff\xfe"), Error(401, -32001)),
        ("a user for a key", with(b"Bearer alice"), Error(401, -32001)),
        ("a scheme in other case", with(b"bEARER key-a"), Result),
        ("blanks around a key", with(b"  Bearer   key-a  "), Result),
        (
            "a key in the query",
            place.post(PING).without("Authorization").to("/mcp?access_token=key-a"),
            Error(401, -32001),
        ),
        (
            "a key in a cookie",
            place.post(PING).without("Authorization").with("Cookie", "key=key-a"),
            Error(401, -32001),
        ),
        // Somebody else's key is somebody else's sessions.
        ("a session of another user", with(b"Bearer key-b"), Error(404, -32001)),
    ]
}

fn accepts(place: &Place) -> Vec<Row> {
    let with = |value: &str| place.post(PING).set("Accept", value);
    let get = |value: &str| place.post("").by("GET").set("Accept", value);
    let both = "application/json, text/event-stream";
    vec![
        ("no Accept", place.post(PING).without("Accept"), Error(406, -32600)),
        ("an empty Accept", with(""), Error(406, -32600)),
        ("Accept of JSON alone", with("application/json"), Error(406, -32600)),
        ("Accept of a stream alone", with("text/event-stream"), Error(406, -32600)),
        ("Accept of everything", with("*/*"), Result),
        ("Accept of kinds", with("application/*, text/*"), Result),
        ("Accept of any kind of JSON", with("*/json, text/event-stream"), Error(406, -32600)),
        ("Accept of other JSON", with("application/jsonp, text/*"), Error(406, -32600)),
        ("Accept of nothing but signs", with(";;;,,,/,=;q"), Error(406, -32600)),
        // RFC 9110, 12.4.2: a weight of zero is "not acceptable".
        (
            "Accept that refuses a stream",
            with("application/json, text/event-stream;q=0"),
            Error(406, -32600),
        ),
        (
            "Accept that refuses JSON",
            with("application/json;q=0.000, text/event-stream"),
            Error(406, -32600),
        ),
        ("Accept of 30000 letters", with(&"a/b,".repeat(7500)), Error(406, -32600)),
        ("Accept with a wrong weight", with(&format!("{both};q=ü")), Result),
        (
            "Accept in two headers",
            with("application/json").with("Accept", "text/event-stream"),
            Result,
        ),
        ("a stream as JSON", get("application/json"), Error(406, -32600)),
        ("a stream in no form", get("*/*;q=0"), Error(406, -32600)),
        (
            "the old stream as JSON",
            Ask::new("GET", "/sse").set("Accept", "a/b"),
            Error(406, -32600),
        ),
        ("the old stream at a scope", Ask::new("GET", "/sse/acme"), Stream),
    ]
}

fn content_types(place: &Place) -> Vec<Row> {
    let with = |value: &str| place.post(PING).set("Content-Type", value);
    vec![
        ("no Content-Type", place.post(PING).without("Content-Type"), Error(415, -32600)),
        ("an empty Content-Type", with(""), Error(415, -32600)),
        ("a text", with("text/plain"), Error(415, -32600)),
        ("a form", with("application/x-www-form-urlencoded"), Error(415, -32600)),
        ("a form in parts", with("multipart/form-data; boundary=x"), Error(415, -32600)),
        ("a kind of JSON", with("application/json-rpc"), Error(415, -32600)),
        ("text that says JSON", with("text/json"), Error(415, -32600)),
        ("two in one", with("application/json, text/plain"), Error(415, -32600)),
        (
            "two Content-Types",
            with("application/json").with("Content-Type", "text/plain"),
            Error(415, -32600),
        ),
        ("JSON in other case", with("APPLICATION/Json"), Result),
        ("JSON with parameters", with("application/json ; charset=\"utf-8\";;"), Result),
        ("JSON of 30000 letters", with(&"application/json".repeat(2000)), Error(415, -32600)),
        // Bytes that are said to be packed are read as they are.
        (
            "packed bytes",
            with("application/json").with("Content-Encoding", "gzip").body(b"\x1f\x8b\x08\0\0"),
            Error(400, -32700),
        ),
    ]
}

/// Bodies that are announced by a length.
fn lengths(place: &Place) -> Vec<Row> {
    let length = |value: &str| place.post(PING).framed("Content-Length", value);
    vec![
        ("a length of letters", length("abc"), Platform(400)),
        ("a negative length", length("-1"), Platform(400)),
        ("a length with a sign", length("+40"), Platform(400)),
        ("a length in hexadecimal", length("0x28"), Platform(400)),
        ("a length with a blank", length("4 0"), Platform(400)),
        ("an empty length", length(""), Platform(400)),
        ("a length of two", length("40, 40"), Platform(400)),
        ("two lengths", length("40").with("Content-Length", "2"), Platform(400)),
        ("a length past 64 bits", length(&"9".repeat(30)), Platform(400)),
        ("a length of 9 exabytes", length("9223372036854775807"), Error(413, -32600)),
        ("a length of one byte too many", length("4194305"), Error(413, -32600)),
        // Without a length there is no body (RFC 9112, 6.3).
        ("no length", place.post("").framed("X-None", "0"), Error(400, -32700)),
        ("a length of nothing", length("0"), Error(400, -32700)),
        ("a length of too little", length("10"), Error(400, -32700)),
        ("a client that stops halfway", length("4000").cut(), Error(400, -32600)),
        ("a client that waits to be told", place.post(PING).with("Expect", "100-continue"), Result),
        ("a client that expects more", place.post(PING).with("Expect", "bread"), Result),
    ]
}

/// Bodies that come in pieces.
fn chunks(place: &Place) -> Vec<Row> {
    let chunked = |body: &str| {
        let ask = place.post("").framed("Transfer-Encoding", "chunked");
        ask.body(body)
    };
    let encoded = |value: &str| place.post(PING).framed("Transfer-Encoding", value);
    let size = PING.len();
    let whole = format!("{size:x}\r\n{PING}\r\n0\r\n\r\n");
    let bytes: String = PING.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    let spaces = format!("400001\r\n{}\r\n0\r\n\r\n", " ".repeat(0x40_0001));
    vec![
        ("one piece", chunked(&whole), Result),
        ("a piece for each letter", chunked(&format!("{bytes}0\r\n\r\n")), Result),
        ("no piece", chunked("0\r\n\r\n"), Error(400, -32700)),
        ("a piece too large", chunked(&spaces), Error(413, -32600)),
        ("a piece with an extension", chunked(&whole.replacen("\r\n", ";a=b\r\n", 1)), Result),
        ("a trailer", chunked(&whole.replace("0\r\n\r\n", "0\r\nA: b\r\n\r\n")), Result),
        // What breaks off is told so.
        ("a piece of no size", chunked("zz\r\nabc\r\n0\r\n\r\n"), Error(400, -32600)),
        ("a piece of negative size", chunked("-1\r\nabc\r\n0\r\n\r\n"), Error(400, -32600)),
        ("a piece past 64 bits", chunked(&format!("{}\r\n", "f".repeat(40))), Error(400, -32600)),
        ("a client that stops in a piece", chunked("ff\r\nabc").cut(), Error(400, -32600)),
        // The pieces count, and not the length (RFC 9112, 6.3).
        ("pieces and a length", chunked(&whole).with("Content-Length", "5"), Result),
        ("an encoding nobody knows", encoded("gzip, chunked"), Error(400, -32600)),
        ("no encoding", encoded("identity"), Platform(400)),
        ("pieces twice", encoded("chunked, chunked"), Error(400, -32600)),
    ]
}

/// Lines that are no HTTP, and headers that are none.
fn lines(place: &Place) -> Vec<Row> {
    let ping = || place.post(PING);
    let many = (0..3000).fold(ping(), |ask, n| ask.with(&format!("X-{n}"), "x".repeat(20)));
    let alien = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    vec![
        ("a version of HTTP before", ping().start("POST /mcp HTTP/1.0"), Result),
        ("a version of HTTP to come", ping().start("POST /mcp HTTP/9.9"), Platform(400)),
        ("no version", ping().start("POST /mcp"), Platform(400)),
        ("a version that is none", ping().start("POST /mcp FTP"), Platform(400)),
        ("a blank too many", ping().start("POST  /mcp HTTP/1.1"), Platform(400)),
        ("a line of garbage", Ask::raw("\u{1}\u{2}\u{3}\r\n\r\n"), Platform(400)),
        ("an empty line", Ask::raw("\r\n\r\n").cut(), Closed),
        ("nothing", Ask::raw("").cut(), Closed),
        ("half a head", Ask::raw("POST /mcp HTTP/1.1\r\nHost: {host}\r\n").cut(), Closed),
        ("the preface of HTTP/2", Ask::raw(alien), Closed),
        ("a hello of TLS", Ask::raw(b"\x16\x03\x01\0\x05\x01\0\0\x01\0\r\n\r\n"), Platform(400)),
        ("a proxy's preface", Ask::raw("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n\r\n"), Platform(400)),
        ("a header without a name", ping().with("", "x"), Platform(400)),
        ("a header with a blank", ping().with("X Y", "x"), Platform(400)),
        ("a header that is no token", ping().with("X(Y)", "x"), Platform(400)),
        ("a header that ends early", ping().with("X", "a\0b"), Platform(400)),
        ("a header that goes on", ping().with("X", "a\r\n b"), Platform(400)),
        ("a header in a header", ping().with("X", "a\r\nOrigin: null"), Error(403, -32001)),
        ("a header with a bare return", ping().with("X", "a\rb"), Platform(400)),
        ("a header in other letters", ping().with("X", "ü\u{1F600}"), Result),
        ("a header of other bytes", ping().with("X", b"\xff\xfe\x80"), Result),
        ("a header of 30000 letters", ping().with("X", "x".repeat(30_000)), Result),
        ("a header of 300000 letters", ping().with("X", "x".repeat(300_000)), Result),
        ("3000 headers", many, Result),
        ("a header of ours within", ping().with("X-Hop-Listen", "1-0"), Result),
        ("a failure of ours within", ping().with("X-Hop-Failed", "1"), Result),
        (
            "a socket",
            Ask::new("GET", "/mcp").set("Connection", "Upgrade").with("Upgrade", "websocket"),
            Error(400, -32600),
        ),
        (
            "another protocol",
            ping().set("Connection", "Upgrade, close").with("Upgrade", "h2c"),
            Result,
        ),
    ]
}
