//! Calls a server over keep-alive connections, each as fast as it is answered, and checks every
//! answer. It must not know what is called. (`rlt` is no base for this: it drives one target per
//! process and draws a screen meanwhile; this must be cheap, as it shares the machine.)

use crate::{Result, server::Server, variants::Call};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};

/// What came of calling for a while.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Of every call, sorted.
    latencies: Vec<Duration>,
    elapsed: Duration,
    /// Processor time of the server, in seconds.
    cpu: f64,
}

impl Sample {
    pub(crate) const fn calls(&self) -> u64 {
        self.latencies.len() as u64
    }

    /// Calls per second.
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn rate(&self) -> f64 {
        self.calls() as f64 / self.elapsed.as_secs_f64()
    }

    /// Processor time of the server per call, in microseconds.
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu * 1e6 / self.calls() as f64
    }

    /// The latency that this many of a hundred calls did not exceed, in milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let index = self.latencies.len().saturating_mul(percent) / 100;
        let latency = self.latencies.get(index).or(self.latencies.last());
        latency.map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    }
}

/// Calls for a while.
pub(crate) async fn run(
    server: &Server,
    call: &Call,
    connections: usize,
    duration: Duration,
) -> Result<Sample> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(&server.address).await?);
    }
    let before = server.cpu()?;
    let start = Instant::now();
    let end = start.checked_add(duration).ok_or("too long")?;
    let mut tasks = JoinSet::new();
    for connection in open {
        tasks.spawn(repeat(connection, call.clone(), end));
    }
    let mut latencies = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        latencies.extend(ended?.map_err(|error| format!("{call:?}: {error}"))?);
    }
    let (elapsed, cpu) = (start.elapsed(), server.cpu()? - before);
    latencies.sort_unstable();
    Ok(Sample { latencies, elapsed, cpu })
}

async fn repeat(
    mut connection: Connection,
    call: Call,
    end: Instant,
) -> std::result::Result<Vec<Duration>, String> {
    let mut latencies = Vec::new();
    let mut now = Instant::now();
    while now < end {
        let start = now;
        connection.call(&call).await.map_err(|error| error.to_string())?;
        now = Instant::now();
        latencies.push(now.duration_since(start));
    }
    Ok(latencies)
}

/// One connection. Closes with this value.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: String,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, address: address.to_owned() })
    }

    /// Calls, and checks the answer.
    pub(crate) async fn call(&mut self, call: &Call) -> Result<()> {
        let response = self.send(call).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let expected = call.expected.as_bytes();
        let says = |part: &[u8]| part == expected;
        if status == StatusCode::OK && body.windows(expected.len()).any(says) {
            Ok(())
        } else {
            Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into())
        }
    }

    /// Sends a call, whatever comes back.
    pub(crate) async fn send(&mut self, call: &Call) -> Result<Response<Incoming>> {
        let mut request = Request::post(call.path).header("host", &self.address);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(call.body().into()))?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}
