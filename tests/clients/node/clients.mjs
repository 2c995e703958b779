// The official clients for Node, unchanged, against the server at argv[2]. Prints a line for each thing that works; throws otherwise.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText, tool, stepCountIs } from "ai";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const url = process.argv[2];
const model = process.argv[3];
const messages = [{ role: "user", content: "Say hello." }];

async function openaiClient() {
  const client = new OpenAI({ baseURL: url + "/v1", apiKey: "none", maxRetries: 0 });
  const whole = await client.chat.completions.create({ model, messages, max_tokens: 24, temperature: 0 });
  let text = "";
  for await (const chunk of await client.chat.completions.create({ model, messages, max_tokens: 24, temperature: 0, stream: true })) {
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  assert.equal(text, whole.choices[0].message.content);
  const person = await client.chat.completions.parse({
    model, messages: [{ role: "user", content: "Invent a person." }], max_tokens: 200, temperature: 0,
    response_format: zodResponseFormat(z.object({ name: z.string(), age: z.number().int() }), "person"),
  });
  assert.equal(typeof person.choices[0].message.parsed.name, "string");
  const called = await client.chat.completions.create({
    model, messages: [{ role: "user", content: "Weather in Paris?" }], max_tokens: 80, temperature: 0, tool_choice: "required",
    tools: [{ type: "function", function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } } }],
  });
  assert.equal(called.choices[0].message.tool_calls[0].function.name, "get_weather");
  await assert.rejects(client.chat.completions.create({ model: "nothing", messages }), OpenAI.NotFoundError);
  await assert.rejects(client.chat.completions.create({ model, messages, temperature: "hot" }), OpenAI.BadRequestError);
  const abort = new AbortController();
  const long = await client.chat.completions.create({ model, messages, max_tokens: 4000, stream: true }, { signal: abort.signal });
  for await (const _ of long) abort.abort();
  const response = await client.responses.create({ model, input: "Say hello.", max_output_tokens: 16 });
  assert.ok(response.output_text.length > 0);
  assert.ok((await client.models.list()).data.some((one) => one.id === model));
  console.log("openai");
}

async function anthropicClient() {
  const client = new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0 });
  const whole = await client.messages.create({ model, messages, max_tokens: 24 });
  assert.ok(whole.content[0].text.length > 0);
  const stream = client.messages.stream({ model, messages, max_tokens: 24 });
  const final = await stream.finalMessage();
  assert.ok(final.content[0].text.length > 0 && final.usage.output_tokens > 0);
  await assert.rejects(client.messages.create({ model: "nothing", messages, max_tokens: 4 }), Anthropic.NotFoundError);
  console.log("anthropic");
}

async function aiSdk() {
  const provider = createOpenAICompatible({ name: "realm", baseURL: url + "/v1", apiKey: "none" });
  const whole = await generateText({ model: provider(model), prompt: "Say hello.", maxOutputTokens: 16, maxRetries: 0 });
  assert.ok(whole.text.length > 0 && whole.usage.outputTokens > 0);
  const streamed = streamText({ model: provider(model), prompt: "Say hello.", maxOutputTokens: 16, maxRetries: 0 });
  let text = "";
  for await (const piece of streamed.textStream) text += piece;
  assert.ok(text.length > 0);
  let asked = null;
  await generateText({
    model: provider(model), prompt: "Weather in Paris?", maxOutputTokens: 80, temperature: 0, toolChoice: "required", stopWhen: stepCountIs(1), maxRetries: 0,
    tools: { get_weather: tool({ inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => ((asked = city), "sunny") }) },
  });
  assert.equal(typeof asked, "string");
  console.log("ai-sdk");
}

for (const run of [openaiClient, anthropicClient, aiSdk]) await run();
