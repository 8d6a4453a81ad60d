"""A conversation with the official Python client, against the tools of the test build: the server
asks its client in the middle of a call, says how far it is, ends its stream and goes on, stops when
it is told, and tells what has changed. talk.py URL KEY handshake|modern, or talk.py URL KEY old
where the path begins with /sse."""

import sys
import warnings
from contextlib import asynccontextmanager

import anyio
import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    CreateMessageResult,
    ElicitResult,
    ListRootsResult,
    ResourceUpdatedNotification,
    Root,
    TextContent,
    ToolListChangedNotification,
)

SECONDS = 30
FORM = {"username": "alice", "email": "alice@example.com", "name": "Alice", "color": "teal"}


class User:
    """Who is asked, what they do then, and what has been said to them."""

    def __init__(self):
        self.asked = []
        self.action = "accept"
        self.tell, self.told = anyio.create_memory_object_stream(10)

    async def elicited(self, context, params):
        self.asked.append(f"elicitation: {params.message}")
        content = FORM if self.action == "accept" else None
        return ElicitResult(action=self.action, content=content)

    async def sampled(self, context, params):
        self.asked.append("sampling")
        content = TextContent(type="text", text="Paris")
        return CreateMessageResult(role="assistant", model="none", content=content)

    async def rooted(self, context):
        self.asked.append("roots")
        return ListRootsResult(roots=[Root(uri="file:///home/alice/project", name="project")])

    async def notified(self, message):
        if isinstance(message, ToolListChangedNotification):
            await self.tell.send("tools")
        if isinstance(message, ResourceUpdatedNotification):
            await self.tell.send(message.params.uri)


class Talk:
    def __init__(self, client, user, era):
        self.client, self.user, self.era = client, user, era
        self.step = "start"

    def check(self, condition, message):
        if not condition:
            raise AssertionError(message)

    def asked(self, *expected):
        asked, self.user.asked = self.user.asked, []
        self.check(sorted(asked) == sorted(expected), f"asked: {asked}")

    async def call(self, name, arguments=None, **options):
        result = await self.client.call_tool(name, arguments or {}, **options)
        self.check(not result.is_error, f"{name}: {result}")
        return result.structured_content or result.content[0].text

    async def waiting(self, count):
        """Waits until this many calls of test_wait are at work."""
        while await self.call("test_waiting") != str(count):
            pass

    @asynccontextmanager
    async def listening(self, uri=None):
        """Gives a function that waits for the next change: of the tools, or of a resource."""
        if self.era == "modern":
            wanted = {"resource_subscriptions": [uri]} if uri else {"tools_list_changed": True}
            async with self.client.listen(**wanted) as subscription:

                async def heard():
                    return getattr(await anext(subscription), "uri", "tools")

                yield heard
            return
        if uri:
            await self.client.subscribe_resource(uri)
        yield self.user.told.receive
        if uri:
            await self.client.unsubscribe_resource(uri)

    async def questions(self):
        self.step = "elicitation"
        said = await self.call("test_elicitation", {"message": "who?"})
        self.check("accept" in said and "alice" in said, said)
        self.step = "sampling"
        said = await self.call("test_sampling", {"prompt": "capital?"})
        self.check("Paris" in said, said)
        self.step = "roots"
        said = await self.call("test_input_required_result_list_roots")
        self.check("project" in said, said)
        self.asked("elicitation: who?", "sampling", "roots")
        self.step = "one question after the other"
        said = await self.call("test_input_required_result_multi_round")
        self.check(said == "Alice likes teal", said)
        first, second = "What is your name?", "What is your favorite color?"
        self.asked(f"elicitation: Step 1: {first}", f"elicitation: Step 2: {second}")
        self.step = "three questions at once"
        said = await self.call("test_input_required_result_multiple_inputs")
        self.check(all(part in said for part in ["alice", "Paris", "project"]), said)
        self.asked(f"elicitation: {first}", "sampling", "roots")
        for action in ["decline", "cancel"]:
            self.step = f"the user's answer is {action}"
            self.user.action = action
            said = await self.call("test_elicitation", {"message": "who?"})
            self.check(said == f"User response: action: {action}, content: {{}}", said)

    async def cancels(self):
        self.step = "cancellation"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.call, "test_wait")
            await self.waiting(1)
            tasks.cancel_scope.cancel()
        await self.waiting(0)

    async def changes(self):
        self.step = "list changes"
        async with self.listening() as heard:
            await self.call("test_trigger_tool_change")
            self.check(await heard() == "tools", "something else changed")
        self.step = "a resource changes"
        note = await self.call("remember", {"text": "the first text"})
        async with self.listening(note["uri"]) as heard:
            await self.call("remember", {"id": note["id"], "text": "the second text"})
            uri = await heard()
            self.check(uri == note["uri"], f"{uri} instead of {note['uri']}")
        await self.call("forget", {"id": note["id"]})

    async def run(self):
        await self.questions()
        self.step = "progress"
        steps = []

        async def on_progress(progress, total, message):
            steps.append(progress)

        await self.call("test_tool_with_progress", progress_callback=on_progress)
        self.check(steps == [0, 50, 100], f"progress: {steps}")
        self.step = "a paused stream"
        await self.call("test_reconnection")
        await self.changes()
        await self.cancels()
        self.step = "end"


async def main():
    warnings.simplefilter("ignore")
    url, key, era = sys.argv[1:]
    headers = {"authorization": f"Bearer {key}"}
    user = User()
    async with httpx2.AsyncClient(headers=headers, timeout=SECONDS) as http:
        old = era == "old"
        transport = (
            sse_client(url, headers=headers) if old else streamable_http_client(url, http_client=http)
        )
        client = Client(
            transport,
            mode="2026-07-28" if era == "modern" else "legacy",
            read_timeout_seconds=SECONDS,
            elicitation_callback=user.elicited,
            sampling_callback=user.sampled,
            list_roots_callback=user.rooted,
            message_handler=user.notified,
        )
        talk = Talk(client, user, era)
        try:
            with anyio.fail_after(SECONDS):
                async with client:
                    await talk.run()
        except BaseException:
            print(f'talk ({era}) at {url}, step "{talk.step}", asked {user.asked}:', file=sys.stderr)
            raise
    print(f"talk ({era})")


anyio.run(main)
