"""Refusals and passed-on errors of the gateway at BASE_URL, as exceptions of the vendors' own SDKs. Prints one JSON line
per exception or response. The models `limited`, `wrong` and `broken` fail with 429, 400 and 500 behind the gateway, `down` cannot
be reached, `shaky` fails once and then works, `toolless` has no tools, `elsewhere` is in a region that is not allowed."""

import json
import os

import anthropic
import openai

base_url = os.environ["BASE_URL"]
key = os.environ["CLIENT_KEY"]
TOOLS = {
    "openai": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "anthropic": [{"name": "f", "input_schema": {"type": "object"}}],
}
messages = [{"role": "user", "content": "say hello"}]


def clients(key: str, retries: int):
    """Both vendors' clients, each with a function that requests a short response."""
    gpt = openai.OpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=retries)
    claude = anthropic.Anthropic(base_url=base_url, api_key=key, max_retries=retries)
    return {
        "openai": (gpt, lambda model, **more: gpt.chat.completions.create(model=model, messages=messages, **more)),
        "anthropic": (
            claude,
            lambda model, **more: claude.messages.create(model=model, max_tokens=9, messages=messages, **more),
        ),
    }


def show(vendor: str, name: str, call) -> None:
    line = {"vendor": vendor, "name": name}
    try:
        call()
        line["type"] = "an answer"
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        line |= {"type": type(error).__name__, "status": error.status_code, "message": error.message}
        line |= {"reason": error.response.headers.get("x-llm-reason"), "body": error.body}
        line["retry_after"] = error.response.headers.get("retry-after")
    print(json.dumps(line))


for vendor, (client, ask) in clients(key, retries=0).items():
    show(vendor, "unknown model", lambda: ask("gpt-9"))
    show(vendor, "unknown model, streamed", lambda: ask("gpt-9", stream=True))
    show(vendor, "no text for a model", lambda: ask("x", extra_body={"model": 7}))
    show(vendor, "wrong", lambda: ask("wrong"))
    show(vendor, "limited", lambda: ask("limited"))
    show(vendor, "broken", lambda: ask("broken"))
    show(vendor, "down", lambda: ask("down"))
    show(vendor, "toolless", lambda: ask("toolless", tools=TOOLS[vendor]))
    show(vendor, "elsewhere", lambda: ask("elsewhere"))
    print(json.dumps({"vendor": vendor, "models": [model.id for model in client.models.list()]}))
    print(json.dumps({"vendor": vendor, "models": [client.models.retrieve("lab/large:1").id]}))
    show(vendor, "an unknown model's description", lambda: client.models.retrieve("gpt-9"))

for vendor, (client, ask) in clients("sk-unknown", retries=0).items():
    show(vendor, "unknown key", lambda: ask("chat"))
    show(vendor, "models for an unknown key", lambda: client.models.list())

for vendor, (client, ask) in clients(key, retries=1).items():
    show(vendor, "broken, one retry", lambda: ask("broken"))
    show(vendor, "shaky, one retry", lambda: ask("shaky"))
