// The playground: streams two answers through the door and rates them. Model output only ever becomes text nodes.
"use strict";

(() => {
  const form = document.getElementById("ask");
  if (!form) return;
  const csrf = document.querySelector("meta[name=csrf]").content;
  const door = form.dataset.door;
  const lanes = [...form.querySelectorAll("[data-lane]")].map((element) => ({
    element, messages: [], id: null,
    model: element.querySelector("[data-model]"), talk: element.querySelector("[data-talk]"),
    figures: element.querySelector("[data-figures]"), rating: element.querySelector("[data-rating]"),
  }));
  let running = null;

  const call = (path, body, signal) => fetch(door + path, {
    method: "POST", signal, headers: { "content-type": "application/json", "x-csrf-token": csrf }, body: JSON.stringify(body),
  });

  function spoken(lane, who, text) {
    const box = Object.assign(document.createElement("div"), { className: `message ${who}` });
    const name = Object.assign(document.createElement("div"), { className: "who", textContent: who });
    const said = Object.assign(document.createElement("bdi"), { className: "foreign", dir: "auto", textContent: text });
    box.append(name, said);
    lane.talk.append(box);
    return said;
  }

  function body(lane) {
    const fields = new FormData(form);
    const wanted = { model: lane.model.value, messages: lane.messages, stream: true, stream_options: { include_usage: true } };
    if (fields.get("system")) wanted.messages = [{ role: "system", content: fields.get("system") }, ...lane.messages];
    if (fields.get("values").trim()) wanted.variables = JSON.parse(fields.get("values"));
    for (const name of ["temperature", "max_tokens"]) if (fields.get(name)) wanted[name] = Number(fields.get(name));
    return wanted;
  }

  async function* events(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r/);
      rest = lines.pop();
      for (const line of lines) if (line.startsWith("data:") && line.slice(5).trim() !== "[DONE]") yield JSON.parse(line.slice(5));
    }
  }

  async function answer(lane, prompt, signal) {
    lane.messages.push({ role: "user", content: prompt });
    spoken(lane, "user", prompt);
    const began = performance.now();
    const response = await call("/v1/chat/completions", body(lane), signal);
    if (!response.ok) {
      const told = (await response.json()).error;
      lane.messages.pop();
      lane.figures.textContent = [told.message, told.remedy].filter(Boolean).join(" ");
      return;
    }
    const target = spoken(lane, "assistant", "");
    lane.talk.setAttribute("aria-busy", "true");
    let first = 0, text = "", usage = null;
    for await (const chunk of events(response)) {
      if (chunk.error) throw new Error(chunk.error.message);
      lane.id = chunk.id?.replace("chatcmpl-", "") ?? lane.id;
      usage = chunk.usage ?? usage;
      const piece = chunk.choices?.[0]?.delta?.content;
      if (!piece) continue;
      first ||= performance.now();
      text += piece;
      target.textContent = text;
    }
    lane.messages.push({ role: "assistant", content: text });
    tell(lane, began, first, usage);
  }

  function tell(lane, began, first, usage) {
    const now = performance.now();
    const tokens = usage?.completion_tokens;
    const rate = tokens > 1 && now > first ? `, ${(((tokens - 1) * 1000) / (now - first)).toFixed(0)} tokens/s` : "";
    lane.figures.textContent = `first token after ${(first ? first - began : now - began).toFixed(0)} ms, whole ${((now - began) / 1000).toFixed(2)} s${tokens ? `, ${tokens} tokens` : ""}${rate}`;
    lane.rating.hidden = !lane.id || !form.dataset.mayRate;
    for (const button of lane.rating.querySelectorAll("button")) button.setAttribute("aria-pressed", "false");
    lane.rating.querySelector("[data-inference]").href = `${form.dataset.inferences}/${lane.id}`;
    const both = lanes.every((each) => each.id && each.messages.length);
    for (const each of lanes) each.rating.querySelector("[data-prefer]").hidden = !both;
  }

  async function ask(event) {
    event?.preventDefault();
    const field = form.querySelector("#prompt");
    const prompt = field.value.trim();
    if (!prompt || running) return;
    running = new AbortController();
    document.getElementById("stop").hidden = false;
    const chosen = lanes.filter((lane) => lane.model.value);
    await Promise.all(chosen.map((lane) => answer(lane, prompt, running.signal)
      .catch((error) => (lane.figures.textContent = error.name === "AbortError" ? "Stopped." : `Broken off: ${error.message}`))
      .finally(() => lane.talk.removeAttribute("aria-busy"))));
    running = null;
    document.getElementById("stop").hidden = true;
    field.value = "";
    field.focus();
  }

  async function rate(lane, button) {
    const other = lanes.find((each) => each !== lane);
    const given = "prefer" in button.dataset
      ? { kind: "preference", inference_id: lane.id, other_inference_id: other.id }
      : { kind: "thumb", inference_id: lane.id, value: button.dataset.thumb === "1" };
    const response = await call("/feedback", given);
    if (response.ok) {
      for (const each of lane.rating.querySelectorAll("button")) if (("prefer" in each.dataset) === ("prefer" in button.dataset)) each.setAttribute("aria-pressed", String(each === button));
    } else lane.figures.textContent = (await response.json()).error.message;
  }

  form.addEventListener("submit", ask);
  form.addEventListener("keydown", (event) => (event.ctrlKey || event.metaKey) && event.key === "Enter" && ask(event));
  document.getElementById("stop").addEventListener("click", () => running?.abort());
  document.getElementById("anew").addEventListener("click", () => {
    for (const lane of lanes) {
      lane.messages = [];
      lane.id = null;
      lane.talk.replaceChildren();
      lane.rating.hidden = true;
      lane.figures.textContent = "The answer streams here.";
    }
    form.querySelector("#prompt").focus();
  });
  for (const lane of lanes) {
    lane.rating.addEventListener("click", (event) => event.target.matches("button") && rate(lane, event.target));
    lane.model.addEventListener("change", () => {
      const address = new URL(location);
      for (const each of lanes) address.searchParams.set(each.element.dataset.lane, each.model.value);
      history.replaceState(null, "", address);
    });
  }
})();
