// Anthropic's official JavaScript client against a gateway; prints what it was told as one JSON object.
import Anthropic from "@anthropic-ai/sdk";

const { BASE_URL, API_KEY, MODEL, TOOLS } = process.env;
const client = new Anthropic({ baseURL: BASE_URL, apiKey: API_KEY, maxRetries: 0 });
const asked = { model: MODEL, max_tokens: 8, temperature: 0, messages: [{ role: "user", content: "hello there" }] };
const text = (message) => message.content.map((block) => block.text ?? "").join("");
const told = {};

const whole = await client.messages.create(asked);
told.whole = text(whole);
told.usage = whole.usage.output_tokens;

const stream = client.messages.stream(asked);
told.pieces = "";
stream.on("text", (piece) => (told.pieces += piece));
const final = await stream.finalMessage();
told.streamed = text(final);
told.streamedUsage = final.usage.output_tokens;
told.stopReason = final.stop_reason;

told.counted = (await client.messages.countTokens({ model: MODEL, messages: asked.messages })).input_tokens;
told.models = [];
for await (const model of client.models.list()) told.models.push(model.id);

if (TOOLS) {
  const tools = [{ name: "weather", input_schema: { type: "object" } }];
  const message = await client.messages.stream({ ...asked, tools }).finalMessage();
  told.calls = message.content.filter((block) => block.type === "tool_use").map((use) => [use.id, use.input]);
}

try {
  await client.messages.create({ ...asked, model: "none" });
} catch (error) {
  told.error = [error.constructor.name, error.status, error.error?.error?.type, Boolean(error.requestID)];
}
console.log(JSON.stringify(told));
