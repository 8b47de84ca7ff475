// The playground: streams two answers through the door, measures and rates them. Model output only ever becomes text nodes.
"use strict";

(() => {
  const form = document.getElementById("ask");
  if (!form) return;
  const csrf = document.querySelector("meta[name=csrf]").content;
  const door = form.dataset.door;
  const [send, stop, verdict] = ["send", "stop", "verdict"].map((id) => document.getElementById(id));
  const prompt = form.querySelector("#prompt");
  const lanes = [...form.querySelectorAll("[data-lane]")].map((element) => ({
    element, messages: [], id: null, running: null, text: "", figures: {},
    model: element.querySelector("[data-model]"), talk: element.querySelector("[data-talk]"),
    state: element.querySelector("[data-state]"), told: element.querySelector("[data-figures]"),
    rating: element.querySelector("[data-rating]"), stop: element.querySelector("[data-stop]"),
  }));
  const IDLE = "The answer streams here.", COST_TRIES = 10, COST_WAIT = 400;
  let last = prompt.value;

  const call = (path, body, signal) => fetch(door + path, {
    method: "POST", signal, headers: { "content-type": "application/json", "x-csrf-token": csrf }, body: JSON.stringify(body),
  });
  const wait = (time) => new Promise((done) => setTimeout(done, time));

  // ---- Asking
  function spoken(lane, who, text) {
    const box = Object.assign(document.createElement("div"), { className: `message ${who}` });
    const name = Object.assign(document.createElement("div"), { className: "who", textContent: who });
    const said = Object.assign(document.createElement("bdi"), { className: "foreign", dir: "auto", textContent: text });
    box.append(name, said);
    lane.talk.append(box);
    return said;
  }

  // A variant is asked as its version, with what the variant says first and sets by default.
  async function target(value) {
    const [kind, endpoint, id] = value.split(":");
    if (kind !== "variant" || !id) return { model: value };
    const response = await fetch(`${door}/endpoints/${encodeURIComponent(endpoint)}?variants=live`);
    if (!response.ok) throw new Error("its endpoint is not there any more");
    const variant = (await response.json()).variants.find((each) => each.id === id);
    if (!variant) throw new Error("its endpoint has this variant no more");
    return { model: variant.version_id, system: variant.system_prompt, parameters: variant.parameters };
  }

  async function body(lane) {
    const fields = new FormData(form), { model, system, parameters } = await target(lane.model.value);
    const wanted = { ...parameters, model, messages: lane.messages, stream: true, stream_options: { include_usage: true } };
    const first = fields.get("system") || system;
    if (first) wanted.messages = [{ role: "system", content: first }, ...lane.messages];
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

  async function stream(lane, measured) {
    const response = await call("/v1/chat/completions", await body(lane), lane.running.signal);
    if (!response.ok) {
      const { message, remedy } = (await response.json()).error;
      throw new Error([message, remedy && !message.includes(remedy) && remedy].filter(Boolean).join(" "));
    }
    measured.by = response.headers.get("x-charkha-variant");
    const said = spoken(lane, "assistant", "");
    for await (const chunk of events(response)) {
      if (chunk.error) throw new Error(chunk.error.message);
      lane.id = chunk.id?.replace("chatcmpl-", "") ?? lane.id;
      measured.usage = chunk.usage ?? measured.usage;
      const piece = chunk.choices?.[0]?.delta?.content;
      if (!piece) continue;
      measured.first ||= performance.now();
      measured.last = performance.now();
      lane.text += piece;
      said.textContent = lane.text;
    }
  }

  async function answer(lane, question) {
    const measured = { began: performance.now() };
    Object.assign(lane, { id: null, text: "", running: new AbortController(), ended: "" });
    lane.messages.push({ role: "user", content: question });
    spoken(lane, "user", question);
    lane.rating.hidden = true;
    lane.stop.hidden = false;
    lane.state.textContent = "Asking …";
    lane.talk.setAttribute("aria-busy", "true");
    try {
      await stream(lane, measured);
    } catch (error) {
      lane.ended = error.name === "AbortError" ? "Stopped." : `Not answered: ${error.message}`;
    }
    // What was said so far is what the conversation goes on from; of a question without an answer nothing stays.
    if (lane.text) lane.messages.push({ role: "assistant", content: lane.text });
    else lane.messages.pop();
    lane.talk.removeAttribute("aria-busy");
    lane.stop.hidden = true;
    lane.running = null;
    measured.end = performance.now();
    tell(lane, measured);
  }

  async function ask(event) {
    event?.preventDefault();
    const question = prompt.value.trim(), chosen = lanes.filter((lane) => lane.model.value);
    if (!question || !chosen.length || lanes.some((lane) => lane.running)) return;
    last = question;
    verdict.textContent = "";
    stop.hidden = false;
    send.disabled = true;
    const asking = chosen.map((lane) => answer(lane, question));
    prompt.value = "";
    await Promise.all(asking);
    stop.hidden = true;
    send.disabled = false;
    compare(chosen);
    if (document.activeElement === document.body || form.contains(document.activeElement)) prompt.focus();
  }

  const halt = () => lanes.forEach((lane) => lane.running?.abort());

  // ---- Figures
  const time = (ms) => (ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`);

  function show(lane, name, text, value = null) {
    const field = lane.told.querySelector(`[data-figure=${name}]`);
    field.textContent = text;
    field.classList.remove("best");
    lane.figures[name] = value;
  }

  function tell(lane, { began, first, last: final, end, usage, by }) {
    const written = usage?.completion_tokens, rate = written > 1 && final > first ? ((written - 1) * 1000) / (final - first) : null;
    lane.state.textContent = lane.ended || (lane.text ? "" : "It answered with nothing.");
    lane.told.hidden = !lane.id;
    show(lane, "first", first ? time(first - began) : "–", first ? first - began : null);
    show(lane, "whole", time(end - began), lane.ended ? null : end - began);
    show(lane, "rate", rate ? rate.toFixed(0) : "–", rate && -rate);
    show(lane, "tokens", usage ? `${usage.prompt_tokens} read, ${written} written` : "unknown");
    show(lane, "by", by || lane.model.selectedOptions[0].textContent);
    show(lane, "cost", "…");
    lane.rating.hidden = !lane.id || !lane.text || !form.dataset.mayRate;
    for (const button of lane.rating.querySelectorAll("button")) button.setAttribute("aria-pressed", "false");
    lane.rating.querySelector("[data-prefer]").hidden = true; // until both have answered
    lane.rating.querySelector("[data-inference]").href = `${form.dataset.inferences}/${lane.id}`;
    lane.priced = lane.id && form.dataset.mayRead ? price(lane, lane.id) : show(lane, "cost", "–");
  }

  // The log has it a moment after its end.
  async function price(lane, id) {
    for (let tries = 0; tries < COST_TRIES; tries += 1) {
      const response = await fetch(`${door}/inferences/${id}`);
      if (lane.id !== id) return;
      if (response.ok) {
        const { cost, currency } = await response.json();
        const told = cost == null ? "unknown" : `${(cost / 1e6).toLocaleString("en", { maximumSignificantDigits: 3 })} ${currency}`;
        return show(lane, "cost", told, cost == null ? null : { cost, currency });
      }
      await wait(COST_WAIT);
    }
    show(lane, "cost", "not in the log yet");
  }

  async function compare(chosen) {
    const answered = chosen.filter((lane) => lane.id && lane.text && !lane.ended);
    for (const each of lanes) each.rating.querySelector("[data-prefer]").hidden = answered.length < 2;
    if (answered.length < 2) return;
    const [one, other] = answered;
    verdict.textContent = one.text.trim() === other.text.trim() ? "Both say the same, to the letter." : "They say different things.";
    for (const name of ["first", "whole", "rate"]) mark(one, other, name, (figures) => figures[name]);
    const ids = [one.id, other.id];
    await Promise.all([one.priced, other.priced]);
    const [mine, its] = [one.figures.cost, other.figures.cost];
    if (mine && its && mine.currency === its.currency && one.id === ids[0] && other.id === ids[1]) mark(one, other, "cost", (figures) => figures.cost.cost);
  }

  // The better of two figures, where they are told apart at all; less is better.
  function mark(one, other, name, of) {
    const [mine, its] = [of(one.figures), of(other.figures)];
    if (mine == null || its == null || Math.abs(mine - its) <= 0.02 * Math.abs(mine + its) / 2) return;
    (mine < its ? one : other).told.querySelector(`[data-figure=${name}]`).classList.add("best");
  }

  // ---- Rating, sharing, keys
  async function rate(lane, button) {
    if (lane.rating.hidden || button.hidden) return;
    const other = lanes.find((each) => each !== lane), prefers = "prefer" in button.dataset;
    const given = prefers
      ? { kind: "preference", inference_id: lane.id, other_inference_id: other.id }
      : { kind: "thumb", inference_id: lane.id, value: button.dataset.thumb === "1" };
    const response = await call("/feedback", given);
    if (!response.ok) return void (lane.state.textContent = (await response.json()).error.message);
    const group = (prefers ? lanes : [lane]).flatMap((each) => [...each.rating.querySelectorAll(prefers ? "[data-prefer]" : "[data-thumb]")]);
    for (const each of group) each.setAttribute("aria-pressed", String(each === button));
  }

  function address() {
    const found = new URL(location.href), fields = new FormData(form);
    for (const lane of lanes) found.searchParams.set(lane.element.dataset.lane, lane.model.value);
    for (const name of ["system", "temperature", "max_tokens"]) {
      if (fields.get(name)) found.searchParams.set(name, fields.get(name));
      else found.searchParams.delete(name);
    }
    return found;
  }

  async function share(event) {
    const found = address(), question = prompt.value.trim() || last.trim();
    if (question) found.searchParams.set("prompt", question);
    await navigator.clipboard.writeText(found.href);
    event.target.textContent = "Copied";
    setTimeout(() => (event.target.textContent = "Copy link"), 2000);
  }

  function anew() {
    halt();
    for (const lane of lanes) {
      Object.assign(lane, { messages: [], id: null, text: "" });
      lane.talk.replaceChildren();
      lane.rating.hidden = lane.told.hidden = true;
      lane.state.textContent = IDLE;
    }
    verdict.textContent = "";
    prompt.focus();
  }

  form.addEventListener("submit", ask);
  form.addEventListener("keydown", (event) => (event.ctrlKey || event.metaKey) && event.key === "Enter" && ask(event));
  form.addEventListener("change", (event) => event.target !== prompt && history.replaceState(null, "", address()));
  stop.addEventListener("click", halt);
  document.getElementById("anew").addEventListener("click", anew);
  document.getElementById("share").addEventListener("click", share);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
    if (lanes.some((lane) => lane.running)) halt();
    else if (form.contains(document.activeElement)) document.activeElement.blur();
  });
  for (const lane of lanes) {
    lane.stop.addEventListener("click", () => lane.running?.abort());
    lane.rating.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) rate(lane, button);
    });
  }
})();
