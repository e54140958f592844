"""An outage seen by the vendors' own SDKs with their default retries. Every model of the gateway at BASE_URL fails in a
different way. Prints one JSON line per exception or response, with its duration."""

import json
import os
import time

import anthropic
import openai

base_url = os.environ["BASE_URL"]
key = os.environ["CLIENT_KEY"]
messages = [{"role": "user", "content": "say hello"}]
gpt = openai.OpenAI(base_url=f"{base_url}/v1", api_key=key)
claude = anthropic.Anthropic(base_url=base_url, api_key=key)


def ask_gpt(model: str, stream: bool):
    answer = gpt.chat.completions.create(model=model, messages=messages, stream=stream)
    return list(answer) if stream else answer


def ask_claude(model: str, stream: bool):
    answer = claude.messages.create(model=model, max_tokens=9, messages=messages, stream=stream)
    return list(answer) if stream else answer


for vendor, retries, ask in [("openai", gpt.max_retries, ask_gpt), ("anthropic", claude.max_retries, ask_claude)]:
    for model in os.environ["MODELS"].split(","):
        for stream in [False, True]:
            line = {"vendor": vendor, "model": model, "stream": stream, "retries": retries}
            began = time.monotonic()
            try:
                ask(model, stream)
                line["type"] = "an answer"
            except (openai.APIError, anthropic.APIError) as error:
                line["type"] = type(error).__name__
                response = getattr(error, "response", None)
                if response is not None:
                    line["status"] = response.status_code
                    line["should_retry"] = response.headers.get("x-should-retry")
            line["seconds"] = time.monotonic() - began
            print(json.dumps(line))
