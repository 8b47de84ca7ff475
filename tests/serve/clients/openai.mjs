// OpenAI's official JavaScript client against a gateway; prints what it was told as one JSON object.
import OpenAI from "openai";

const { BASE_URL, API_KEY, MODEL, TOOLS } = process.env;
const client = new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: API_KEY, maxRetries: 0 });
const messages = [{ role: "user", content: "hello there" }];
const told = {};

const whole = await client.chat.completions.create({ model: MODEL, messages, max_completion_tokens: 8, temperature: 0 });
told.whole = whole.choices[0].message.content;
told.usage = whole.usage.completion_tokens;

const stream = await client.chat.completions.create({
  model: MODEL, messages, max_completion_tokens: 8, temperature: 0, stream: true,
  stream_options: { include_usage: true },
});
told.streamed = "";
for await (const chunk of stream) {
  told.streamed += chunk.choices[0]?.delta?.content ?? "";
  told.streamedUsage = chunk.usage?.completion_tokens ?? told.streamedUsage;
}

const response = await client.responses.create({ model: MODEL, input: "hello there", max_output_tokens: 8, temperature: 0 });
told.response = response.output_text;
told.responseStreamed = "";
for await (const event of await client.responses.create({
  model: MODEL, input: "hello there", max_output_tokens: 8, temperature: 0, stream: true,
})) {
  if (event.type === "response.output_text.delta") told.responseStreamed += event.delta;
  told.lastEvent = event.type;
}

told.models = [];
for await (const model of client.models.list()) told.models.push(model.id);

if (TOOLS) {
  const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object" } } }];
  const runner = client.chat.completions.stream({ model: MODEL, messages, tools });
  const final = await runner.finalChatCompletion();
  told.calls = final.choices[0].message.tool_calls.map((call) => [call.id, JSON.parse(call.function.arguments)]);
}

try {
  await client.chat.completions.create({ model: "none", messages });
} catch (error) {
  told.error = [error.constructor.name, error.status, error.code, Boolean(error.requestID)];
}
console.log(JSON.stringify(told));
