//! OAuth from beginning to end: the official TypeScript client discovers, registers, has its user let
//! it in, and is held to what it was given. Its user signs in under a name of their own, or at an
//! OpenID provider that nobody here wrote.

use serde_json::json;
use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Command, Stdio},
};
use tests::{Bundle, Server, root, setting};

const PATHS: [&str; 3] = ["/mcp", "/mcp/acme", "/mcp/acme/web"];

fn script(name: &str) -> Command {
    let mut command = Command::new(setting("SIGNALBOX_NODE"));
    command.arg(root().join("tests/clients").join(name));
    command
}

fn gets_in(server: &Server) {
    for path in PATHS {
        let status = script("oauth.mjs").args([server.origin.as_str(), path]).status().unwrap();
        assert!(status.success(), "{path}");
    }
}

#[test]
fn under_a_name_of_ones_own() {
    let state = tempfile::tempdir().unwrap();
    let settings = [("DEV_LOGIN", "1")];
    gets_in(&Server::start_with(Bundle::Release, state.path(), "", &settings));
}

/// An OpenID provider. It ends with this value.
struct Provider {
    process: Child,
    issuer: String,
    /// What it says later has somewhere to go, or saying it would end it.
    _output: BufReader<ChildStdout>,
}

impl Provider {
    fn start() -> Self {
        let client = json!({
            "client_id": "signalbox",
            "token_endpoint_auth_method": "none",
            "redirect_uris": ["http://127.0.0.1/login/callback/local"],
        });
        let mut command = script("idp.mjs");
        command.arg(client.to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let ready = |line: std::io::Result<String>| {
            line.unwrap().strip_prefix("ready ").map(ToOwned::to_owned)
        };
        let issuer = output.by_ref().lines().find_map(ready).expect("the provider is ready");
        Self { process, issuer, _output: output }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn at_a_provider_that_nobody_here_wrote() {
    let (provider, state) = (Provider::start(), tempfile::tempdir().unwrap());
    let login = json!({ "kind": "oidc", "name": "local", "issuer": provider.issuer,
        "client_id": "signalbox" });
    let file = state.path().join("settings.json");
    std::fs::write(&file, json!({ "vars": { "logins": [login] } }).to_string()).unwrap();
    let settings = [("SETTINGS", file.to_str().unwrap()), ("DEVELOPMENT", "1")];
    gets_in(&Server::start_with(Bundle::Release, state.path(), "", &settings));
}
