//! One workerd process, through `scripts/serve`: its address, its processor time, its state
//! folder, its end. It must not know what it serves.

use crate::Result;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};
use tokio::time::Instant;

/// The key that every call carries; its user is alice.
pub(crate) const KEY: &str = "bench-key";

/// Parts of a second in which Linux states processor time, whatever the machine (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Which processors servers run on. This process takes another.
pub(crate) struct Cpus(Option<&'static str>);

impl Cpus {
    /// Shares the machine out, where it has two processors and `taskset`.
    pub(crate) fn share() -> Result<Self> {
        let own = std::process::id().to_string();
        let several = std::thread::available_parallelism()?.get() > 1;
        let pinned = several
            && Command::new("taskset")
                .args(["--cpu-list", "--pid", "1", &own])
                .stdout(Stdio::null())
                .status()
                .is_ok_and(|status| status.success());
        Ok(Self(pinned.then_some("0")))
    }

    pub(crate) const fn is_pinned(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        match self.0 {
            None => Command::new(program),
            Some(cpus) => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", cpus, program]);
                command
            }
        }
    }
}

/// A folder for the state of servers, in memory where the machine has such a place: a disk's
/// speed is none of ours.
#[derive(Debug)]
pub(crate) struct State(PathBuf);

impl State {
    /// An empty one.
    pub(crate) fn fresh() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("signalbox-bench-{}-{count}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // What stays behind is small, and says where it came from.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server. Ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    script: Child,
    /// Held: the script writes to it.
    _output: BufReader<ChildStdout>,
    /// The process of workerd.
    pid: u32,
    /// `host:port`.
    pub(crate) address: String,
    /// When workerd was started.
    pub(crate) started: Instant,
    state: Option<State>,
}

impl Server {
    /// Serves a bundle over a state folder of its own.
    pub(crate) fn start(bundle: &str, cpus: &Cpus) -> Result<Self> {
        let state = State::fresh()?;
        let mut server = Self::start_over(bundle, state.path(), cpus)?;
        server.state = Some(state);
        Ok(server)
    }

    /// Serves a bundle with settings of its own, which may name servers on this machine. Anybody signs
    /// in under any name.
    pub(crate) fn start_with(bundle: &str, settings: &str, cpus: &Cpus) -> Result<Self> {
        let state = State::fresh()?;
        let file = state.path().join("settings.toml");
        fs::write(&file, settings)?;
        let mut command = cpus.command("scripts/serve");
        command.env("SETTINGS", &file).env("DEVELOPMENT", "1").env("DEV_LOGIN", "1");
        let mut server = Self::run(command, bundle, state.path())?;
        server.state = Some(state);
        Ok(server)
    }

    /// Serves a bundle over a given state folder.
    pub(crate) fn start_over(bundle: &str, state: &Path, cpus: &Cpus) -> Result<Self> {
        Self::run(cpus.command("scripts/serve"), bundle, state)
    }

    fn run(mut command: Command, bundle: &str, state: &Path) -> Result<Self> {
        let mut script = command
            .env("BUNDLE", bundle)
            .env("STATE", state)
            .env("PORT", "0")
            .env("DEV_KEYS", format!("alice={KEY}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(script.stdout.take().ok_or("no output")?);
        let pid = word(&mut output, "pid ")?.parse()?;
        let started = Instant::now();
        let url = word(&mut output, "ready http://")?;
        let address = url.split('/').next().unwrap_or_default().to_owned();
        Ok(Self { script, _output: output, pid, address, started, state: None })
    }

    /// Processor time used so far, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The name of the program, in brackets, may contain anything; utime and stime are the
        // 12th and 13th word after it.
        let (_, rest) = text.rsplit_once(") ").ok_or("no processor time")?;
        let mut ticks = 0.0;
        for word in rest.split(' ').skip(11).take(2) {
            ticks += word.parse::<f64>()?;
        }
        Ok(ticks / TICKS)
    }

    /// The state folder that was made for this server.
    pub(crate) fn state(&self) -> &Path {
        self.state.as_ref().map_or(Path::new(""), State::path)
    }
}

/// The next line, which begins like this; what follows.
fn word(output: &mut impl BufRead, beginning: &str) -> Result<String> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    let word = line.trim_end().strip_prefix(beginning);
    Ok(word.ok_or("the server did not start")?.to_owned())
}

impl Drop for Server {
    fn drop(&mut self) {
        // The script has a watcher that ends workerd with it.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
