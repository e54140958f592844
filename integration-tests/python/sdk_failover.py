"""Every kind of call through the gateway at BASE_URL with the vendors' own SDKs and their own settings, sync and then
async. Prints one JSON line per answer."""

import asyncio
import inspect
import json
import os

import anthropic
import openai

base_url = os.environ["BASE_URL"]
key = os.environ["CLIENT_KEY"]
messages = [{"role": "user", "content": "say hello"}]


async def value(result):
    """What a call gives, whether the client is sync or async."""
    return await result if inspect.isawaitable(result) else result


async def items(stream):
    """All events of a stream, sync or async."""
    if hasattr(stream, "__aiter__"):
        return [item async for item in stream]
    return list(stream)


def show(name: str, text: str, **more: object) -> None:
    print(json.dumps({"name": name, "text": text, **more}))


async def talk(client, claude) -> None:
    raw = await value(client.chat.completions.with_raw_response.create(model="chat", messages=messages))
    chat = await value(raw.parse())
    attempts = raw.headers["x-llm-attempts"]
    show("chat", chat.choices[0].message.content, attempts=attempts, answered_by=raw.headers["x-llm-target"])

    chunks = await items(await value(client.chat.completions.create(model="chat", messages=messages, stream=True)))
    show("chat stream", "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices))

    response = await value(client.responses.create(model="chat", input="say hello"))
    show("responses", response.output_text)

    events = await items(await value(client.responses.create(model="chat", input="say hello", stream=True)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    show("responses stream", text, last=events[-1].type)

    embeddings = await value(client.embeddings.create(model="chat", input=["a", "b"]))
    show("embeddings", f"{len(embeddings.data)} embeddings")

    message = await value(claude.messages.create(model="chat", max_tokens=100, messages=messages))
    show("messages", message.content[0].text)

    stream = await value(claude.messages.create(model="chat", max_tokens=100, messages=messages, stream=True))
    events = await items(stream)
    text = "".join(event.delta.text for event in events if event.type == "content_block_delta")
    show("messages stream", text, last=events[-1].type)


openai_settings = {"base_url": f"{base_url}/v1", "api_key": key}
claude_settings = {"base_url": base_url, "api_key": key}
asyncio.run(talk(openai.OpenAI(**openai_settings), anthropic.Anthropic(**claude_settings)))
asyncio.run(talk(openai.AsyncOpenAI(**openai_settings), anthropic.AsyncAnthropic(**claude_settings)))
