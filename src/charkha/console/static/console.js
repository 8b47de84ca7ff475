// The console's behaviour: times in the visitor's zone, live regions, keyboard, palette. Pages work without it.
"use strict";

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const base = $("meta[name=base]").content;

// ---- Times: written in UTC by the server, shown in the visitor's zone, or in UTC if they so choose.
const zone = localStorage.getItem("charkha.zone") || undefined;
const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", timeZone: zone });
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "narrow" });

function relative(at) {
  const seconds = (at - Date.now()) / 1000;
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= length) return ago.format(Math.trunc(seconds / length), unit);
  }
  return ago.format(Math.trunc(seconds), "second");
}

function tellTimes(root = document) {
  for (const element of $$("time[datetime]", root)) {
    const at = new Date(element.dateTime);
    const fresh = Math.abs(Date.now() - at) < 20 * 3600 * 1000 && !element.hasAttribute("data-exact");
    element.textContent = fresh ? relative(at) : clock.format(at);
    element.title = `${clock.format(at)} (${zone || Intl.DateTimeFormat().resolvedOptions().timeZone})\n${at.toISOString()}`;
  }
}
setInterval(tellTimes, 10000);

// ---- Live regions: one stream a page, and none while nobody looks (browsers allow six connections to a host).
let stream = null;

// What is being typed, and where the focus is, outlive a part of the page being made anew; returns what puts them back.
function keep(id) {
  const old = document.getElementById(id);
  const drafts = $$("input[id], textarea[id]", old)
    .filter((field) => field.value !== field.defaultValue && !["hidden", "checkbox", "radio"].includes(field.type))
    .map((field) => [field.id, field.value]);
  const held = old.contains(document.activeElement) && document.activeElement !== old ? document.activeElement : null;
  const alike = (root) => $$(held.localName, root).filter((other) => other.textContent === held.textContent);
  const place = held && alike(old).indexOf(held);
  return () => {
    for (const [field, value] of drafts) if (document.getElementById(field)) document.getElementById(field).value = value;
    if (!held) return;
    const found = held.id ? document.getElementById(held.id) : alike(document.getElementById(id))[place];
    found?.focus({ preventScroll: true });
  };
}

function replace(id, html) {
  const element = document.getElementById(id);
  if (!element || (element.contains(document.activeElement) && document.activeElement.matches("input, textarea, select"))) return;
  if ($("dialog[open]", element)) return;
  const back = keep(id);
  const unfolded = $$("details[open][id]", element).map((details) => details.id);
  const places = $$(".log", element).map((log) => (log.scrollHeight - log.scrollTop - log.clientHeight > 24 ? log.scrollTop : null));
  htmx.swap(element, html, { swapStyle: "innerHTML" });
  for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
  $$(".log", element).forEach((log, index) => {
    if (places[index] == null) return;
    delete log.dataset.follow; // who has scrolled up to read keeps their place
    log.scrollTop = places[index];
  });
  back();
}

function watch() {
  const source = $("[data-live]");
  stream?.close();
  stream = null;
  if (!source || document.hidden) return;
  stream = new EventSource(source.dataset.live);
  stream.addEventListener("fragment", (event) => {
    const { id, html } = JSON.parse(event.data);
    replace(id, html);
    document.documentElement.dataset.liveSeen = Date.now();
  });
  stream.addEventListener("end", () => stream.close());
}
document.addEventListener("visibilitychange", watch);
addEventListener("pagehide", () => stream?.close());

// ---- After a change: the page anew, or the page that it leads to.
document.addEventListener("charkha:changed", (event) => {
  for (const dialog of $$("dialog[open]")) dialog.close();
  event.target.closest?.("form")?.reset();
  if (event.detail.go) location.assign(event.detail.go);
  else refresh();
});

let refreshing = false, refreshAgain = false;
async function refresh() {
  refreshAgain = refreshing; // one at a time, and what changes meanwhile asks for another
  if (refreshing) return;
  refreshing = true;
  try {
    await htmx.ajax("GET", location.href, { target: "#page", select: "#page", swap: "outerHTML" });
  } finally {
    refreshing = false;
  }
  if (refreshAgain) refresh();
}

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id !== "page") return;
  const back = keep("page");
  document.addEventListener("htmx:afterSwap", back, { once: true });
});
document.addEventListener("htmx:responseError", (event) => say("Charkha refused this.", event.detail.xhr.statusText));
document.addEventListener("htmx:sendError", () => say("Charkha does not answer.", "Is it still up? `charkha status` says."));
document.addEventListener("htmx:beforeSwap", () => $$("dialog[open]").forEach((dialog) => dialog.contains(document.activeElement) && dialog.close()));

function say(message, detail) {
  const strong = Object.assign(document.createElement("strong"), { textContent: message });
  const text = Object.assign(document.createElement("p"), { textContent: detail || "" });
  const box = Object.assign(document.createElement("div"), { className: "said wrong" });
  box.append(strong, text);
  $("#said").replaceChildren(box);
}

// What is not asked for does not stand in the address.
document.addEventListener("htmx:configRequest", ({ detail }) => {
  if (!detail.elt.matches(".filters")) return;
  for (const [name, value] of [...detail.formData]) if (value === "") detail.formData.delete(name);
});

// ---- Keyboard: rows, pages, filters.
const rows = () => $$("#page tbody tr").filter((row) => $("a", row));

function select(step) {
  const all = rows();
  if (!all.length) return;
  const now = all.findIndex((row) => row.getAttribute("aria-selected") === "true");
  all[now]?.removeAttribute("aria-selected");
  const row = all[Math.min(Math.max(now + step, 0), all.length - 1)];
  row.setAttribute("aria-selected", "true");
  row.scrollIntoView({ block: "nearest" });
  $("a", row).focus({ preventScroll: true });
}

document.addEventListener("keydown", (event) => {
  const field = event.target.closest?.("[data-send]");
  if (!field) return;
  if (event.key === "Escape") field.blur();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) field.form.requestSubmit();
});

const typing = (target) => target.matches?.("input, textarea, select, [contenteditable]");
let afterG = 0;
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    return palette.open();
  }
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || $("dialog[open]")) return;
  if (Date.now() - afterG < 1200) {
    afterG = 0;
    const link = $(`nav a[data-key="${CSS.escape(event.key)}"]`);
    if (link) return link.click();
  }
  const own = $(`[data-press="${CSS.escape(event.key)}"]`);
  if (own) {
    event.preventDefault();
    return own.matches("input, textarea, select") ? own.focus() : own.click();
  }
  const act = {
    g: () => (afterG = Date.now()),
    j: () => select(1),
    k: () => select(-1),
    "/": () => $(".filters input, .filters select")?.focus(),
    n: () => $("[data-nav=next]")?.click(),
    p: () => $("[data-nav=first]")?.click(),
    "?": () => $("#shortcuts").showModal(),
  }[event.key];
  if (act) {
    if (event.key !== "g") event.preventDefault();
    act();
  }
});

// ---- Palette: pages, ids, names, words.
const ID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/i;
const palette = {
  dialog: $("#palette"), input: $("#palette-input"), list: $("#palette-list"), at: 0, found: [],
  open() {
    if (!this.dialog.open) this.dialog.showModal();
    this.input.value = "";
    this.show();
    this.input.focus();
  },
  candidates(text) {
    const words = text.toLowerCase();
    const pages = $$("nav a[data-key]").map((link) => ({ title: link.firstElementChild.textContent, note: `g ${link.dataset.key}`, href: link.href, find: `${link.textContent} ${link.dataset.words}`.toLowerCase() }));
    const found = pages.filter((page) => words.split(/\s+/).every((word) => page.find.includes(word)));
    const id = text.match(ID)?.[0];
    if (id) found.unshift({ title: `Open ${id}`, note: "whatever it is", href: `${base}/open/${id}` });
    if (/^[\w.:/-]+@[\w-]+$/.test(text)) found.unshift({ title: `Version ${text}`, note: "registry", href: `${base}/versions/${encodeURIComponent(text)}` });
    if (text && !id) found.push({ title: `Search inferences for “${text}”`, note: "log", href: `${base}/inferences?q=${encodeURIComponent(text)}` });
    return found;
  },
  show() {
    this.found = this.candidates(this.input.value.trim());
    this.at = 0;
    this.list.replaceChildren(...this.found.map((each, index) => {
      const item = document.createElement("li");
      item.role = "option";
      item.id = `palette-${index}`;
      item.append(Object.assign(document.createElement("span"), { textContent: each.title }), Object.assign(document.createElement("kbd"), { textContent: each.note }));
      item.addEventListener("click", () => location.assign(each.href));
      return item;
    }));
    this.mark();
  },
  mark() {
    [...this.list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === this.at)));
    this.input.setAttribute("aria-activedescendant", this.found.length ? `palette-${this.at}` : "");
    this.list.children[this.at]?.scrollIntoView({ block: "nearest" });
  },
  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      this.at = (this.at + step + this.found.length) % (this.found.length || 1);
      this.mark();
    } else if (event.key === "Enter" && this.found[this.at]) {
      event.preventDefault();
      location.assign(this.found[this.at].href);
    }
  },
};
palette.input.addEventListener("input", () => palette.show());
palette.input.addEventListener("keydown", (event) => palette.key(event));

// ---- Small things, by delegation, so that they hold for what is swapped in later.
document.addEventListener("click", (event) => {
  const on = (selector) => event.target.closest?.(selector);
  if (on("[data-palette]")) palette.open();
  if (on("[data-dismiss]")) on(".said").remove();
  const menu = on("[data-menu]");
  if (menu) menu.setAttribute("aria-expanded", String($("#side").classList.toggle("open")));
  const copy = on("[data-copy]");
  if (copy) navigator.clipboard.writeText(copy.dataset.copy).then(() => (copy.textContent = "Copied"));
  const opener = on("button[commandfor]");
  if (opener && !("commandForElement" in HTMLButtonElement.prototype)) {
    const target = document.getElementById(opener.getAttribute("commandfor"));
    opener.getAttribute("command") === "close" ? target.close() : target.showModal();
  }
});
document.addEventListener("input", (event) => {
  const target = event.target;
  const [number, slider] = target.matches("[data-with]") ? [document.getElementById(target.dataset.with), target] : [target, $(`[data-with="${CSS.escape(target.id)}"]`)];
  if (target === slider) number.value = slider.value;
  else if (target.id && slider) slider.value = number.value;
});
document.addEventListener("change", (event) => {
  const target = event.target;
  if (target.matches("[data-workspaces]")) location.assign(`/console/w/${encodeURIComponent(target.value)}/`);
  if (target.matches("[data-theme-choice]")) {
    localStorage.setItem("charkha.theme", target.value);
    for (const other of $$("[data-theme-choice]")) other.value = target.value;
    if (target.value) document.documentElement.dataset.theme = target.value;
    else delete document.documentElement.dataset.theme;
  }
  if (target.matches("[data-submit]")) target.form.requestSubmit();
  if (target.matches("[data-zone-choice]")) {
    localStorage.setItem("charkha.zone", target.value);
    location.reload();
  }
});

function settle(root) {
  tellTimes(root);
  for (const log of $$(".log[data-follow]", root)) log.scrollTop = log.scrollHeight;
}
document.addEventListener("htmx:load", (event) => settle(event.detail.elt));
document.addEventListener("htmx:afterSettle", (event) => event.detail.elt.id === "page" && watch());
for (const [choice, name] of [["[data-theme-choice]", "charkha.theme"], ["[data-zone-choice]", "charkha.zone"]]) {
  for (const select of $$(choice)) select.value = localStorage.getItem(name) || "";
}
settle(document);
watch();
