// The server's interface: models, and answers as they come.

function headers(key) {
  const all = { "content-type": "application/json" };
  if (key) all.authorization = `Bearer ${key}`;
  return all;
}

async function refusal(response) {
  let message = `the server answered ${response.status}`;
  try {
    const body = await response.json();
    message = body.error?.message ?? body.error ?? message;
  } catch { /* what came is no JSON: the status says it */ }
  const error = new Error(message);
  error.status = response.status;
  return error;
}

/** Names of the models that are here. */
export async function models(key) {
  const response = await fetch("/v1/models", { headers: headers(key) });
  if (!response.ok) throw await refusal(response);
  return (await response.json()).data.map((model) => model.id);
}

/** Asks, and gives what comes to `take`: {text}, {reasoning}, {finish}, {usage}, {monocle}. Throws what the server says was wrong. */
export async function ask(body, key, signal, take) {
  const request = { ...body, stream: true, stream_options: { include_usage: true } };
  const response = await fetch("/v1/chat/completions", { method: "POST", headers: headers(key), body: JSON.stringify(request), signal });
  if (!response.ok) throw await refusal(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const lines = held.split("\n");
    held = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      event(JSON.parse(data), take);
    }
  }
}

function event(chunk, take) {
  if (chunk.error) throw new Error(chunk.error.message ?? String(chunk.error));
  const choice = chunk.choices?.[0];
  if (choice?.delta?.content) take({ text: choice.delta.content });
  if (choice?.delta?.reasoning_content) take({ reasoning: choice.delta.reasoning_content });
  if (choice?.finish_reason) take({ finish: choice.finish_reason });
  if (chunk.usage) take({ usage: chunk.usage });
  if (chunk.monocle) take({ monocle: chunk.monocle });
}
