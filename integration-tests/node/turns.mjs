// Ten turns of one conversation with Vercel's AI SDK, over `/v1/responses` with default settings. Prints one JSON line per turn.
// STORE=false switches storage at the provider off. A turn that fails is tried again by the SDK only; TURNS is their number.

import { load, vercelOpenAi } from "./clients.mjs";

const { generateText, streamText } = load("ai");
const model = vercelOpenAi(process.env.BASE_URL).responses("chat");
const providerOptions = process.env.STORE === "false" ? { openai: { store: false } } : undefined;
const messages = [];

for (let turn = 1; turn <= Number(process.env.TURNS ?? 10); turn++) {
  messages.push({ role: "user", content: `turn ${turn} of ${process.env.NAME}` });
  const call = { model, messages, providerOptions };
  let text = "";
  let response;
  try {
    if (turn % 2 === 0) {
      const stream = streamText({ ...call, onError: () => {} });
      for await (const piece of stream.textStream) text += piece;
      response = await stream.response;
    } else {
      const answer = await generateText(call);
      ({ text, response } = answer);
    }
    messages.push(...response.messages);
    console.log(JSON.stringify({ turn, text, target: response.headers["x-llm-target"] }));
  } catch (error) {
    console.log(JSON.stringify({ turn, error: String(error), reason: error.lastError?.responseHeaders?.["x-llm-reason"] }));
    break;
  }
}
