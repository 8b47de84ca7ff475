// What the components sheet's tests ask of it, evaluated inside it.
() => {
  const sheets = {};
  for (const scheme of ["light", "dark"]) {
    const sheet = document.querySelector(`.sheet.${scheme}`), style = getComputedStyle(sheet);
    const boxes = [...sheet.querySelectorAll("[data-component]")].map((node) => {
      const { width, height } = node.getBoundingClientRect();
      return [node.dataset.component, Math.round(width), Math.round(height)];
    });
    sheets[scheme] = { boxes, paper: style.backgroundColor, ink: style.color };
  }
  const shown = (tags) => [...document.querySelectorAll(`.sheet :is(${tags})`)].filter((node) => node.checkVisibility() && !node.closest("dialog"));
  const name = (node) => `${node.tagName}.${node.className} ${node.textContent.trim().slice(0, 60)}`;

  // Text that is wider than what holds it.
  const cut = shown("button, .button, .status, .tag, dd, dt, label, h2, h3, .said, p, th")
    .filter((node) => node.clientWidth && node.scrollWidth > node.clientWidth + 1)
    .map(name);

  // Two things in one place.
  const texts = shown("button, .button, .status, .tag, h2, h3, label, input, select").map((node) => [node, node.getBoundingClientRect()]);
  const upon = [];
  for (const [a, x] of texts) {
    for (const [b, y] of texts) {
      if (a === b || a.contains(b) || b.contains(a)) continue;
      const meets = x.left < y.right - 1 && y.left < x.right - 1 && x.top < y.bottom - 1 && y.top < x.bottom - 1;
      if (meets) upon.push(`${name(a)} on ${name(b)}`);
    }
  }
  const moving = shown(".status.busy").filter((node) => getComputedStyle(node, "::before").animationName !== "none").map(name);
  return { sheets, cut, upon: upon.slice(0, 3), moving };
};
