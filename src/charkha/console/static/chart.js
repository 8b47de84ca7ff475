// Curves that people look into, drawn by uPlot from what the page carries in `data-plot`.
"use strict";

(() => {
  const drawn = new Map();
  const HIGH = 240, LOW = 200;
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // light-dark() values are resolved by an element where it stands, not by the variable.
  function colour(element, variable) {
    const probe = document.createElement("span");
    probe.style.color = `var(${variable})`;
    element.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  }

  function aligned(series) {
    const xs = [...new Set(series.flatMap((each) => each.points.map((point) => point[0])))].sort((a, b) => a - b);
    const columns = series.map((each) => {
      const at = new Map(each.points);
      return xs.map((x) => at.get(x) ?? null);
    });
    return [xs, ...columns];
  }

  // To the digits that matter: a learning rate of 0.0003 is not "0".
  const figure = (value) => (value == null ? "–" : value && Math.abs(value) < 0.01 ? value.toExponential(1) : String(+value.toPrecision(5)));

  // Columns upon one another: each is drawn as high as it and all beneath it, the highest first.
  const stacked = ([xs, ...columns]) => [xs, ...columns.map((_, from) => xs.map((_, at) => columns.slice(from).reduce((sum, each) => sum + (each[at] ?? 0), 0)))];
  const day = (seconds, form) => (seconds == null ? "–" : new Intl.DateTimeFormat(undefined, { ...form, timeZone: "UTC" }).format(seconds * 1000));
  const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

  function columns(element, data, raw) {
    const made = options(element, data), [xs] = raw, monthly = data.x === "month";
    const wide = (monthly ? 30 : 1) * 86400 * 0.6;
    const form = monthly ? { month: "short", year: "2-digit" } : { day: "numeric", month: "short" };
    made.scales = { x: { time: false, range: () => [xs[0] - wide, xs.at(-1) + wide] }, y: { range: (plot, low, high) => [0, high * 1.05 || 1] } };
    const every = (plot) => Math.max(1, Math.ceil(xs.length / Math.max(plot.bbox.width / devicePixelRatio / 64, 1)));
    made.height = LOW;
    Object.assign(made.axes[1], { label: null, labelSize: 0 });
    Object.assign(made.axes[0], { label: null, labelSize: 0, splits: (plot) => xs.filter((_, at) => (xs.length - 1 - at) % every(plot) === 0), values: (plot, ticks) => ticks.map((at) => day(at, form)) });
    made.axes[1].values = (plot, ticks) => ticks.map((tick) => (tick >= 1e4 ? short.format(tick) : figure(tick)));
    made.series[0].value = (plot, at) => day(at, monthly ? { month: "long", year: "numeric" } : { dateStyle: "medium" });
    made.series.slice(1).forEach((each, index) => Object.assign(each, {
      fill: each.stroke, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.8, 40] }), value: (plot, _, of, at) => figure(at == null ? null : raw[index + 1][at]),
    }));
    return made;
  }

  function options(element, data) {
    const [ink, line, surface] = ["--ink-2", "--line", "--surface"].map((name) => colour(element, name));
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line }, font: `11px ${style("--sans") || "sans-serif"}` };
    return {
      width: Math.max(element.clientWidth, 240),
      height: HIGH,
      scales: { x: { time: data.x === "time" } },
      axes: [{ ...axis, label: data.x === "time" ? "" : data.x, labelFont: axis.font, labelSize: 18 }, { ...axis, label: data.y, labelFont: axis.font, labelSize: 18, size: 56, values: (plot, ticks) => ticks.map(figure) }],
      cursor: { drag: { x: true, y: false } },
      legend: { live: true },
      series: [{ label: data.x }, ...data.series.map((each, index) => ({
        label: each.label, value: (plot, value) => figure(value), stroke: colour(element, `--part-${index % 6}`), width: 1.75, spanGaps: true, points: { show: each.points.length < 40, size: 4, fill: surface },
      }))],
    };
  }

  function draw(element) {
    const old = drawn.get(element.id);
    const text = element.dataset.plot;
    if (old && old.element === element && old.text === text) return;
    old?.plot.destroy();
    const data = JSON.parse(text);
    if (!data.series.some((each) => each.points.length)) return void drawn.delete(element.id);
    const raw = aligned(data.series);
    const plot = data.kind === "columns" ? new uPlot(columns(element, data, raw), stacked(raw), element) : new uPlot(options(element, data), raw, element);
    drawn.set(element.id, { element, text, plot });
  }

  const all = (root) => [...(root.matches?.("[data-plot]") ? [root] : []), ...root.querySelectorAll("[data-plot]")].forEach(draw);
  const again = () => {
    for (const { plot, element } of drawn.values()) plot.setSize({ width: Math.max(element.clientWidth, 240), height: plot.height });
  };
  let waiting = 0;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(again, 120);
  });
  // Another appearance: drawn anew in its colours.
  const anew = () => {
    for (const { plot } of drawn.values()) plot.destroy();
    drawn.clear();
    all(document);
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", anew);
  document.addEventListener("change", (event) => event.target.matches("[data-theme-choice]") && anew());
  document.addEventListener("htmx:load", (event) => all(event.detail.elt));
  all(document);
})();
