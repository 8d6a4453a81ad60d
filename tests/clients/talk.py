"""A conversation with the official Python client, against the tools of the test build: the server
asks its client in the middle of a call, says how far it is, and ends its stream and goes on.
talk.py URL KEY handshake|modern, or talk.py URL KEY old where the path begins with /sse."""

import sys
import warnings

import anyio
import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent

SECONDS = 30
asked = []


def check(condition, message):
    if not condition:
        raise SystemExit(f"talk: {message}")


async def elicited(context, params):
    asked.append(f"elicitation: {params.message}")
    answer = {"username": "alice", "email": "alice@example.com", "name": "Alice"}
    return ElicitResult(action="accept", content=answer)


async def sampled(context, params):
    asked.append("sampling")
    content = TextContent(type="text", text="Paris")
    return CreateMessageResult(role="assistant", model="none", content=content)


async def rooted(context):
    asked.append("roots")
    return ListRootsResult(roots=[Root(uri="file:///home/alice/project", name="project")])


async def talk(client):
    async def call(name, arguments=None, **options):
        result = await client.call_tool(name, arguments or {}, **options)
        check(not result.is_error, f"{name}: {result}")
        return str(result.content)

    check("alice" in await call("test_elicitation", {"message": "who?"}), "the answer is lost")
    check("Paris" in await call("test_sampling", {"prompt": "capital?"}), "the sample is lost")
    check("project" in await call("test_input_required_result_list_roots"), "the roots are lost")
    check([text.split(":")[0] for text in asked] == ["elicitation", "sampling", "roots"], asked)
    heard = []

    async def on_progress(progress, total, message):
        heard.append(progress)

    await call("test_tool_with_progress", progress_callback=on_progress)
    check(heard == [0, 50, 100], f"progress: {heard}")
    await call("test_reconnection")


async def main():
    warnings.simplefilter("ignore")
    url, key, era = sys.argv[1:]
    headers = {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=SECONDS) as http:
        old = era == "old"
        transport = (
            sse_client(url, headers=headers) if old else streamable_http_client(url, http_client=http)
        )
        client = Client(
            transport,
            mode="2026-07-28" if era == "modern" else "legacy",
            read_timeout_seconds=SECONDS,
            elicitation_callback=elicited,
            sampling_callback=sampled,
            list_roots_callback=rooted,
        )
        with anyio.fail_after(SECONDS):
            async with client:
                await talk(client)
    print(f"talk ({era}): {asked}")


anyio.run(main)
