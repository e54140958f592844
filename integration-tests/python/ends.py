"""Reads one stream per model with a client in Python, all at once: ends.py CLIENT BASE_URL MODEL… node/ends.mjs runs it. Prints
each model with the seconds, the text and the error as JSON when its stream is over."""

import json
import os
import sys
import threading
import time

name, base_url, *models = sys.argv[1:]
LIMIT_S = float(os.environ["LIMIT_S"])
key = os.environ["CLIENT_KEY"]
messages = [{"role": "user", "content": "say hello"}]


def gpt():
    import openai

    return openai.OpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0)


def claude():
    import anthropic

    return anthropic.Anthropic(base_url=base_url, api_key=key, max_retries=0)


def openai_chat(model):
    stream = gpt().chat.completions.create(model=model, messages=messages, stream=True)
    return "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)


def openai_responses(model):
    events = gpt().responses.create(model=model, input="say hello", stream=True)
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def anthropic_create(model):
    events = claude().messages.create(model=model, max_tokens=9, messages=messages, stream=True)
    return "".join(event.delta.text for event in events if event.type == "content_block_delta")


def anthropic_stream(model):
    with claude().messages.stream(model=model, max_tokens=9, messages=messages) as stream:
        return stream.get_final_text()


def pydantic_ai(model):
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    agent = Agent(OpenAIChatModel(model, provider=OpenAIProvider(openai_client=async_gpt())))
    return "".join(agent.run_stream_sync("say hello").stream_text(delta=True))


def async_gpt():
    import openai

    return openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0)


def llamaindex(model):
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai import OpenAI

    client = OpenAI(model="gpt-4o", api_base=f"{base_url}/v1", api_key=key, additional_kwargs={"model": model})
    return "".join(part.delta or "" for part in client.stream_chat([ChatMessage(role="user", content="say hello")]))


CALLS = {
    "openai chat": openai_chat,
    "openai responses": openai_responses,
    "anthropic create": anthropic_create,
    "anthropic stream": anthropic_stream,
    "pydantic-ai": pydantic_ai,
    "llamaindex": llamaindex,
}


def told(model):
    line = {"model": model, "text": None, "error": None}
    began = time.monotonic()
    try:
        line["text"] = CALLS[name](model)
    except Exception as error:  # the type is what is told
        line["error"] = f"{type(error).__name__}: {error}"[:160]
    line["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(line), flush=True)


# The first call also imports the packages.
told("warm-up")
threads = [threading.Thread(target=told, args=[model], daemon=True) for model in models]
for thread in threads:
    thread.start()
deadline = time.monotonic() + LIMIT_S
for thread in threads:
    thread.join(max(0, deadline - time.monotonic()))
os._exit(0)
