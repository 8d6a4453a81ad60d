//! Somebody signs in, makes keys, lets clients in, and ends them: the pages as a browser without scripts
//! sees them. It must not know what is measured.

use crate::{Result, server::Server};
use serde_json::{Value, json};

/// The verifier to every challenge here, and its S256.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT: &str = "https://client.test/callback";

/// A member of an object that is a text.
pub(crate) fn member(value: &Value, name: &str) -> Result<String> {
    let text = value.get(name).and_then(Value::as_str);
    Ok(text.ok_or_else(|| format!("no {name}: {value}"))?.to_owned())
}

/// A user's browser, and a client that they let in.
pub(crate) struct Browser {
    client: reqwest::blocking::Client,
    origin: String,
    cookies: Vec<String>,
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn pairs(all: &[(&str, &str)]) -> String {
    let all = all.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    all.collect::<Vec<_>>().join("&")
}

/// What stands between two texts.
fn between(text: &str, before: &str, after: char) -> Result<String> {
    let found = text.split_once(before).and_then(|(_, rest)| rest.split(after).next());
    Ok(found.ok_or_else(|| format!("no {before}: {text}"))?.to_owned())
}

/// The value of the first hidden field of a name.
fn hidden(page: &str, name: &str) -> Result<String> {
    between(page, &format!("name=\"{name}\" value=\""), '"')
}

impl Browser {
    /// Somebody signs in under the name that every key of the configuration is of.
    pub(crate) fn signed_in(server: &Server) -> Result<Self> {
        let client = reqwest::blocking::Client::builder();
        let client = client.redirect(reqwest::redirect::Policy::none()).build()?;
        let origin = format!("http://{}", server.address);
        let mut browser = Self { client, origin, cookies: Vec::new() };
        browser.send("/login", Some(&[("name", "alice"), ("then", "/account")]))?;
        Ok(browser)
    }

    /// What a page says, or where it leads.
    pub(crate) fn send(&mut self, path: &str, form: Option<&[(&str, &str)]>) -> Result<String> {
        let url = format!("{}{path}", self.origin);
        let request = match form {
            None => self.client.get(url),
            Some(form) => self
                .client
                .post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .header("origin", &self.origin)
                .body(pairs(form)),
        };
        let response = request.header("cookie", self.cookies.join("; ")).send()?;
        for cookie in response.headers().get_all("set-cookie") {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default().to_owned();
            if !pair.ends_with('=') {
                self.cookies.push(pair);
            }
        }
        // A page may go on by itself, too.
        let headers = response.headers();
        match headers.get("location").or_else(|| headers.get("refresh")) {
            Some(location) => Ok(location.to_str()?.trim_start_matches("0; url=").to_owned()),
            None => Ok(response.text()?),
        }
    }

    /// What the account page sends back with each of its forms.
    pub(crate) fn token(&mut self) -> Result<String> {
        let page = self.send("/account", None)?;
        hidden(&page, "token")
    }

    /// A personal key, and what the page knows it by.
    pub(crate) fn mints(&mut self) -> Result<(String, String)> {
        let token = self.token()?;
        let fields = [
            ("token", token.as_str()),
            ("action", "mint"),
            ("name", "bench"),
            ("scope", "/mcp"),
            ("days", "1"),
        ];
        let page = self.send("/account", Some(&fields))?;
        let key = format!("sbx_{}", between(&page, "sbx_", '<')?.trim());
        let page = self.send("/account", None)?;
        Ok((key, hidden(&page, "key")?))
    }

    /// Registers a client, lets it in, and says what it got.
    pub(crate) fn grants(&mut self) -> Result<(String, Value)> {
        let asked = json!({ "client_name": "bench", "redirect_uris": [REDIRECT],
            "token_endpoint_auth_method": "none" });
        let request = self.client.post(format!("{}/oauth/register", self.origin));
        let request = request.header("content-type", "application/json").body(asked.to_string());
        let registered: Value = serde_json::from_str(&request.send()?.text()?)?;
        let id = member(&registered, "client_id")?;
        let resource = format!("{}/mcp", self.origin);
        let query = pairs(&[
            ("response_type", "code"),
            ("client_id", &id),
            ("redirect_uri", REDIRECT),
            ("state", "s"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
        ]);
        let page = self.send(&format!("/authorize?{query}"), None)?;
        let (token, handle) = (hidden(&page, "token")?, hidden(&page, "handle")?);
        let address = self.send(
            "/authorize",
            Some(&[
                ("token", &token),
                ("handle", &handle),
                ("scope", "/mcp"),
                ("access", "write"),
                ("decision", "allow"),
            ]),
        )?;
        let code = between(&address, "code=", '&')?.replace("%3A", ":");
        let tokens = self.tokens(&[
            ("grant_type", "authorization_code"),
            ("client_id", &id),
            ("code", &code),
            ("code_verifier", VERIFIER),
        ])?;
        Ok((id, tokens))
    }

    pub(crate) fn tokens(&self, form: &[(&str, &str)]) -> Result<Value> {
        let request = self.client.post(format!("{}/oauth/token", self.origin));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        Ok(serde_json::from_str(&request.body(pairs(form)).send()?.text()?)?)
    }
}
