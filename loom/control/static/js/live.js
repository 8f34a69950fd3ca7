// Keeps what is within the page's frame up to date: it asks the same address for its fragments
// and puts them in place, focus, selection and scroll position kept.

const EVERY_MS = 3000;
const LEAST_MS = 700;
let last = 0;
let etag = "";
let running = null;
let timer = 0;
let failures = 0;

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
    if (old.contains(document.activeElement) && document.activeElement.matches("input:not([type=checkbox]), textarea, select")) continue;
    window.Idiomorph.morph(old, fresh, {
      ignoreActiveValue: true,
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
      else put(await answer.text());
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

/** Something happened: refresh soon, and not more often than is of use. */
export function nudge() {
  if (document.hidden || timer) return;
  timer = setTimeout(() => { timer = 0; refresh(); }, Math.max(80, LEAST_MS - (Date.now() - last)));
}

export function start() {
  if (!concerned().length) return;
  pulse("live", "Live");
  setInterval(() => {
    const pause = EVERY_MS * Math.min(8, 1 + failures);
    if (!document.hidden && Date.now() - last >= pause) refresh();
  }, 500);
  last = Date.now();
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) pulse("off", "Paused");
    else refresh();
  });
}
