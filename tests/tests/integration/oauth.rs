//! OAuth from beginning to end: the official TypeScript client discovers, registers, has its user let
//! it in, and is held to what it was given. Its user signs in under a name of their own, or at an
//! OpenID provider that nobody here wrote.

use serde_json::json;
use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};
use tests::{Bundle, Server, root, setting};

const PATHS: [&str; 3] = ["/mcp", "/mcp/acme", "/mcp/acme/web"];

pub(crate) fn script(name: &str) -> Command {
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
pub(crate) struct Provider {
    process: Child,
    issuer: String,
    /// What it says later has somewhere to go, or saying it would end it.
    _output: BufReader<ChildStdout>,
}

impl Provider {
    pub(crate) fn start() -> Self {
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

    /// Settings of a server where people sign in there, in a file in this folder.
    pub(crate) fn settings(&self, folder: &Path) -> String {
        let login = json!({ "kind": "oidc", "name": "local", "title": "Example", "issuer": self.issuer,
            "client_id": "signalbox" });
        let file = folder.join("settings.json");
        std::fs::write(&file, json!({ "vars": { "logins": [login] } }).to_string()).unwrap();
        file.to_str().unwrap().to_owned()
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
    let settings = provider.settings(state.path());
    let settings = [("SETTINGS", settings.as_str()), ("DEVELOPMENT", "1")];
    gets_in(&Server::start_with(Bundle::Release, state.path(), "", &settings));
}
