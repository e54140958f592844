// The clients that the tests and the measuring program use. Each is built with its default settings; only the address,
// the key and the model are given.

import { createRequire } from "node:module";
import { join } from "node:path";

const home = process.env.LLM_FAILSAFE_NODE_PACKAGES;
if (!home) throw new Error("LLM_FAILSAFE_NODE_PACKAGES must name the folder in which the packages are installed");
const require = createRequire(join(home, "package.json"));

// It would write warnings to standard output, where the results are.
globalThis.AI_SDK_LOG_WARNINGS = false;

export const KEY = process.env.CLIENT_KEY ?? "sk-client-key";

/** Loads an installed package. */
export function load(name) {
  return require(name);
}

/** The installed version of a package, or undefined. */
export function version(name) {
  try {
    return require(join(home, "node_modules", name, "package.json")).version;
  } catch {
    return undefined;
  }
}

const PROMPT = "say hello";

function vercel(make) {
  return async (base, model) => (await load("ai").generateText({ model: make(base)(model), prompt: PROMPT })).text;
}

/** The providers of Vercel's AI SDK: `vercelOpenAi(base).chat(model)`, `.responses(model)`, `vercelAnthropic(base)(model)`. */
export const vercelOpenAi = (base) => load("@ai-sdk/openai").createOpenAI({ baseURL: `${base}/v1`, apiKey: KEY });
export const vercelAnthropic = (base) =>
  load("@ai-sdk/anthropic").createAnthropic({ baseURL: `${base}/v1`, apiKey: KEY });

/** LangChain's models. */
export const langchainOpenAi = (base, model) =>
  new (load("@langchain/openai").ChatOpenAI)({ model, apiKey: KEY, configuration: { baseURL: `${base}/v1` } });
export const langchainAnthropic = (base, model) =>
  new (load("@langchain/anthropic").ChatAnthropic)({ model, apiKey: KEY, anthropicApiUrl: base });

/** Clients that run in this process: the package, the API that they speak, and one call. */
export const CLIENTS = {
  "openai-node": {
    package: "openai",
    dialect: "openai",
    call: async (base, model) => {
      const client = new (load("openai").OpenAI)({ baseURL: `${base}/v1`, apiKey: KEY });
      return client.chat.completions.create({ model, messages: [{ role: "user", content: PROMPT }] });
    },
  },
  "anthropic-node": {
    package: "@anthropic-ai/sdk",
    dialect: "anthropic",
    call: async (base, model) => {
      const client = new (load("@anthropic-ai/sdk").Anthropic)({ baseURL: base, apiKey: KEY });
      return client.messages.create({ model, max_tokens: 9, messages: [{ role: "user", content: PROMPT }] });
    },
  },
  "vercel-chat": {
    package: "ai",
    dialect: "openai",
    call: vercel((base) => vercelOpenAi(base).chat),
  },
  "vercel-responses": {
    package: "ai",
    dialect: "openai",
    call: vercel((base) => vercelOpenAi(base).responses),
  },
  "vercel-anthropic": {
    package: "ai",
    dialect: "anthropic",
    call: vercel((base) => vercelAnthropic(base)),
  },
  "langchain-js": {
    package: "@langchain/openai",
    dialect: "openai",
    call: (base, model) => langchainOpenAi(base, model).invoke(PROMPT),
  },
  "langchain-js-anthropic": {
    package: "@langchain/anthropic",
    dialect: "anthropic",
    call: (base, model) => langchainAnthropic(base, model).invoke(PROMPT),
  },
  "llamaindex-ts": {
    package: "@llamaindex/openai",
    dialect: "openai",
    call: (base, model) => {
      const client = new (load("@llamaindex/openai").OpenAI)({ model, apiKey: KEY, baseURL: `${base}/v1` });
      return client.chat({ messages: [{ role: "user", content: PROMPT }] });
    },
  },
};
