"""Truncated streams: each SDK must raise an error and never return a truncated response as complete."""

import json
import os

import anthropic
import openai

BASE_URL = os.environ["BASE_URL"]


def report(name, read):
    """Reads a stream to its end and prints what arrived and which error ended it."""
    came = []
    try:
        for piece in read():
            came.append(piece)
        error = None
    except Exception as raised:  # the type is what is tested
        error = type(raised).__name__
    print(json.dumps({"name": name, "came": len(came), "error": error}), flush=True)


def chat():
    client = openai.OpenAI(base_url=f"{BASE_URL}/v1", api_key="k", max_retries=0)
    messages = [{"role": "user", "content": "hi"}]
    yield from client.chat.completions.create(model="chat", messages=messages, stream=True)


def responses():
    client = openai.OpenAI(base_url=f"{BASE_URL}/v1", api_key="k", max_retries=0)
    for event in client.responses.create(model="chat", input="hi", stream=True):
        if event.type == "error":
            raise RuntimeError(event.message)
        yield event


def messages():
    client = anthropic.Anthropic(base_url=BASE_URL, api_key="k", max_retries=0)
    turns = [{"role": "user", "content": "hi"}]
    yield from client.messages.create(model="chat", max_tokens=9, messages=turns, stream=True)


for name, read in (("chat", chat), ("responses", responses), ("messages", messages)):
    report(name, read)
