"""Calls BASE_URL with the vendors' own SDKs, plain and streamed, and prints one JSON line per response."""

import json
import os

import anthropic
import openai

base_url = os.environ["BASE_URL"]
messages = [{"role": "user", "content": "say hello"}]


def show(name: str, text: str, **more: object) -> None:
    print(json.dumps({"name": name, "text": text, **more}))


client = openai.OpenAI(base_url=f"{base_url}/v1", api_key="client-key", max_retries=0, timeout=20)

chat = client.chat.completions.create(model="m-1", messages=messages)
show("chat", chat.choices[0].message.content, model=chat.model, tokens=chat.usage.total_tokens)

stream = client.chat.completions.create(
    model="m-1", messages=messages, stream=True, stream_options={"include_usage": True}
)
chunks = list(stream)
text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
show("chat stream", text, tokens=chunks[-1].usage.total_tokens)

response = client.responses.create(model="m-1", input="say hello")
show("responses", response.output_text, tokens=response.usage.total_tokens)

events = list(client.responses.create(model="m-1", input="say hello", stream=True))
text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
show("responses stream", text, last=events[-1].type)

claude = anthropic.Anthropic(base_url=base_url, api_key="client-key", max_retries=0, timeout=20)

message = claude.messages.create(model="m-2", max_tokens=100, messages=messages)
show("messages", message.content[0].text, model=message.model, tokens=message.usage.output_tokens)

with claude.messages.stream(model="m-2", max_tokens=100, messages=messages) as streamed:
    text = "".join(streamed.text_stream)
    final = streamed.get_final_message()
show("messages stream", text, stop=final.stop_reason)
