// Keeps what is within the page's frame up to date: it asks the same address for its fragments
// and puts them in place, focus, selection and scroll position kept.

const EVERY_MS = 3000;
const SLOW_MS = 12000;
const LEAST_MS = 600;
const MOST_MS = 4000;
const FIELD = "input:not([type=checkbox]), textarea, select";
let last = 0;
let pace = LEAST_MS;
let listening = false;
let refused = false;
let missed = false;
let etag = "";
let running = null;
let timer = 0;
let failures = 0;
let pressed = false;

// What is pressed stays until it is let go, or for 5 s: on an element that was replaced a click is none.
for (const [type, is] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]]) {
  addEventListener(type, () => (is ? (pressed = true) : setTimeout(() => { pressed = false; })), true);
}
const released = async () => {
  for (let looks = 0; pressed && looks < 100; looks += 1) await new Promise((done) => setTimeout(done, 50));
};

const concerned = () => [...document.querySelectorAll("main [data-live][id]")];

function pulse(state, words) {
  const shown = document.getElementById("pulse");
  if (!shown) return;
  shown.dataset.state = state;
  shown.lastElementChild.textContent = words;
}

function put(text) {
  const came = new DOMParser().parseFromString(text, "text/html");
  for (const old of concerned()) {
    const fresh = came.getElementById(old.id);
    if (!fresh) continue;
    if (old.querySelector("form[data-dirty]")) continue;
    if (old.contains(document.activeElement) && document.activeElement.matches(FIELD)) continue;
    window.Idiomorph.morph(old, fresh, {
      // Of a field that somebody is in; a button that has the focus gets its new words.
      ignoreActiveValue: Boolean(document.activeElement?.matches(FIELD)),
      callbacks: {
        // What a person opened stays open, what they chose stays chosen.
        beforeAttributeUpdated(name, node) {
          if (name === "open" && node.nodeName === "DETAILS") return false;
          if (name === "class" && node.matches?.(".is-here, .is-chosen")) return false;
          return undefined;
        },
        beforeNodeMorphed(node) {
          if (node.nodeType === 1 && node.hasAttribute("data-keep")) return false;
          return undefined;
        },
      },
    });
  }
  document.dispatchEvent(new CustomEvent("loom:refreshed"));
}

async function fetchOnce() {
  last = Date.now();
  try {
    const headers = { "X-Fragment": "main", Accept: "text/html" };
    if (etag) headers["If-None-Match"] = etag;
    const answer = await fetch(location.href, { headers, credentials: "same-origin", cache: "no-store" });
    if (answer.status === 401 || answer.status === 403) {
      pulse("away", "Logged out");
      failures += 3;
      return;
    }
    failures = answer.ok || answer.status === 304 ? 0 : failures + 1;
    if (answer.ok) {
      etag = answer.headers.get("ETag") || "";
      if (document.querySelector("main [data-again]")) location.reload();
      else {
        const text = await answer.text();
        await released();
        put(text);
      }
    }
    if (failures) pulse(failures > 1 ? "away" : "late", failures > 1 ? "Loom is away" : "Late");
    else pulse("live", "Live");
  } catch {
    failures += 1;
    pulse("away", "No connection");
  }
}

/** Bring the page up to date now; several calls at once are one. */
export function refresh() {
  if (!concerned().length) return Promise.resolve();
  running ??= fetchOnce().finally(() => { running = null; });
  return running;
}

/** Something happened: refresh soon, and the less often the more happens. */
export function nudge() {
  missed = true;
  if (document.hidden || timer) return;
  const since = Date.now() - last;
  pace = since < 2 * pace ? Math.min(MOST_MS, pace * 1.4) : LEAST_MS;
  // Many pages hear of it at once: they do not all ask at once.
  const wait = Math.max(60, pace - since) + Math.random() * 250;
  timer = setTimeout(() => { timer = 0; missed = false; refresh(); }, wait);
}

/** Follow Loom's events; what concerns nothing on this page refreshes nothing. */
function follow() {
  const scope = document.querySelector("main [data-stream]")?.dataset.stream;
  const types = (document.body.dataset.events || "").split(" ").filter(Boolean);
  if (scope === "off" || !types.length) { pulse("live", "Live"); return; }
  let source = null;
  let again = 0;
  const heard = (event) => {
    const [kind] = event.type.split(".");
    const wanted = concerned().some(({ dataset }) => !dataset.live || dataset.live.split(" ").includes(kind));
    if (wanted) nudge();
  };
  const listen = () => {
    if (source || document.hidden) return;
    const mine = source = new EventSource(`/api/v1/events/stream?since=now${scope ? `&${scope}` : ""}`);
    for (const type of types) mine.addEventListener(type, heard);
    mine.addEventListener("open", () => {
      listening = true;
      refused = false;
      if (!failures) pulse("live", "Live");
      // What happened between the page and the stream is told by neither.
      nudge();
    });
    mine.addEventListener("error", () => {
      listening = false;
      if (mine !== source || mine.readyState !== EventSource.CLOSED) return;
      // As many follow as may, and a browser that was refused does not come again by itself.
      refused = true;
      leave();
      again = setTimeout(listen, 15000 + Math.random() * 30000);
    });
  };
  const leave = () => {
    clearTimeout(again);
    source?.close();
    source = null;
    listening = false;
    missed = true;
  };
  // A page that nobody looks at keeps no place, nor one of the browser's few connections.
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : listen()));
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
  listen();
}

export function start() {
  if (!concerned().length) return;
  pulse("late", "Connecting");
  follow();
  // Ages and heartbeats are no events; and without a stream this is how a page learns of anything.
  setInterval(() => {
    const pause = (listening || refused ? SLOW_MS : EVERY_MS) * Math.min(6, 1 + failures);
    if (!document.hidden && Date.now() - last >= pause) refresh();
  }, 500);
  last = Date.now();
  setTimeout(() => { if (!listening && !failures) pulse("live", "Live"); }, 3500);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) pulse("off", "Paused");
    else if (missed || Date.now() - last > EVERY_MS) { missed = false; refresh(); }
    else pulse("live", "Live");
  });
}
