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
    const fresh = Date.now() - at < 20 * 3600 * 1000 && !element.hasAttribute("data-exact");
    element.textContent = fresh ? relative(at) : clock.format(at);
    element.title = `${clock.format(at)} (${zone || Intl.DateTimeFormat().resolvedOptions().timeZone})\n${at.toISOString()}`;
  }
}
setInterval(tellTimes, 10000);

// ---- Live regions: one stream a page, and none while nobody looks (browsers allow six connections to a host).
let stream = null;

function replace(id, html) {
  const element = document.getElementById(id);
  if (!element || (element.contains(document.activeElement) && document.activeElement.matches("input, textarea, select"))) return;
  if ($("dialog[open]", element)) return;
  const held = document.activeElement && element.contains(document.activeElement) ? document.activeElement.id : "";
  htmx.swap(element, html, { swapStyle: "innerHTML" });
  if (held) document.getElementById(held)?.focus();
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
  if (event.detail.go) location.assign(event.detail.go);
  else htmx.ajax("GET", location.href, { target: "#page", select: "#page", swap: "outerHTML" });
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
document.addEventListener("change", (event) => {
  const target = event.target;
  if (target.matches("[data-workspaces]")) location.assign(`/console/w/${encodeURIComponent(target.value)}/`);
  if (target.matches("[data-theme-choice]")) {
    localStorage.setItem("charkha.theme", target.value);
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
const theme = $("[data-theme-choice]");
if (theme) theme.value = localStorage.getItem("charkha.theme") || "";
settle(document);
watch();
