// Counts the requests that one failing call of a client causes. docs/retries.md has the results, and how to run it.
//
// node retries.mjs CLIENT… -- CASE…
//
// With BASE_URL, CLIENT asks the gateway there for the model `CASE.CLIENT`. Without it, this program refuses by itself, and a
// case says how: `503`, `503+no` (x-should-retry: false), `503+after=7` (retry-after: 7), `429+code=insufficient_quota`.
//
// Each client calls each case once, with its default settings. Requests are counted by the model that their body names.
// Prints one JSON line per client and case: requests, the statuses they got, the seconds that the call took, and the error.
// SECONDS (default 240) limits each call.

import http from "node:http";
import { join } from "node:path";

import { CLIENTS, KEY, version } from "./clients.mjs";
import { run } from "./programs.mjs";

const LIMIT_S = Number(process.env.SECONDS ?? 240);
const upstream = process.env.BASE_URL;
const seen = new Map();

// ---- the door in front of the gateway ----

// The types that the filter's own errors have.
const OPENAI_TYPES = { 401: "authentication_error", 402: "insufficient_quota", 403: "permission_error" };
Object.assign(OPENAI_TYPES, { 429: "rate_limit_error", 500: "server_error", 503: "service_unavailable_error" });
const ANTHROPIC_TYPES = { 401: "authentication_error", 402: "billing_error", 403: "permission_error" };
Object.assign(ANTHROPIC_TYPES, { 404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error" });
Object.assign(ANTHROPIC_TYPES, { 500: "api_error", 501: "api_error", 503: process.env.TYPE_503 ?? "api_error" });

/** The refusal that a case without a gateway describes. */
function refusal(model, path) {
  const [status, ...more] = model.split("+");
  const headers = { "content-type": "application/json" };
  let code = "all_targets_failed";
  for (const part of more) {
    const [name, value] = part.split("=");
    if (name === "no") headers["x-should-retry"] = "false";
    if (name === "after") headers["retry-after"] = value;
    if (name === "code") code = value;
  }
  const message = "No target of this model is healthy now.";
  const body = path.endsWith("/messages")
    ? { type: "error", error: { type: ANTHROPIC_TYPES[status] ?? "invalid_request_error", message } }
    : { error: { message, type: OPENAI_TYPES[status] ?? "invalid_request_error", param: null, code } };
  return { status: Number(status), headers, body: JSON.stringify(body) };
}

function note(model, status) {
  const statuses = seen.get(model) ?? [];
  statuses.push(status);
  seen.set(model, statuses);
}

function modelOf(body) {
  try {
    return JSON.parse(body).model;
  } catch {
    return undefined;
  }
}

function forward(request, body, model, response) {
  const url = new URL(request.url, upstream);
  const headers = { ...request.headers, host: url.host };
  const out = http.request(url, { method: request.method, headers }, (answer) => {
    note(model, answer.statusCode);
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  out.on("error", () => response.destroy());
  out.end(body);
}

const door = http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const model = modelOf(body.toString());
  if (request.method !== "POST" || !model) return response.writeHead(404).end();
  if (upstream) return forward(request, body, model, response);
  const { status, headers, body: text } = refusal(model.split(".")[0], request.url.split("?")[0]);
  note(model, status);
  response.writeHead(status, headers).end(text);
});

// ---- programs ----

/** Codex and Claude Code: the programs are given by CODEX and CLAUDE, because their packages are large. */
const PROGRAMS = {
  codex: (base, model) => {
    const provider = `model_providers.gateway={name="gateway",base_url="${base}/v1",wire_api="responses",env_key="KEY"}`;
    const args = ["exec", "--skip-git-repo-check", "-c", provider, "-c", 'model_provider="gateway"', "-m", model];
    return run(process.env.CODEX, [...args, "say hello"], { KEY, CODEX_HOME: "." }, LIMIT_S);
  },
  "claude-code": (base, model) => {
    const env = { ANTHROPIC_BASE_URL: base, ANTHROPIC_API_KEY: KEY, ANTHROPIC_SMALL_FAST_MODEL: "another" };
    env.CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC = "1";
    return run(process.env.CLAUDE, ["-p", "say hello", "--model", model], env, LIMIT_S);
  },
};

/** Clients in Python make all calls in one process, with the interpreter that PYTHON names. */
const IN_PYTHON = ["openai-python", "anthropic-python", "llamaindex", "pydantic-ai"];

// ---- the measurement ----

function show(client, model, error, began) {
  const statuses = seen.get(model) ?? [];
  const seconds = Math.round((performance.now() - began) / 100) / 10;
  const line = { client, version: version(CLIENTS[client]?.package), case: model.split(".")[0], requests: statuses.length };
  console.log(JSON.stringify({ ...line, statuses, seconds, error }));
}

async function measurePython(name, base, models) {
  const began = performance.now();
  const script = join(import.meta.dirname, "../python/retries.py");
  const errors = new Map();
  try {
    const text = await run(process.env.PYTHON, [script, name, base, ...models], { CLIENT_KEY: KEY }, LIMIT_S);
    for (const line of text.split("\n")) errors.set(...line.split("\t"));
  } catch (error) {
    for (const model of models) errors.set(model, `${error.name}: ${error.message}`);
  }
  for (const model of models) show(name, model, errors.get(model) ?? null, began);
}

async function measure(name, base, model) {
  const began = performance.now();
  const call = CLIENTS[name]?.call ?? PROGRAMS[name];
  const timer = new Promise((_, reject) => setTimeout(reject, LIMIT_S * 1000, new Error("time limit")).unref());
  try {
    await Promise.race([call(base, model), timer]);
    show(name, model, null, began);
  } catch (error) {
    show(name, model, `${error.name}: ${String(error.message).slice(0, 200)}`, began);
  }
}

const split = process.argv.indexOf("--");
const clients = process.argv.slice(2, split);
const cases = process.argv.slice(split + 1);
await new Promise((resolve) => door.listen(0, "127.0.0.1", resolve));
const base = `http://127.0.0.1:${door.address().port}`;
for (const name of clients) {
  // A client that was left at the time limit may still come again, so each has models of its own.
  const models = cases.map((one) => `${one}.${name}`);
  if (IN_PYTHON.includes(name)) {
    await measurePython(name, base, models);
    continue;
  }
  if (!CLIENTS[name] && !PROGRAMS[name]) throw new Error(`unknown client ${name}`);
  // Programs take much memory, so only four run at once.
  const atOnce = CLIENTS[name] ? models.length : 4;
  for (let first = 0; first < models.length; first += atOnce) {
    await Promise.all(models.slice(first, first + atOnce).map((model) => measure(name, base, model)));
  }
}
process.exit(0);
