"""Every kind of call through the gateway at BASE_URL with the vendors' own SDKs and default settings, first sync, then
async. Prints one JSON line per response."""

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
    """The result of a call of a sync or async client."""
    return await result if inspect.isawaitable(result) else result


async def items(stream):
    """All events of a sync or async stream."""
    if hasattr(stream, "__aiter__"):
        return [item async for item in stream]
    return list(stream)


def show(name: str, text: str, models: list[str], **more: object) -> None:
    print(json.dumps({"name": name, "text": text, "models": sorted(set(models)), **more}))


async def talk(client, claude) -> None:
    raw = await value(client.chat.completions.with_raw_response.create(model="chat", messages=messages))
    chat = await value(raw.parse())
    attempts = raw.headers["x-llm-attempts"]
    target, model = raw.headers["x-llm-target"], raw.headers["x-llm-model"]
    text = chat.choices[0].message.content
    show("chat", text, [chat.model], attempts=attempts, answered_by=target, header=model)

    chunks = await items(await value(client.chat.completions.create(model="chat", messages=messages, stream=True)))
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    show("chat stream", text, [chunk.model for chunk in chunks])

    response = await value(client.responses.create(model="chat", input="say hello"))
    show("responses", response.output_text, [response.model])

    events = await items(await value(client.responses.create(model="chat", input="say hello", stream=True)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    models = [event.response.model for event in events if hasattr(event, "response")]
    show("responses stream", text, models, last=events[-1].type)

    embeddings = await value(client.embeddings.create(model="chat", input=["a", "b"]))
    show("embeddings", f"{len(embeddings.data)} embeddings", [embeddings.model])

    message = await value(claude.messages.create(model="chat", max_tokens=100, messages=messages))
    show("messages", message.content[0].text, [message.model])

    stream = await value(claude.messages.create(model="chat", max_tokens=100, messages=messages, stream=True))
    events = await items(stream)
    text = "".join(event.delta.text for event in events if event.type == "content_block_delta")
    models = [event.message.model for event in events if event.type == "message_start"]
    show("messages stream", text, models, last=events[-1].type)


openai_settings = {"base_url": f"{base_url}/v1", "api_key": key}
claude_settings = {"base_url": base_url, "api_key": key}
asyncio.run(talk(openai.OpenAI(**openai_settings), anthropic.Anthropic(**claude_settings)))
asyncio.run(talk(openai.AsyncOpenAI(**openai_settings), anthropic.AsyncAnthropic(**claude_settings)))
