//! The same under `wrangler dev`, which is what people develop with: another way to start workerd,
//! with a proxy of its own in front of it. It must not build anything.

use super::{MCP_REMOTE, PATHS, PYTHON, TYPESCRIPT, at, gets_in, provider};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread::JoinHandle,
};
use tests::{Bundle, root, setting};

/// Wrangler and all that it started. It ends with this value.
struct Wrangler {
    process: Child,
    origin: String,
    /// Reads on, or what it says of requests would end it.
    reader: Option<JoinHandle<()>>,
}

impl Wrangler {
    /// Serves the release with its state in a folder, and these logins. `secrets` is what its file of
    /// the environment says.
    fn start(state: &Path, logins: &[toml::Value], secrets: &str) -> Self {
        let (config, environment) = (state.join("wrangler.toml"), state.join("environment"));
        fs::write(&config, built(logins)).unwrap();
        let ring = "KEYRING=test=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        fs::write(&environment, format!("{ring}\n{secrets}\n")).unwrap();
        let mut process = Command::new(setting("SIGNALBOX_NODE"))
            .arg(root().join("node_modules/wrangler/bin/wrangler.js"))
            // Where it is not told, it looks for a free port before it takes it, and another may come first.
            .args(["dev", "--ip", "127.0.0.1", "--port", "0", "--inspector-port", "0"])
            .arg("--show-interactive-dev-session=false")
            .arg("--config")
            .arg(config)
            .arg("--env-file")
            .arg(environment)
            .arg("--persist-to")
            .arg(state)
            .env("WRANGLER_SEND_METRICS", "false")
            .env("WRANGLER_HIDE_BANNER", "true")
            .env("WRANGLER_LOG_PATH", state)
            .env("WRANGLER_REGISTRY_PATH", state.join("registry"))
            .env("CLOUDFLARE_CF_FETCH_ENABLED", "false")
            .current_dir(state)
            // So that all of it can be ended at once.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let origin = ready(&mut output);
        let reader = std::thread::spawn(move || {
            let _ = std::io::copy(&mut output, &mut std::io::sink());
        });
        Self { process, origin, reader: Some(reader) }
    }
}

/// The settings of the project, over a bundle that is there.
fn built(logins: &[toml::Value]) -> String {
    let text = fs::read_to_string(root().join("wrangler.toml")).unwrap();
    let mut settings: toml::Table = text.parse().unwrap();
    assert!(settings.remove("build").is_some());
    let main = Bundle::Release.folder().join("worker.js").to_str().unwrap().to_owned();
    assert!(settings.insert("main".into(), main.into()).is_some());
    let vars = settings["vars"].as_table_mut().unwrap();
    assert!(vars.insert("logins".into(), logins.to_vec().into()).is_none());
    settings.to_string()
}

/// Waits until it says where it is.
fn ready(output: &mut BufReader<ChildStdout>) -> String {
    let mut said = Vec::new();
    for line in output.by_ref().lines().map(Result::unwrap) {
        if let Some((_, origin)) = line.split_once("Ready on ") {
            return origin.trim().to_owned();
        }
        said.push(line);
    }
    panic!("it ended: {said:#?}")
}

impl Drop for Wrangler {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.process.wait();
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

/// Each of the clients, one after the other.
fn all_get_in(wrangler: &Wrangler) {
    for client in [TYPESCRIPT, PYTHON, MCP_REMOTE] {
        gets_in(&wrangler.origin, client, &PATHS, None);
    }
}

#[test]
fn under_a_name_of_ones_own() {
    let state = tempfile::tempdir().unwrap();
    let wrangler = Wrangler::start(state.path(), &[], "DEV_LOGIN=1");
    all_get_in(&wrangler);
}

#[test]
fn at_a_provider() {
    let (provider, state) = (provider(), tempfile::tempdir().unwrap());
    let login = toml::Value::try_from(at(&provider)).unwrap();
    let wrangler = Wrangler::start(state.path(), &[login], "DEVELOPMENT=1");
    all_get_in(&wrangler);
}
