//! A native MCP server that does as little as one can, in a thread of its own: what is measured is the
//! way to it. By its path it hangs, fails or babbles. It must not know who asks.

use crate::{Result, variants::SIMPLE_ANSWER};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::HeaderValue,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{convert::Infallible, thread};
use tokio::net::TcpListener;

/// Starts it; it runs as long as this process does. Returns `host:port`.
pub(crate) fn start() -> Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let Ok(listener) = TcpListener::from_std(listener) else {
                return;
            };
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let io = TokioIo::new(stream);
                tokio::spawn(http1::Builder::new().serve_connection(io, service_fn(serve)));
            }
        });
    });
    Ok(address)
}

async fn serve(
    request: Request<Incoming>,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    if path.contains("hang") {
        std::future::pending::<()>().await;
    }
    if path.contains("fail") {
        return Ok(answer(StatusCode::INTERNAL_SERVER_ERROR, "it is broken".to_owned()));
    }
    if path.contains("garbage") {
        return Ok(answer(StatusCode::OK, "<html>it works</html>".to_owned()));
    }
    if request.method() != Method::POST {
        return Ok(answer(StatusCode::METHOD_NOT_ALLOWED, String::new()));
    }
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(id) = message.get("id") else {
        return Ok(answer(StatusCode::ACCEPTED, String::new()));
    };
    let result = result(message.get("method").and_then(Value::as_str).unwrap_or_default());
    let text = json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
    Ok(answer(StatusCode::OK, text))
}

/// The result of a request, in either era.
fn result(method: &str) -> Value {
    let tool = json!({ "name": "test_simple_text", "description": "Answers with a text",
        "inputSchema": { "type": "object" }, "annotations": { "readOnlyHint": true } });
    match method {
        "initialize" => json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
            "serverInfo": { "name": "far", "version": "1" } }),
        "server/discover" => json!({ "resultType": "complete", "ttlMs": 3_600_000,
            "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} },
            "cacheScope": "private" }),
        "tools/list" => json!({ "resultType": "complete", "tools": [tool], "ttlMs": 3_600_000,
            "cacheScope": "private" }),
        _ => {
            let content = json!([{ "type": "text", "text": SIMPLE_ANSWER }]);
            json!({ "resultType": "complete", "content": content, "isError": false })
        }
    }
}

fn answer(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}
