"""Failing calls of a client in Python with its default settings, all at once: retries.py CLIENT BASE_URL MODEL… node/retries.mjs
runs it and counts the requests. Prints each model with the error of its call."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

name, base_url, *models = sys.argv[1:]
key = os.environ["CLIENT_KEY"]
messages = [{"role": "user", "content": "say hello"}]


def openai_python(model):
    import openai

    client = openai.OpenAI(base_url=f"{base_url}/v1", api_key=key)
    return client.chat.completions.create(model=model, messages=messages)


def anthropic_python(model):
    import anthropic

    client = anthropic.Anthropic(base_url=base_url, api_key=key)
    return client.messages.create(model=model, max_tokens=9, messages=messages)


def llamaindex(model):
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai import OpenAI

    # It knows only the names of OpenAI's models, so the model is given as one more field of the body.
    client = OpenAI(model="gpt-4o", api_base=f"{base_url}/v1", api_key=key, additional_kwargs={"model": model})
    return client.chat([ChatMessage(role="user", content="say hello")])


def pydantic_ai(model):
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=f"{base_url}/v1", api_key=key)
    return Agent(OpenAIChatModel(model, provider=provider)).run_sync("say hello")


CALLS = {
    "openai-python": openai_python,
    "anthropic-python": anthropic_python,
    "llamaindex": llamaindex,
    "pydantic-ai": pydantic_ai,
}


def told(model):
    try:
        CALLS[name](model)
        return "an answer"
    except Exception as error:  # the type is what is told
        return f"{type(error).__name__}: {error}".replace("\n", " ")[:200]


with ThreadPoolExecutor(len(models)) as pool:
    for model, error in zip(models, pool.map(told, models)):
        print(f"{model}\t{error}")
