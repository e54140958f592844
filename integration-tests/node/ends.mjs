// How streaming clients take the ends of streams. Scripted here, without a gateway: node ends.mjs CLIENT…
//
// Each client reads one stream per end:
//   open     the terminal event, and then nothing: the connection stays open
//   reset    the terminal event, and 300 ms later the connection is closed in the middle of the body
//   cut      content, and then the connection is closed in the middle of the body
//   silent   content, and then a clean end without a terminal event
//   error    content, and then an error event and a clean end
// Prints one JSON line per client and end: the text that it got, the error it raised, and the seconds. SECONDS (default 10)
// limits each call: a client that is still reading then waits for the connection's end.

import http from "node:http";
import { join } from "node:path";

import { KEY, langchainAnthropic, langchainOpenAi, load, vercelAnthropic, vercelOpenAi } from "./clients.mjs";
import { run } from "./programs.mjs";

const LIMIT_S = Number(process.env.SECONDS ?? 10);
const ENDS = ["open", "reset", "cut", "silent", "error"];

// ---- the provider ----

const data = (value) => `data: ${JSON.stringify(value)}\n\n`;
const named = (value) => `event: ${value.type}\n${data(value)}`;

const chat = (delta, finish_reason = null) =>
  data({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason }] });
const usage = { input_tokens: 1, output_tokens: 2, total_tokens: 3 };
const item = (status, content) => ({ id: "msg_1", type: "message", role: "assistant", status, content });
const response = (status, output) => ({
  id: "resp_1", object: "response", created_at: 1, status, model: "m", output, tools: [], tool_choice: "auto",
  error: null, incomplete_details: null, instructions: null, metadata: {}, parallel_tool_calls: true,
  usage: status === "completed" ? usage : null,
});
const part = (text) => ({ type: "output_text", text, annotations: [] });
const at = { item_id: "msg_1", output_index: 0, content_index: 0 };
const done = item("completed", [part("hello")]);
const message = { id: "m", type: "message", role: "assistant", model: "m", content: [], stop_reason: null, stop_sequence: null };

// Per API: what comes before the end, the regular end with its terminal event, and an error event.
const STREAMS = {
  chat: {
    content: [chat({ role: "assistant", content: "hello" })],
    terminal: [chat({}, "stop"), "data: [DONE]\n\n"],
    error: data({ error: { message: "broken", type: "server_error", param: null, code: null } }),
  },
  responses: {
    content: [
      { type: "response.created", response: response("in_progress", []) },
      { type: "response.output_item.added", output_index: 0, item: item("in_progress", []) },
      { type: "response.content_part.added", ...at, part: part("") },
      { type: "response.output_text.delta", ...at, delta: "hello" },
    ].map((event, number) => named({ ...event, sequence_number: number })),
    terminal: [
      { type: "response.output_text.done", ...at, text: "hello" },
      { type: "response.content_part.done", ...at, part: part("hello") },
      { type: "response.output_item.done", output_index: 0, item: done },
      { type: "response.completed", response: response("completed", [done]) },
    ].map((event, number) => named({ ...event, sequence_number: number + 4 })),
    error: named({ type: "error", code: "server_error", message: "broken", param: null, sequence_number: 4 }),
  },
  messages: {
    content: [
      { type: "message_start", message: { ...message, usage: { input_tokens: 1, output_tokens: 1 } } },
      { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
      { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "hello" } },
    ].map(named),
    terminal: [
      { type: "content_block_stop", index: 0 },
      { type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: 2 } },
      { type: "message_stop" },
    ].map(named),
    error: named({ type: "error", error: { type: "overloaded_error", message: "broken" } }),
  },
};

const requests = new Map();
const provider = http.createServer(async (request, answer) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  const path = request.url.split("?")[0];
  const stream = STREAMS[path.split("/").at(-1) === "completions" ? "chat" : path.split("/").at(-1)];
  if (request.method !== "POST" || !stream) return answer.writeHead(404).end();
  const end = JSON.parse(body).model.split("-")[0];
  requests.set(end, (requests.get(end) ?? 0) + 1);
  if (!ENDS.includes(end)) return answer.writeHead(404).end("{}");
  answer.writeHead(200, { "content-type": "text/event-stream" });
  for (const event of stream.content) answer.write(event);
  if (end === "silent") return answer.end();
  if (end === "error") return answer.end(stream.error);
  if (end === "cut") return setTimeout(() => answer.destroy(), 300);
  for (const event of stream.terminal) answer.write(event);
  if (end === "reset") setTimeout(() => answer.destroy(), 300);
});

// ---- the clients ----

async function read(stream, textOf) {
  let text = "";
  for await (const piece of stream) text += textOf(piece) ?? "";
  return text;
}

const prompt = "say hello";
const messages = [{ role: "user", content: prompt }];

/** With `onError`, because this SDK ends a broken text stream like a complete one and tells only the handler. */
async function vercel(model) {
  let raised;
  const stream = load("ai").streamText({ model, prompt, onError: ({ error }) => (raised = error) });
  const text = await read(stream.textStream, (piece) => piece);
  if (raised) throw raised;
  return `${text}, finish ${await stream.finishReason}`;
}

const openai = (base) => new (load("openai").OpenAI)({ baseURL: `${base}/v1`, apiKey: KEY, maxRetries: 0 });
const anthropic = (base) => new (load("@anthropic-ai/sdk").Anthropic)({ baseURL: base, apiKey: KEY, maxRetries: 0 });
const deltaOf = (event) => (event.type === "response.output_text.delta" ? event.delta : "");

const CLIENTS = {
  "openai-node chat": async (base, model) =>
    read(await openai(base).chat.completions.create({ model, messages, stream: true }), (c) => c.choices[0]?.delta.content),
  "openai-node responses": async (base, model) =>
    read(await openai(base).responses.create({ model, input: prompt, stream: true }), deltaOf),
  "anthropic-node create": async (base, model) =>
    read(await anthropic(base).messages.create({ model, max_tokens: 9, messages, stream: true }), (e) => e.delta?.text),
  "anthropic-node stream": async (base, model) =>
    anthropic(base).messages.stream({ model, max_tokens: 9, messages }).finalText(),
  "vercel chat": (base, model) => vercel(vercelOpenAi(base).chat(model)),
  "vercel responses": (base, model) => vercel(vercelOpenAi(base).responses(model)),
  "vercel anthropic": (base, model) => vercel(vercelAnthropic(base)(model)),
  "langchain-js": async (base, model) => read(await langchainOpenAi(base, model).stream(prompt), (c) => c.text),
  "langchain-js anthropic": async (base, model) => read(await langchainAnthropic(base, model).stream(prompt), (c) => c.text),
};
CLIENTS.codex = (base, model) => {
  const server = `model_providers.gateway={name="gateway",base_url="${base}/v1",wire_api="responses",env_key="KEY",stream_max_retries=0}`;
  const args = ["exec", "--skip-git-repo-check", "-c", server, "-c", 'model_provider="gateway"', "-m", model, prompt];
  return run(process.env.CODEX, args, { KEY, CODEX_HOME: "." }, LIMIT_S);
};
CLIENTS["claude-code"] = (base, model) => {
  const env = { ANTHROPIC_BASE_URL: base, ANTHROPIC_API_KEY: KEY, ANTHROPIC_SMALL_FAST_MODEL: "another" };
  const more = { CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1", CLAUDE_CODE_MAX_RETRIES: "0" };
  return run(process.env.CLAUDE, ["-p", prompt, "--model", model], { ...env, ...more }, LIMIT_S);
};

const IN_PYTHON = ["openai chat", "openai responses", "anthropic create", "anthropic stream", "pydantic-ai", "llamaindex"];

// ---- the measurement ----

/** Clients in Python read all streams in one process, with the interpreter that PYTHON names. */
async function measurePython(name, base) {
  const script = join(import.meta.dirname, "../python/ends.py");
  const models = ENDS.map((end) => `${end}-model`);
  const env = { CLIENT_KEY: KEY, LIMIT_S: String(LIMIT_S) };
  const text = await run(process.env.PYTHON, [script, name, base, ...models], env, LIMIT_S + 120);
  const lines = new Map(text.split("\n").map((line) => [JSON.parse(line).model, JSON.parse(line)]));
  for (const end of ENDS) {
    const { text, error, seconds } = lines.get(`${end}-model`) ?? { text: null, error: "still waits", seconds: LIMIT_S };
    console.log(JSON.stringify({ client: `python ${name}`, end, text, error, seconds, requests: requests.get(end) }));
  }
}

async function measure(client, base, end) {
  const line = { client, end, text: null, error: null };
  const model = `${end}-${client.replaceAll(" ", "-")}`;
  const began = performance.now();
  const limit = new Promise((_, reject) => setTimeout(reject, LIMIT_S * 1000 + 500, new Error("still waits")).unref());
  try {
    line.text = await Promise.race([CLIENTS[client](base, model), limit]);
  } catch (error) {
    line.error = `${error.name}: ${String(error.message).slice(0, 160)}`;
  }
  line.seconds = Math.round((performance.now() - began) / 100) / 10;
  line.requests = requests.get(end);
  console.log(JSON.stringify(line));
}

// A promise of a client that nobody waits for any more must not end the measurement.
process.on("unhandledRejection", () => {});
await new Promise((resolve) => provider.listen(0, "127.0.0.1", resolve));
const chosen = process.argv.slice(2);
for (const client of chosen.length > 0 ? chosen : [...Object.keys(CLIENTS), ...IN_PYTHON.map((name) => `python ${name}`)]) {
  if (IN_PYTHON.includes(client.replace("python ", ""))) {
    requests.clear();
    await measurePython(client.replace("python ", ""), `http://127.0.0.1:${provider.address().port}`);
    continue;
  }
  if (!CLIENTS[client]) throw new Error(`unknown client ${client}; known: ${Object.keys(CLIENTS).join(", ")}`);
  requests.clear();
  await Promise.all(ENDS.map((end) => measure(client, `http://127.0.0.1:${provider.address().port}`, end)));
}
process.exit(0);
