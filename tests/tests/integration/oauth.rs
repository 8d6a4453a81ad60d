//! OAuth from beginning to end: real clients discover, register, have their user let them in, and are
//! held to what they were given: the official TypeScript and Python clients, and mcp-remote. Their
//! user signs in under a name of their own, or at an OpenID provider that nobody here wrote. A client
//! may be known by the address of a document about itself instead of registering.

mod wrangler;

use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};
use tests::{Bundle, Server, root, setting};

const PATHS: [&str; 3] = ["/mcp", "/mcp/acme", "/mcp/acme/web"];

/// Where clients are sent back to. Nobody is there: the browser stops before.
const CALLBACK: &str = "http://127.0.0.1:9/callback";

/// The programs in tests/clients that get in.
const TYPESCRIPT: [&str; 2] = ["SIGNALBOX_NODE", "oauth.mjs"];
const PYTHON: [&str; 2] = ["SIGNALBOX_PYTHON", "oauth.py"];
const MCP_REMOTE: [&str; 2] = ["SIGNALBOX_NODE", "oauth-remote.mjs"];

pub(crate) fn script([program, name]: [&str; 2]) -> Command {
    let mut command = Command::new(setting(program));
    command.arg(root().join("tests/clients").join(name));
    command
}

/// At all of these scopes at the same time.
fn gets_in(origin: &str, client: [&str; 2], paths: &[&str], document: Option<&str>) {
    let start = |path: &&str| {
        let mut command = script(client);
        command.args([origin, path]).args(document).stderr(Stdio::piped()).spawn().unwrap()
    };
    let jobs: Vec<_> = paths.iter().map(start).collect();
    for (path, job) in paths.iter().zip(jobs) {
        let output = job.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{client:?} at {path}: {said}");
    }
}

fn under_a_name_of_ones_own(client: [&str; 2]) {
    let state = tempfile::tempdir().unwrap();
    let settings = [("DEV_LOGIN", "1")];
    let server = Server::start_with(Bundle::Release, state.path(), "", &settings);
    gets_in(&server.origin, client, &PATHS, None);
}

#[test]
fn typescript_under_a_name_of_ones_own() {
    under_a_name_of_ones_own(TYPESCRIPT);
}

#[test]
fn python_under_a_name_of_ones_own() {
    under_a_name_of_ones_own(PYTHON);
}

#[test]
fn mcp_remote_under_a_name_of_ones_own() {
    under_a_name_of_ones_own(MCP_REMOTE);
}

/// A program that serves something beside the server, at an address. It ends with this value.
pub(crate) struct Beside {
    process: Child,
    address: String,
    /// What it says later has somewhere to go, or saying it would end it.
    _output: BufReader<ChildStdout>,
}

impl Beside {
    /// Waits until it says `ready ADDRESS`.
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let ready = |line: std::io::Result<String>| {
            line.unwrap().strip_prefix("ready ").map(ToOwned::to_owned)
        };
        let address = output.by_ref().lines().find_map(ready).expect("it is ready");
        Self { process, address, _output: output }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn provider() -> Beside {
    let client = json!({
        "client_id": "signalbox",
        "token_endpoint_auth_method": "none",
        "redirect_uris": ["http://127.0.0.1/login/callback/local"],
    });
    Beside::start(script(["SIGNALBOX_NODE", "idp.mjs"]).arg(client.to_string()))
}

/// How the server is told of it.
fn at(provider: &Beside) -> Value {
    json!({ "kind": "oidc", "name": "local", "title": "Example", "issuer": provider.address,
        "client_id": "signalbox" })
}

/// Settings of a server where people sign in there, in a file in this folder.
pub(crate) fn settings(provider: &Beside, folder: &Path) -> String {
    let file = folder.join("settings.json");
    fs::write(&file, json!({ "vars": { "logins": [at(provider)] } }).to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

fn at_a_provider_that_nobody_here_wrote(client: [&str; 2]) {
    let (provider, state) = (provider(), tempfile::tempdir().unwrap());
    let settings = settings(&provider, state.path());
    let settings = [("SETTINGS", settings.as_str()), ("DEVELOPMENT", "1")];
    let server = Server::start_with(Bundle::Release, state.path(), "", &settings);
    gets_in(&server.origin, client, &PATHS, None);
}

#[test]
fn typescript_at_a_provider() {
    at_a_provider_that_nobody_here_wrote(TYPESCRIPT);
}

#[test]
fn python_at_a_provider() {
    at_a_provider_that_nobody_here_wrote(PYTHON);
}

#[test]
fn mcp_remote_at_a_provider() {
    at_a_provider_that_nobody_here_wrote(MCP_REMOTE);
}

/// A client's document about itself, and what a server is told that trusts where it is.
fn document(folder: &Path) -> (Beside, PathBuf) {
    let certificate = folder.join("certificate.pem");
    let mut command = script(["SIGNALBOX_PYTHON", "document.py"]);
    command.arg(&certificate).args([CALLBACK, "http://localhost/oauth/callback"]);
    let document = Beside::start(&mut command);
    let config = folder.join("trusting.capnp");
    let made = Command::new(setting("SIGNALBOX_NODE"))
        .current_dir(root())
        .arg("scripts/workerd-config.mjs")
        .arg(Bundle::Release.folder())
        .args(["wrangler.toml", ""])
        .arg(&config)
        .status();
    assert!(made.unwrap().success());
    let text = fs::read_to_string(&config).unwrap();
    let public = "trustBrowserCas = true";
    assert!(text.contains(public), "{text}");
    let certificate = json!([fs::read_to_string(certificate).unwrap()]);
    let trusting = format!("{public}, trustedCertificates = {certificate}");
    fs::write(&config, text.replace(public, &trusting)).unwrap();
    (document, config)
}

fn known_by_a_document(client: [&str; 2]) {
    let state = tempfile::tempdir().unwrap();
    let (document, config) = document(state.path());
    let config = ("CONFIG", config.to_str().unwrap());
    let settings = [config, ("DEVELOPMENT", "1"), ("DEV_LOGIN", "1")];
    let server = Server::start_with(Bundle::Release, state.path(), "", &settings);
    // Whose client it is does not depend on the scope.
    gets_in(&server.origin, client, &PATHS[1..2], Some(&document.address));
}

#[test]
fn typescript_known_by_a_document() {
    known_by_a_document(TYPESCRIPT);
}

#[test]
fn python_known_by_a_document() {
    known_by_a_document(PYTHON);
}

#[test]
fn mcp_remote_known_by_a_document() {
    known_by_a_document(MCP_REMOTE);
}

/// Or anybody could have the server look around where it stands.
#[test]
fn a_document_on_this_machine_is_read_in_development_only() {
    let state = tempfile::tempdir().unwrap();
    let (document, config) = document(state.path());
    let settings = [("CONFIG", config.to_str().unwrap()), ("DEV_LOGIN", "1")];
    let server = Server::start_with(Bundle::Release, state.path(), "", &settings);
    let page = server.url(&format!(
        "/authorize?response_type=code&client_id={}&redirect_uri={CALLBACK}&state=1\
         &code_challenge={}&code_challenge_method=S256&resource={}",
        document.address,
        "a".repeat(43),
        server.url("/mcp/acme"),
    ));
    let browser = script(["SIGNALBOX_NODE", "browser.mjs"]).args([&page, CALLBACK]).output();
    let said = String::from_utf8(browser.unwrap().stderr).unwrap();
    assert!(said.contains("The client's description of itself cannot be read."), "{said}");
}
