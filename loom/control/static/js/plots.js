// Plots of the API's statistics, drawn by uPlot in the page's own colours.
import { call } from "./api.js";
import { el } from "./dom.js";

const EVERY_MS = 10000;
const drawn = new Map();

function colour(name) {
  const probe = el("i", { class: `c-${name}` });
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const LINES = {
  throughput: [
    { label: "filed", colour: "filed", of: (bucket, minutes) => bucket.filed / minutes },
    { label: "succeeded", colour: "closed", of: (bucket, minutes) => bucket.succeeded / minutes, fill: true },
    { label: "failed", colour: "failed", of: (bucket, minutes) => bucket.failed / minutes },
  ],
  latency: [
    { label: "waited for an agent, half", colour: "pickup", of: (bucket) => bucket.pickup?.p50 ?? null },
    { label: "95 of 100", colour: "pickup", of: (bucket) => bucket.pickup?.p95 ?? null, dash: [4, 4] },
    { label: "ran, half", colour: "run", of: (bucket) => bucket.run?.p50 ?? null, fill: true },
    { label: "95 of 100", colour: "run", of: (bucket) => bucket.run?.p95 ?? null, dash: [4, 4] },
  ],
};

function seconds(value) {
  if (value == null) return "–";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
  if (value < 3600) return `${(value / 60).toFixed(value < 600 ? 1 : 0)} min`;
  return `${(value / 3600).toFixed(1)} h`;
}
const rate = (value) => (value == null ? "–" : value >= 10 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(value < 1 ? 2 : 1));

const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
const day = (at) => new Date(at * 1000).toLocaleDateString([], { weekday: "short", day: "numeric" });

function columns(kind, told) {
  const minutes = told.width_s / 60;
  return [
    told.buckets.map((bucket) => Date.parse(bucket.start) / 1000),
    ...LINES[kind].map((line) => told.buckets.map((bucket) => line.of(bucket, minutes))),
  ];
}

function legend(kind, data, at) {
  const place = document.querySelector(`[data-legend="${kind}"]`);
  // The newest part that has something to say; a part that has just begun has not.
  let last = data[0].length - 1;
  while (last > 0 && data.slice(1).every((values) => !values[last])) last -= 1;
  const shown = at ?? last;
  const when = `at ${clock(data[0][shown])}`;
  place.replaceChildren(
    ...LINES[kind].map((line, n) => el("span", {}, el("i", { class: `c-${line.colour}` }), `${line.label} `,
      el("b", {}, (kind === "latency" ? seconds : rate)(data[n + 1][shown])))),
    el("span", { class: "faint" }, when),
  );
}

function draw(place, told) {
  const kind = place.dataset.plot;
  const data = columns(kind, told);
  const known = drawn.get(place);
  if (known) {
    known.setData(data);
    legend(kind, data);
    return;
  }
  const css = getComputedStyle(document.documentElement);
  const line = css.getPropertyValue("--line").trim();
  const faint = css.getPropertyValue("--faint").trim();
  const grid = { stroke: line, width: 1 };
  const ticks = { stroke: line, width: 1, size: 4 };
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const made = new window.uPlot({
    width: place.clientWidth - 8, height: place.clientHeight - 12,
    legend: { show: false },
    cursor: { points: { size: 6 }, drag: { x: false, y: false }, sync: { key: "overview" } },
    scales: { x: { time: true }, y: { range: (_, low, high) => [0, Math.max(high * 1.1, kind === "latency" ? 0.1 : 1)] } },
    axes: [
      { stroke: faint, grid, ticks, font, space: 64, values: (_, at) => at.map(place.dataset.window > 90000 ? day : clock) },
      { stroke: faint, grid, ticks, font, size: 52, space: 34, values: (_, values) => values.map(kind === "latency" ? seconds : rate) },
    ],
    series: [{}, ...LINES[kind].map((each) => {
      const stroke = colour(each.colour);
      return {
        label: each.label, stroke, width: each.dash ? 1.2 : 1.8, dash: each.dash, spanGaps: kind === "latency",
        fill: each.fill ? stroke.replace("rgb(", "rgba(").replace(")", ", .12)") : undefined,
        points: { show: kind === "latency" && !each.dash, size: 4, fill: stroke },
      };
    })],
    hooks: { setCursor: [(plot) => legend(kind, plot.data, plot.cursor.idx)] },
  }, data, place);
  drawn.set(place, made);
  legend(kind, data);
}

async function load() {
  const places = [...document.querySelectorAll("[data-plot]")];
  if (!places.length || document.hidden) return;
  const { window: span, buckets } = places[0].dataset;
  try {
    const told = await call("GET", `/api/v1/statistics?window_s=${span}&buckets=${buckets}`);
    for (const place of places) draw(place, told);
  } catch { /* the page says itself that Loom is away; the plots stay as they were */ }
}

function anew() {
  for (const [place, plot] of drawn) { plot.destroy(); drawn.delete(place); }
  load();
}

export function start() {
  load();
  setInterval(load, EVERY_MS);
  document.addEventListener("visibilitychange", load);
  document.addEventListener("loom:theme", anew);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", anew);
  let wait = 0;
  addEventListener("resize", () => {
    clearTimeout(wait);
    wait = setTimeout(() => {
      for (const [place, plot] of drawn) plot.setSize({ width: place.clientWidth - 8, height: place.clientHeight - 12 });
    }, 120);
  });
}
