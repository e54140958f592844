// Calls BASE_URL with OpenAI's own client for Azure, and prints one JSON line per response. The counterpart of
// python/sdk_azure.py.

import { KEY, load } from "./clients.mjs";

const { APIError, AzureOpenAI } = load("openai");
const settings = { endpoint: process.env.BASE_URL, apiKey: KEY, apiVersion: "2024-10-21", maxRetries: 0, timeout: 20_000 };
const messages = [{ role: "user", content: "say hello" }];
const show = (name, more) => console.log(JSON.stringify({ name, ...more }));

const client = new AzureOpenAI(settings);

const { data, response } = await client.chat.completions.create({ model: "chat", messages }).withResponse();
const attempts = response.headers.get("x-llm-attempts");
show("chat", { text: data.choices[0].message.content, model: data.model, attempts });

let text = "";
for await (const chunk of await client.chat.completions.create({ model: "chat", messages, stream: true })) {
  text += chunk.choices.map((choice) => choice.delta.content ?? "").join("");
}
show("chat stream", { text });

const other = await client.chat.completions.create({ model: "meta/llama", messages });
show("other model", { text: other.choices[0].message.content });

const embeddings = await client.embeddings.create({ model: "chat", input: ["a", "b"] });
show("embeddings", { text: `${embeddings.data.length} embeddings` });

const answer = await client.responses.create({ model: "chat", input: "say hello" });
show("responses", { text: answer.output_text });

// The deployment is in the client's URL, and the body has another name.
const deployed = new AzureOpenAI({ ...settings, deployment: "chat" });
const chat = await deployed.chat.completions.create({ model: "gpt-4o", messages });
show("deployment", { text: chat.choices[0].message.content });

try {
  await client.chat.completions.create({ model: "unknown", messages });
} catch (error) {
  if (!(error instanceof APIError)) throw error;
  show("unknown", { error: error.constructor.name });
}

const ids = [];
for await (const model of client.models.list()) ids.push(model.id);
show("models", { ids });
