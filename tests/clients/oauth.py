"""The official Python client gets in by OAuth at one address, in both eras, and is held to what it
was given: oauth.py ORIGIN PATH [DOCUMENT]. It registers, or is known by the address of a document
about itself. Owns what that client keeps; it must not know who lets its user in, browser.mjs does.
Prints one line of JSON, or what is wrong to standard error, and exits with 1."""

import json
import os
import sys
import time
import warnings
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

JOB_SECONDS = 120
REQUEST_SECONDS = 10
MODERN = "2026-07-28"
REDIRECT = "http://127.0.0.1:9/callback"
BROWSER = Path(__file__).with_name("browser.mjs")


class Deviation(Exception):
    """Something is not as it must be. Not an assert: those can be switched off."""


def equal(got, expected, what="it"):
    if got != expected:
        raise Deviation(f"{what}: expected {expected!r}, got {got!r}")


class Kept:
    """What a client keeps between its runs, and how often its user was asked."""

    def __init__(self, document):
        self.document, self.tokens, self.client = document, None, None
        self.identified, self.asked = 0, []

    async def get_tokens(self):
        return self.tokens and self.tokens.model_copy()

    async def set_tokens(self, tokens):
        self.tokens = tokens.model_copy()

    async def get_client_info(self):
        return self.client and self.client.model_copy()

    async def set_client_info(self, client):
        self.client = client.model_copy()
        self.identified += 1


class Run:
    """One run of a client over what it has kept. Its user makes some choices when they are asked."""

    def __init__(self, url, kept, *choices):
        self.url, self.kept, self.choices, self.answer = url, kept, choices, None
        metadata = OAuthClientMetadata(
            client_name="A Python client",
            redirect_uris=[REDIRECT],
            token_endpoint_auth_method="none",
        )
        self.auth = OAuthClientProvider(
            url, metadata, kept, self.lets_in, self.answered, client_metadata_url=kept.document
        )

    async def lets_in(self, url):
        self.kept.asked.append(url)
        browser = [os.environ["SIGNALBOX_NODE"], BROWSER, url, REDIRECT, *self.choices]
        said = (await anyio.run_process(browser, stderr=None, stdout=PIPE)).stdout
        self.answer = parse_qs(urlsplit(said.decode().strip()).query)

    async def answered(self):
        [code], [state], [iss] = (self.answer[name] for name in ["code", "state", "iss"])
        return AuthorizationCodeResult(code=code, state=state, iss=iss)

    @asynccontextmanager
    async def connected(self, mode):
        http = httpx2.AsyncClient(auth=self.auth, timeout=REQUEST_SECONDS)
        transport = streamable_http_client(self.url, http_client=http)
        async with http, Client(transport, mode=mode) as client:
            yield client

    async def works(self, mode):
        """Keeps a note and finds it: what a whole connection is good for."""
        async with self.connected(mode) as client:
            note = await ask(client, "remember", text=f"kept in the {mode} era")
            found = await ask(client, "recall", query=f"{mode} era", limit=1)
            equal([found["id"] for found in found["notes"]], [note["id"]], "what is found")


async def ask(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    equal(result.is_error, False, f"{result.content}")
    return result.structured_content


async def status(url, token):
    """What a token is worth at an address."""
    headers = {
        "authorization": f"Bearer {token}",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": MODERN,
        "mcp-method": "tools/list",
    }
    about = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"_meta": about}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params}
    async with httpx2.AsyncClient(timeout=REQUEST_SECONDS) as http:
        return (await http.post(url, headers=headers, json=message)).status_code


async def gets_in(url, kept):
    """From a client that knows nothing to one that has called a tool in both eras."""
    run = Run(url, kept)
    await run.works("legacy")
    await run.works(MODERN)
    equal((kept.identified, len(kept.asked)), (1, 1), "how often it said who it is and asked")
    equal({"mcp:read", "mcp:write"} <= set(kept.tokens.scope.split()), True, kept.tokens.scope)
    equal(kept.client.client_id == kept.document, kept.document is not None, "the document")
    return run


async def is_held_to_its_address(origin, path, token):
    equal(await status(f"{origin}{path}", token), 200, "status")
    equal(await status(f"{origin}{path}", f"{token}x"), 401, "status of another token")
    wider = path.rpartition("/")[0]
    if wider:
        equal(await status(f"{origin}{wider}", token), 401, "status at a wider address")
        equal(await status(f"{origin}{path}-too", token), 401, "status at another address")
    if path.count("/") < 3:
        equal(await status(f"{origin}{path}/inside", token), 200, "status inside")


async def refreshes(run):
    """Its token is over: it gets the next one without its user."""
    before = run.kept.tokens
    run.auth.context.token_expiry_time = time.time() - 1
    await run.works(MODERN)
    after = run.kept.tokens
    equal(before.access_token != after.access_token, True, "another access token")
    equal(before.refresh_token != after.refresh_token, True, "another refresh token")
    equal(len(run.kept.asked), 1, "how often it asked")


async def starts_again(url, kept):
    """What it kept is enough, until it is not good any more: then its user is asked once more."""
    await Run(url, kept).works(MODERN)
    equal(len(kept.asked), 1, "how often it asked")
    kept.tokens.access_token += "x"
    await Run(url, kept).works(MODERN)
    equal((kept.identified, len(kept.asked)), (1, 2), "how often it said who it is and asked")


async def asks_for_more(url, kept):
    """Its user lets it read only, and is asked again when it writes."""
    run = Run(url, kept, "access=read")
    async with run.connected(MODERN) as client:
        await ask(client, "recall", query="era")
        equal("mcp:write" in kept.tokens.scope.split(), False, kept.tokens.scope)
        run.choices = ()
        await ask(client, "remember", text="kept by a client that asked for more")
    equal("mcp:write" in kept.tokens.scope.split(), True, kept.tokens.scope)
    equal((kept.identified, len(kept.asked)), (1, 2), "how often it said who it is and asked")


async def job(origin, path, document=None):
    url = f"{origin}{path}"
    run = await gets_in(url, Kept(document))
    await is_held_to_its_address(origin, path, run.kept.tokens.access_token)
    await refreshes(run)
    await starts_again(url, run.kept)
    await asks_for_more(url, Kept(document))


async def main():
    if len(sys.argv) not in (3, 4):
        sys.exit("call it with ORIGIN PATH [DOCUMENT]")
    # The library deprecates what only the handshake era has.
    warnings.simplefilter("ignore")
    path = sys.argv[2]
    try:
        with anyio.fail_after(JOB_SECONDS):
            await job(*sys.argv[1:])
    except BaseException as error:
        # Task groups wrap what failed in them.
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        print(f"oauth.py at {path}: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    print(json.dumps({"client": "oauth.py", "path": path}))


anyio.run(main)
