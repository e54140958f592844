// A conversation with the model `chat` of the gateway at BASE_URL, once per client, with default settings. Prints one JSON line
// per step. The test scripts the providers: which step fails where.

import { CLIENTS, langchainAnthropic, langchainOpenAi, load, vercelAnthropic, vercelOpenAi } from "./clients.mjs";

const base = process.env.BASE_URL;
const { z } = load("zod");
const place = z.object({ city: z.string() });
const weather = ({ city }) => `rain in ${city}`;
const describe = "The weather in a city";

function show(client, step, text, more = {}) {
  console.log(JSON.stringify({ client, step, text, ...more }));
}

async function vercel(client, model, providerOptions) {
  const { generateText, streamText, stepCountIs, tool, Output } = load("ai");
  const options = { model, providerOptions };
  const tools = { weather: tool({ description: describe, inputSchema: place, execute: weather }) };

  const first = await generateText({ ...options, prompt: "say hello" });
  show(client, "plain", first.text, { tokens: first.usage.totalTokens });

  const messages = [{ role: "user", content: "say hello" }, ...first.response.messages];
  messages.push({ role: "user", content: "and again" });
  const second = await generateText({ ...options, messages });
  show(client, "second turn", second.text);

  const stream = streamText({ ...options, prompt: "say hello", onError: () => {} });
  let text = "";
  for await (const piece of stream.textStream) text += piece;
  show(client, "stream", text, { finish: await stream.finishReason });

  const called = await generateText({ ...options, tools, stopWhen: stepCountIs(3), prompt: "weather in Oslo?" });
  show(client, "tool", called.text, { results: called.steps[0].toolResults.map((result) => result.output) });

  const asked = { ...options, tools, stopWhen: stepCountIs(3), prompt: "weather in Oslo?", onError: () => {} };
  const streamed = streamText(asked);
  text = "";
  for await (const piece of streamed.textStream) text += piece;
  const results = (await streamed.steps)[0].toolResults.map((result) => result.output);
  show(client, "streamed tool", text, { results, finish: await streamed.finishReason });

  const output = Output.object({ schema: place });
  const structured = await generateText({ ...options, output, prompt: "which city?" });
  show(client, "structured", structured.output.city);
}

async function langchain(client, model) {
  const { AIMessage, HumanMessage } = load("@langchain/core/messages");
  const { tool } = load("@langchain/core/tools");
  const tools = [tool(weather, { name: "weather", description: describe, schema: place })];
  const textOf = (message) => message.text;

  const history = [new HumanMessage("say hello")];
  const first = await model.invoke(history);
  show(client, "plain", textOf(first), { tokens: first.usage_metadata.total_tokens });

  history.push(first, new HumanMessage("and again"));
  show(client, "second turn", textOf(await model.invoke(history)));

  let text = "";
  for await (const chunk of await model.stream("say hello")) text += textOf(chunk);
  show(client, "stream", text);

  // Its agents do the same: ask, call the tools, ask again with their results.
  async function converse(step, ask) {
    const turns = [new HumanMessage("weather in Oslo?")];
    turns.push(await ask(turns));
    const results = [];
    for (const call of turns[1].tool_calls) results.push(await tools[0].invoke(call));
    const last = await ask([...turns, ...results]);
    show(client, step, textOf(last), { results: results.map((result) => result.content) });
  }
  const able = model.bindTools(tools);
  await converse("tool", (turns) => able.invoke(turns));
  await converse("streamed tool", async (turns) => {
    let whole;
    for await (const chunk of await able.stream(turns)) whole = whole ? whole.concat(chunk) : chunk;
    return new AIMessage({ content: whole.content, tool_calls: whole.tool_calls });
  });

  const structured = await model.withStructuredOutput(place, { name: "place" }).invoke("which city?");
  show(client, "structured", structured.city);
}

const MODEL = "chat";
const RUNS = {
  "vercel-chat": (name) => vercel(name, vercelOpenAi(base).chat(MODEL)),
  // By default it refers to items that the provider has stored. Another account does not know them.
  "vercel-responses": (name) => vercel(name, vercelOpenAi(base).responses(MODEL), { openai: { store: false } }),
  "vercel-anthropic": (name) => vercel(name, vercelAnthropic(base)(MODEL)),
  "langchain-js": (name) => langchain(name, langchainOpenAi(base, MODEL)),
  "langchain-js-anthropic": (name) => langchain(name, langchainAnthropic(base, MODEL)),
};

for (const name of process.argv.slice(2)) {
  if (!RUNS[name] || !CLIENTS[name]) throw new Error(`unknown client ${name}`);
  await RUNS[name](name);
}
