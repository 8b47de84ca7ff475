// What a page's tests ask of it, evaluated inside it: {breaks, intruders, unseen}, each a list of faults; or `breaks` alone.
(alone) => {
  const wide = document.documentElement.clientWidth;

  // Beyond the edge of the window, and in nothing that scrolls by itself.
  const scrolls = (node) => {
    for (let at = node.parentElement; at; at = at.parentElement) {
      if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(at).overflowX)) return true;
    }
    return false;
  };
  const isOut = (node) => {
    const box = node.getBoundingClientRect();
    return box.width > 0 && box.right > wide + 1 && node.checkVisibility({ checkVisibilityCSS: true })
      && !node.closest(".visually-hidden, dialog") && !scrolls(node);
  };
  const over = document.documentElement.scrollWidth - wide;
  const breaks = over > 0 ? [`the page is ${over} px wider than the window`] : [];
  for (const node of [...document.querySelectorAll("main *")].filter(isOut).slice(0, 5)) {
    breaks.push(`${node.tagName}.${node.className} reaches out: ${node.textContent.slice(0, 60)}`);
  }

  if (alone) return { breaks };

  // What the page's own policy should have kept out, or its escaping. uPlot places its parts by style, through the DOM.
  const ADDRESSES = ["href", "src", "action", "formaction", "hx-get", "hx-post", "data-live"];
  const intruders = window.pwned === undefined ? [] : ["a script of a text ran"];
  for (const node of document.querySelectorAll("*")) {
    for (const { name, value } of node.attributes) {
      if (/^(on|hx-on)/.test(name) || (name === "style" && !node.closest(".uplot"))) intruders.push(`${node.tagName} ${name}`);
      if (!ADDRESSES.includes(name) || (name === "src" && value.startsWith("data:image/"))) continue;
      if (new URL(value, document.baseURI).origin !== location.origin) intruders.push(`${node.tagName} ${name}=${value}`);
    }
    if (node.tagName === "SCRIPT" && !node.nonce) intruders.push("SCRIPT without a nonce");
    if (["IFRAME", "OBJECT", "EMBED", "BASE"].includes(node.tagName)) intruders.push(node.tagName);
  }

  // Characters that change what is read around them, or that nobody sees. What is in a field is what was typed.
  const INVISIBLE = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;
  const USUAL = ["\n", "\t", "\r", "\u00ad"];
  const told = [];
  const walker = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.nodeType === Node.TEXT_NODE) told.push(["text", node.data, node.parentElement]);
    else for (const { name, value } of node.attributes) if (!["value", "content", "data-plot"].includes(name)) told.push([name, value, node]);
  }
  const unseen = [];
  for (const [where, text, node] of told) {
    const found = [...new Set(text.match(INVISIBLE) || [])].filter((each) => !USUAL.includes(each));
    if (found.length && !node.closest("textarea, script")) {
      unseen.push(`${where} of ${node.tagName}.${node.className.baseVal ?? node.className}: ${found.map((each) => each.codePointAt(0).toString(16))}`);
    }
  }
  return { breaks, intruders, unseen: unseen.slice(0, 5) };
};
