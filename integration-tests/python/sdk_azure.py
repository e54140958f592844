"""Calls BASE_URL with OpenAI's own client for Azure, and prints one JSON line per response."""

import json
import os

import openai

base_url = os.environ["BASE_URL"]
messages = [{"role": "user", "content": "say hello"}]
settings = {
    "azure_endpoint": base_url,
    "api_key": os.environ["CLIENT_KEY"],
    "api_version": "2024-10-21",
    "max_retries": 0,
    "timeout": 20,
}


def show(name: str, **more: object) -> None:
    print(json.dumps({"name": name, **more}))


client = openai.AzureOpenAI(**settings)

raw = client.chat.completions.with_raw_response.create(model="chat", messages=messages)
chat = raw.parse()
show("chat", text=chat.choices[0].message.content, model=chat.model, attempts=raw.headers.get("x-llm-attempts"))

chunks = list(client.chat.completions.create(model="chat", messages=messages, stream=True))
show("chat stream", text="".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices))

chat = client.chat.completions.create(model="meta/llama", messages=messages)
show("other model", text=chat.choices[0].message.content)

embeddings = client.embeddings.create(model="chat", input=["a", "b"])
show("embeddings", text=f"{len(embeddings.data)} embeddings")

response = client.responses.create(model="chat", input="say hello")
show("responses", text=response.output_text)

# The deployment is in the client's URL, and the body has another name.
deployment = openai.AzureOpenAI(azure_deployment="chat", **settings)
chat = deployment.chat.completions.create(model="gpt-4o", messages=messages)
show("deployment", text=chat.choices[0].message.content)

try:
    client.chat.completions.create(model="unknown", messages=messages)
except openai.APIStatusError as error:
    show("unknown", error=type(error).__name__)

show("models", ids=[model.id for model in client.models.list()])
