//! MCP servers that nobody here wrote, for Signalbox to have upstream: each is a group of processes
//! on a port of its own. It must not know what any test expects of them.

use crate::{root, setting};
use std::{
    env,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

/// Ends the whole group with the server, and with whoever holds the other end of its input: also
/// where a test is killed, and drops nothing.
const GROUP: &str = r#"exec 2>&1; { "$@" </dev/null; kill -KILL 0; } & read -r _; kill -KILL 0"#;

/// A running server. All its processes end when it is dropped.
#[derive(Debug)]
pub struct Upstream {
    command: Command,
    accepts: String,
    group: Child,
    log: Arc<Mutex<String>>,
    /// Where it speaks Streamable HTTP.
    pub url: String,
}

impl Upstream {
    /// The official server that has everything: sessions of 2025-11-25 whose answers are streams
    /// with ids; to a session that it does not know it says 400.
    #[must_use]
    pub fn everything() -> Self {
        let port = free_port();
        let mut command = node("@modelcontextprotocol/server-everything/dist/index.js");
        command.arg("streamableHttp").env("PORT", port.to_string());
        Self::start(&command, port, "listening on port")
    }

    /// The official server of a knowledge graph, which is kept in a file in this folder. It speaks
    /// over its standard input, so `supergateway` speaks for it: sessions whose answers are streams
    /// without ids, and a process for each.
    #[must_use]
    pub fn memory(folder: &Path) -> Self {
        Self::memory_with(folder, &["--stateful"])
    }

    /// The same without sessions.
    #[must_use]
    pub fn memory_without_sessions(folder: &Path) -> Self {
        Self::memory_with(folder, &[])
    }

    fn memory_with(folder: &Path, options: &[&str]) -> Self {
        let port = free_port();
        let server = packages().join("@modelcontextprotocol/server-memory/dist/index.js");
        let mut command = node("supergateway/dist/index.js");
        command
            // It is given to a shell.
            .args(["--stdio", &format!("'{}' '{}'", setting("SIGNALBOX_NODE"), server.display())])
            .args(["--outputTransport", "streamableHttp", "--port", &port.to_string()])
            .args(options)
            .env("MEMORY_FILE_PATH", folder.join("memory.jsonl"));
        Self::start(&command, port, "Listening on port")
    }

    /// The official server that knows the time, in Python. It speaks over its standard input, so
    /// `mcp-proxy` speaks for it: sessions of 2025-11-25 whose answers are plain JSON.
    #[must_use]
    pub fn time() -> Self {
        let port = free_port();
        let mut command = Command::new(setting("SIGNALBOX_BRIDGE"));
        command
            .args(["--port", &port.to_string(), "--"])
            .arg(python("mcp-server-time"))
            .args(["--local-timezone", "UTC"]);
        Self::start(&command, port, "Uvicorn running on")
    }

    /// The same server behind FastMCP, which speaks 2026-07-28 and every revision before. What it
    /// reads is written into this folder.
    ///
    /// # Panics
    /// Where that cannot be written.
    #[must_use]
    pub fn modern_time(folder: &Path) -> Self {
        let port = free_port();
        let (server, settings) = (python("mcp-server-time"), folder.join("time.json"));
        let servers = serde_json::json!({ "mcpServers": {
            "time": { "command": server, "args": ["--local-timezone", "UTC"] },
        } });
        std::fs::write(&settings, servers.to_string()).expect("the folder can be written");
        let mut command = Command::new(python("fastmcp"));
        command
            .arg("run")
            .arg(settings)
            .args(["--transport", "http", "--no-banner", "--port", &port.to_string()])
            .env("FASTMCP_CHECK_FOR_UPDATES", "off");
        Self::start(&command, port, "Uvicorn running on")
    }

    /// Starts any server, and waits until it says that it accepts. Of this process's environment it
    /// gets what finds programs, and nothing else: some tell it to whoever asks.
    ///
    /// # Panics
    /// Where it ends before.
    #[must_use]
    pub fn start(command: &Command, port: u16, accepts: &str) -> Self {
        let mut group = Command::new("bash");
        group.args(["-c", GROUP, "upstream"]).arg(command.get_program()).args(command.get_args());
        group.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
        group.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        group.current_dir(root()).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self::spawn(group, port, accepts)
    }

    /// Ends it, with everything that it has not kept in a file, and starts it again where it was.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn restart(&mut self) {
        self.end();
        let command = std::mem::replace(&mut self.command, Command::new("true"));
        let authority = self.url.trim_start_matches("http://").split('/').next();
        let port = authority.and_then(|authority| authority.split_once(':'));
        let port = port.and_then(|(_, port)| port.parse().ok()).expect("its port");
        *self = Self::spawn(command, port, &self.accepts);
    }

    fn spawn(mut command: Command, port: u16, accepts: &str) -> Self {
        let mut group = command.spawn().expect("bash starts");
        let output = group.stdout.take().expect("its output");
        let log = Arc::new(Mutex::new(String::new()));
        let (said, heard) = mpsc::channel();
        let (kept, word) = (Arc::clone(&log), accepts.to_owned());
        // It reads on to the end: a server whose output nobody reads stops.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let is_ready = line.contains(&word);
                let mut log = kept.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
                drop(log);
                if is_ready {
                    // Nobody listens to the second time.
                    let _ = said.send(());
                }
            }
        });
        let url = format!("http://127.0.0.1:{port}/mcp");
        let upstream = Self { command, accepts: accepts.to_owned(), group, log, url };
        assert!(heard.recv().is_ok(), "{:?} ended:\n{}", upstream.command, upstream.log());
        upstream
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Upstream {
    fn end(&mut self) {
        drop(self.group.stdin.take());
        let _ = self.group.wait();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.end();
    }
}

/// A port that nobody listens to. Another process may take it before it is used; that is rare, and
/// the server that comes too late says so.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn packages() -> PathBuf {
    root().join("node_modules")
}

/// A program of an npm package.
fn node(script: &str) -> Command {
    let mut command = Command::new(setting("SIGNALBOX_NODE"));
    command.arg(packages().join(script));
    command
}

/// A program beside the Python that the tests have.
fn python(program: &str) -> PathBuf {
    Path::new(&setting("SIGNALBOX_PYTHON")).with_file_name(program)
}
