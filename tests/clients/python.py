"""The job of job.mjs with the official Python client, in the era it is told:
python.py URL KEY handshake|modern. Owns the steps as that library does them. Prints one line of
JSON, or the step that failed to standard error, and exits with 1."""

import json
import random
import sys
import warnings
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urljoin, urlsplit

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    LOG_LEVEL_META_KEY,
    DiscoverResult,
    PromptReference,
    ResourceTemplateReference,
)

JOB_SECONDS = 60
REQUEST_SECONDS = 10
REVISIONS = {"handshake": "2025-11-25", "modern": "2026-07-28"}
PARAMETERS = ["organizationSlug", "projectSlug"]
OWN_TEMPLATE = "memory://notes/{id}"
SHARED_TEMPLATE = "memory://shared/{id}"


class Deviation(Exception):
    """Something is not as it must be. Not an assert: those can be switched off."""


def check(condition, message):
    if not condition:
        raise Deviation(message)


def equal(got, expected, what="it"):
    check(got == expected, f"{what}: expected {expected!r}, got {got!r}")


def word():
    # Digits have no inflections, so a word's beginning is a beginning of its stem.
    return "w" + "".join(random.choices("0123456789", k=16))


def ids(page):
    return [note["id"] for note in page["notes"]]


def texts(page):
    return [note["text"] for note in page["notes"]]


async def every(list_page, items):
    """Every item of a list, page by page."""
    found, cursor = [], None
    for _ in range(50):
        page = await list_page(cursor=cursor)
        found += getattr(page, items)
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise Deviation(f"{items} do not end")


class Peer:
    """One connection: the client, its tools, its session if it has one, and the logs it got."""

    def __init__(self, client, http):
        self.client, self.http = client, http
        self.tools, self.session, self.logs = [], None, []

    async def ask(self, name, **arguments):
        """The structured content of a result, once it is known to be what the text says too."""
        result = await self.client.call_tool(name, arguments)
        check(not result.is_error, f"{name} failed: {result.content}")
        equal(json.loads(result.content[0].text), result.structured_content, f"text of {name}")
        return result.structured_content


class Job:
    def __init__(self, url, key, era):
        self.url, self.key, self.era = url, key, era
        self.modern = era == "modern"
        # The URL says what is pinned. What it leaves open is named as this.
        pinned = urlsplit(url).path.split("/")[2:]
        self.depth = len(pinned)
        self.names = dict(zip(PARAMETERS, (pinned + ["acme", "web"][self.depth :]), strict=True))
        self.steps, self.step_name = 0, "start"
        self.word, self.tag, self.made = word(), word(), []
        self.text = f"The word of this run is {self.word}.\n\nZwölf Boxkämpfer: 🥊"
        self.title = f"About {self.word}"

    @contextmanager
    def step(self, name):
        self.step_name = name
        yield
        self.steps += 1

    @asynccontextmanager
    async def connect(self, url):
        async def on_response(response):
            peer.session = response.headers.get("mcp-session-id", peer.session)

        async def on_log(params):
            peer.logs.append(params.level)

        http = httpx2.AsyncClient(
            headers={"authorization": f"Bearer {self.key}"},
            timeout=REQUEST_SECONDS,
            event_hooks={"response": [on_response]},
        )
        client = Client(
            streamable_http_client(url, http_client=http),
            # Neither falls back to the other.
            mode=REVISIONS["modern"] if self.modern else "legacy",
            read_timeout_seconds=REQUEST_SECONDS,
            logging_callback=on_log,
        )
        peer = Peer(client, http)
        async with http:
            async with client:
                if self.modern:
                    # A forced revision is adopted unasked, so the server is asked what it is here.
                    said = await client.session.send_discover(REVISIONS["modern"])
                    client.session.adopt(DiscoverResult.model_validate(said))
                peer.tools = await every(client.list_tools, "tools")
                yield peer
            if peer.session is not None:
                await self.ended(peer, url)

    async def ended(self, peer, url):
        with self.step("the session is ended"):
            equal(await self.ping(peer.http, url, peer.session), 404, "status of the old session")

    async def ping(self, http, url, session):
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-session-id": session,
        }
        body = {"jsonrpc": "2.0", "id": "ping", "method": "ping"}
        return (await http.post(url, headers=headers, json=body)).status_code

    async def refused(self, awaitable, code, *parts):
        try:
            result = await awaitable
        except MCPError as error:
            equal(error.code, code, f"code of “{error.message}”")
            for part in parts:
                check(part in error.message, f"{part} is not in: {error.message}")
            return
        raise Deviation(f"expected error {code}, got {result!r}")

    async def not_found(self, client, uri):
        await self.refused(client.read_resource(uri), -32602 if self.modern else -32002, uri)

    async def failed(self, peer, name, **arguments):
        result = await peer.client.call_tool(name, arguments)
        check(result.is_error, f"expected a failed {name}, got {result!r}")
        return result.content[0].text

    async def run(self):
        self.step_name = "connect"
        async with self.connect(self.url) as peer:
            self.steps += 1
            await self.meets(peer)
            self.lists_tools(peer)
            await self.remembers(peer)
            await self.offers_resources(peer.client)
            await self.offers_prompts(peer.client)
            await self.replaces(peer)
            await self.shares(peer)
            await self.keeps_scopes(peer)
            await self.refuses_mistakes(peer)
            await self.reports(peer)
            await self.forgets(peer)
            self.step_name = "end"

    async def meets(self, peer):
        client = peer.client
        with self.step("revision"):
            equal(client.protocol_version, REVISIONS[self.era], "revision")
        with self.step("server info"):
            check(client.server_info, "the server does not say what it is")
            equal(client.server_info.name, "signalbox", "name")
        with self.step("capabilities"):
            for name in ["tools", "resources", "prompts", "completions", "logging"]:
                offered = getattr(client.server_capabilities, name)
                check(offered is not None, f"the capability {name} is missing")
        with self.step("session"):
            equal(peer.session is not None, not self.modern, "whether there is a session")
        # 2026-07-28 has neither method.
        if not self.modern:
            with self.step("ping"):
                await client.send_ping()
                equal(await self.ping(peer.http, self.url, peer.session), 200, "status of a ping")
            with self.step("logging/setLevel"):
                await client.set_logging_level("info")

    def lists_tools(self, peer):
        tools = {tool.name: tool for tool in peer.tools}
        ours = ["remember", "recall", "list_memories", "forget"]
        with self.step("tools/list"):
            for name in ours:
                check(name in tools, f"there is no tool {name}: {list(tools)}")
                tool, reads = tools[name], name in ["recall", "list_memories"]
                check(tool.title, f"{name} has no title")
                check(tool.annotations, f"{name} has no annotations")
                equal(tool.annotations.read_only_hint, reads, f"readOnlyHint of {name}")
                check(tool.output_schema, f"{name} has no outputSchema")
            equal(tools["forget"].annotations.destructive_hint, True, "destructiveHint of forget")
        with self.step("what the URL pins is in no schema"):
            for name in ours:
                schema = tools[name].input_schema
                for level, parameter in enumerate(PARAMETERS):
                    if level < self.depth:
                        check(parameter not in json.dumps(schema), f"{name} has it: {schema}")
                    else:
                        check(parameter in schema["properties"], f"{name} lacks it: {schema}")

    async def remembers(self, peer):
        async def keep(text, title):
            note = await peer.ask("remember", text=text, title=title, tags=[self.tag, "clients"])
            equal(note["uri"], f"memory://notes/{note['id']}", "uri")
            equal(note["shared"], False, "shared")
            self.made.append(note["id"])
            return note

        with self.step("remember"):
            self.note = await keep(self.text, self.title)
        with self.step("recall by a word"):
            page = await peer.ask("recall", query=self.word)
            equal(ids(page), self.made, "ids")
            expected = {"text": self.text, "title": self.title, "tags": [self.tag, "clients"],
                        "truncated": False, "createdAt": self.note["createdAt"]}
            equal({name: page["notes"][0][name] for name in expected}, expected, "the note")
        with self.step("recall by the beginning of a word"):
            equal(ids(await peer.ask("recall", query=self.word[:-3])), self.made, "ids")
        with self.step("list_memories page by page"):
            await keep("The second note.", "")
            await keep("The third note.", "")
            found, cursor = [], {}
            while cursor is not None:
                page = await peer.ask("list_memories", tag=self.tag, limit=1, **cursor)
                found += ids(page)
                check(len(found) < 10, "the pages do not end")
                cursor = {"cursor": page["nextCursor"]} if "nextCursor" in page else None
            equal(found, self.made[::-1], "ids of the pages")
            equal(ids(await peer.ask("list_memories", tag=self.tag)), self.made[::-1], "ids")

    async def offers_resources(self, client):
        uri = self.note["uri"]
        with self.step("resources/list"):
            listed = await every(client.list_resources, "resources")
            found = [(r.title, r.mime_type) for r in listed if str(r.uri) == uri]
            equal(found, [(self.title, "text/markdown")], "title and type")
        with self.step("resources/read"):
            [contents] = (await client.read_resource(uri)).contents
            expected = (uri, "text/markdown", self.text)
            equal((str(contents.uri), contents.mime_type, contents.text), expected, "contents")
        with self.step("resources/templates/list"):
            templates = await every(client.list_resource_templates, "resource_templates")
            uris = [template.uri_template for template in templates]
            check({OWN_TEMPLATE, SHARED_TEMPLATE} <= set(uris), f"templates: {uris}")
        with self.step("completion/complete of a template"):
            ref = ResourceTemplateReference(uri=OWN_TEMPLATE)
            answer = await client.complete(ref, {"name": "id", "value": self.note["id"][:-2]})
            equal(answer.completion.values, [self.note["id"]], "values")

    async def offers_prompts(self, client):
        with self.step("prompts/list"):
            prompts = {p.name: p for p in await every(client.list_prompts, "prompts")}
            check("briefing" in prompts, f"there is no prompt briefing: {list(prompts)}")
            equal([a.name for a in prompts["briefing"].arguments], ["topic"], "arguments")
        with self.step("prompts/get"):
            [message] = (await client.get_prompt("briefing", {"topic": self.word})).messages
            equal(message.role, "user", "role")
            check(self.text in message.content.text, f"not the note: {message.content.text}")
        with self.step("completion/complete of a prompt"):
            ref = PromptReference(name="briefing")
            answer = await client.complete(ref, {"name": "topic", "value": self.tag[:-2]})
            equal(answer.completion.values, [self.tag], "values")

    async def replaces(self, peer):
        with self.step("replace a note"):
            old, fresh = self.note, word()
            text = f"Now the word is {fresh}."
            new = await peer.ask(
                "remember", id=old["id"], text=text, title="Replaced", tags=[self.tag]
            )
            equal((new["id"], new["createdAt"]), (old["id"], old["createdAt"]), "id and creation")
            check(new["updatedAt"] >= old["updatedAt"], f"{new} was updated before {old}")
            equal(texts(await peer.ask("recall", query=fresh)), [text], "texts")
            equal(texts(await peer.ask("recall", query=self.word)), [], "texts")
            [contents] = (await peer.client.read_resource(old["uri"])).contents
            equal(contents.text, text, "contents")
            newest = await peer.ask("list_memories", tag=self.tag, limit=1)
            equal(ids(newest), [old["id"]], "the newest")

    async def shares(self, peer):
        with self.step("remember a shared note"):
            text = f"Everywhere: {word()}"
            shared = await peer.ask("remember", text=text, tags=[self.tag], shared=True)
            equal(shared["shared"], True, "shared")
            equal(shared["uri"], f"memory://shared/{shared['id']}", "uri")
            listed = (await peer.ask("list_memories", tag=self.tag))["notes"]
            equal(len(listed), len(self.made) + 1, "how many notes")
            equal([note["text"] for note in listed if note["shared"]], [text], "texts")
            [contents] = (await peer.client.read_resource(shared["uri"])).contents
            equal(contents.text, text, "contents")
            self.shared = shared

    async def keeps_scopes(self, peer):
        for parameter in PARAMETERS[: self.depth]:
            with self.step(f"{parameter} is pinned"):
                value = self.names[parameter]
                other = {"query": self.tag, parameter: "other"}
                asked = peer.client.call_tool("recall", other)
                await self.refused(asked, -32602, parameter, value, "other")
                same = await peer.ask("list_memories", tag=self.tag, **{parameter: value})
                equal(same, await peer.ask("list_memories", tag=self.tag), "the same context")
        # The same context from a wide URL, by arguments, and from the URL that pins it.
        path = "/mcp" if self.depth == 2 else "/".join(["/mcp", *self.names.values()])
        async with self.connect(urljoin(self.url, path)) as other:
            wide, narrow = (other, peer) if self.depth == 2 else (peer, other)
            named = self.names
            if self.depth == 1:
                named = {"projectSlug": self.names["projectSlug"]}
            with self.step("a call is routed by its arguments"):
                query = word()
                note = await wide.ask("remember", text=f"Over there: {query}", **named)
                there = await narrow.ask("recall", query=query)
                equal(ids(there), [note["id"]], "ids")
                equal(await wide.ask("recall", query=query, **named), there, "the wide answer")
                equal(ids(await wide.ask("recall", query=query)), [], "ids without arguments")
                await wide.ask("forget", id=note["id"], **named)
                equal(ids(await narrow.ask("recall", query=query)), [], "ids after forget")
            with self.step("what is shared is seen elsewhere, and nothing else"):
                listed = await other.ask("list_memories", tag=self.tag)
                equal(ids(listed), [self.shared["id"]], "ids")
                await other.client.read_resource(self.shared["uri"])
                await self.not_found(other.client, self.note["uri"])

    async def refuses_mistakes(self, peer):
        with self.step("an unknown tool"):
            await self.refused(peer.client.call_tool("no_such_tool", {}), -32602, "no_such_tool")
        with self.step("a missing argument"):
            text = await self.failed(peer, "recall")
            check("query" in text, f"query is not in: {text}")
        with self.step("forget what is not there"):
            text = await self.failed(peer, "forget", id="n0nothing")
            check("n0nothing" in text, f"n0nothing is not in: {text}")
        with self.step("read what is not there"):
            await self.not_found(peer.client, "memory://notes/n0nothing")

    async def reports(self, peer):
        """Needs the tools of the test build."""
        names = [tool.name for tool in peer.tools]
        if "test_tool_with_progress" in names:
            with self.step("progress comes in order, before the result"):
                heard = []

                async def on_progress(progress, total, message):
                    heard.append((progress, total))

                await peer.client.call_tool(
                    "test_tool_with_progress", {}, progress_callback=on_progress
                )
                equal(heard, [(0, 100), (50, 100), (100, 100)], "progress")
        if "test_tool_with_logging" in names:
            with self.step("log messages come before the result, as severe as was asked"):
                # Nothing asked: the handshake still has what it set first, a modern request
                # wants none.
                unasked = [] if self.modern else ["info"] * 3
                equal(await self.logged(peer, None), unasked, "logs")
                equal(await self.logged(peer, "info"), ["info"] * 3, "logs")
                equal(await self.logged(peer, "error"), [], "logs")

    async def logged(self, peer, level):
        meta = None
        if level and self.modern:
            meta = {LOG_LEVEL_META_KEY: level}
        elif level:
            await peer.client.set_logging_level(level)
        peer.logs.clear()
        await peer.client.call_tool("test_tool_with_logging", {}, meta=meta)
        return list(peer.logs)

    async def forgets(self, peer):
        with self.step("forget"):
            for note in [*self.made, self.shared["id"]]:
                equal((await peer.ask("forget", id=note))["id"], note, "id")
            equal(ids(await peer.ask("list_memories", tag=self.tag)), [], "ids")
            equal(ids(await peer.ask("recall", query=self.tag)), [], "ids")
            for gone in [self.note, self.shared]:
                await self.not_found(peer.client, gone["uri"])


async def main():
    if len(sys.argv) != 4 or sys.argv[3] not in REVISIONS:
        sys.exit("call it with URL KEY handshake|modern")
    # The library deprecates what only the handshake era has.
    warnings.simplefilter("ignore")
    url, key, era = sys.argv[1:]
    job = Job(url, key, era)
    try:
        with anyio.fail_after(JOB_SECONDS):
            await job.run()
    except BaseException as error:
        # Task groups wrap what failed in them.
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        what = f"{type(error).__name__}: {error}"
        print(f'python ({era}) at {url}, step "{job.step_name}": {what}', file=sys.stderr)
        sys.exit(1)
    done = {"client": "python", "era": era, "revision": REVISIONS[era], "steps": job.steps}
    print(json.dumps(done))


anyio.run(main)
