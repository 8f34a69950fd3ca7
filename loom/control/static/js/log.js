// The live log of a bead: lines as they come, with colours, search and follow.
import { Painter, settled } from "./ansi.js";
import { el } from "./dom.js";

const MOST = 20000;
const PIECE = 400;

export function start() {
  const log = document.querySelector("[data-log]");
  const state = document.querySelector("[data-log-state]");
  const find = document.querySelector("[data-log-find]");
  const hits = document.querySelector("[data-log-hits]");
  const follow = document.querySelector("[data-log-follow]");
  const wrap = document.querySelector("[data-log-wrap]");
  const painter = new Painter();
  let waiting = [];
  let count = 0;
  let cut = 0;
  let open = null;   // a line that goes on in the next
  let at = -1;
  let busy = false;
  let attempt = 0;
  let ended = false;

  const following = () => follow.getAttribute("aria-pressed") === "true";
  const setFollow = (on) => follow.setAttribute("aria-pressed", String(on));
  const say = (words) => { state.textContent = words; };
  const matches = (text) => find.value && text.toLowerCase().includes(find.value.toLowerCase());

  function lineOf(line) {
    const kind = line.kind || "out";
    if (kind === "out" && open) {
      open.lastElementChild.append(painter.paint(settled(line.text)));
      if (!line.more) open = null;
      return null;
    }
    count += 1;
    const number = el("a", { href: `#L${count}`, id: `L${count}`, tabindex: "-1", title: line.at || "" }, String(count));
    const text = el("span", {});
    if (kind === "begin") { painter.clear(); text.append(`${line.step}${line.text ? `: ${line.text}` : ""}`); }
    else if (kind === "end") { painter.clear(); text.append(`${line.step} ${line.text}`); }
    else if (kind === "attempt" || kind === "left_out") text.append(line.text);
    else text.append(painter.paint(settled(line.text)));
    const made = el("div", { class: `line k-${kind}` }, number, text);
    if (kind === "out" && line.more) open = made;
    if (matches(made.textContent)) made.classList.add("found");
    return made;
  }

  function flush() {
    busy = false;
    const some = waiting.splice(0, PIECE);
    if (!some.length) return;
    log.querySelector(".none")?.remove();
    const made = document.createDocumentFragment();
    for (const line of some) { const shown = lineOf(line); if (shown) made.append(shown); }
    log.append(made);
    while (log.childElementCount > MOST) { log.firstElementChild.remove(); cut += 1; }
    if (cut) hits.textContent = `the first ${cut} lines are in the text alone`;
    if (following()) log.scrollTop = log.scrollHeight;
    if (find.value) count_hits();
    if (waiting.length) soon();
  }
  function soon() {
    if (busy) return;
    busy = true;
    requestAnimationFrame(flush);
  }
  function add(line) {
    if (attempt && line.attempt && line.attempt !== attempt) waiting.push({ kind: "attempt", text: "Another attempt begins" });
    attempt = line.attempt || attempt;
    waiting.push(line);
    if (document.hidden) { if (waiting.length > PIECE) flush(); } else soon();
  }

  function found() { return [...log.querySelectorAll(".line.found")]; }
  function count_hits() {
    const all = found();
    hits.textContent = find.value ? `${all.length} hit${all.length === 1 ? "" : "s"}${at >= 0 && all.length ? `, at ${at + 1}` : ""}` : "";
  }
  function search() {
    at = -1;
    for (const line of log.querySelectorAll(".line")) {
      line.classList.toggle("found", Boolean(matches(line.lastElementChild.textContent)));
      line.classList.remove("found-here");
    }
    count_hits();
  }
  function step(way) {
    const all = found();
    if (!all.length) return;
    log.querySelector(".found-here")?.classList.remove("found-here");
    at = (at + way + all.length) % all.length;
    all[at].classList.add("found-here");
    setFollow(false);
    all[at].scrollIntoView({ block: "center" });
    count_hits();
  }

  let typing = 0;
  find.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(search, 120); });
  find.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); search.pending?.(); step(event.shiftKey ? -1 : 1); }
  });
  document.querySelector("[data-log-prev]").addEventListener("click", () => step(-1));
  document.querySelector("[data-log-next]").addEventListener("click", () => step(1));
  follow.addEventListener("click", () => { setFollow(!following()); if (following()) log.scrollTop = log.scrollHeight; });
  wrap.addEventListener("click", () => {
    const on = wrap.getAttribute("aria-pressed") !== "true";
    wrap.setAttribute("aria-pressed", String(on));
    log.classList.toggle("no-wrap", !on);
  });
  // Whoever scrolls up reads; whoever comes back to the end follows.
  log.addEventListener("wheel", (event) => { if (event.deltaY < 0) setFollow(false); }, { passive: true });
  log.addEventListener("touchmove", () => setFollow(false), { passive: true });
  log.addEventListener("keydown", (event) => { if (["PageUp", "ArrowUp", "Home"].includes(event.key)) setFollow(false); });
  log.addEventListener("scroll", () => { if (log.scrollHeight - log.scrollTop - log.clientHeight < 4) setFollow(true); });

  let source = null;
  let place = "";
  function listen() {
    const from = new URL(log.dataset.log, location.href);
    if (place) from.searchParams.set("cursor", place);
    source = new EventSource(from);
    source.addEventListener("open", () => say("Live"));
    source.addEventListener("line", (event) => { place = event.lastEventId || place; add(JSON.parse(event.data)); });
    source.addEventListener("attempt", (event) => {
      const told = JSON.parse(event.data);
      if (attempt && told.attempt !== attempt) { waiting.push({ kind: "attempt", text: `Attempt ${told.attempt} begins` }); soon(); }
      attempt = told.attempt || attempt;
    });
    source.addEventListener("end", () => {
      ended = true;
      source.close();
      say("Ended");
      if (!count && !waiting.length) log.querySelector(".none").textContent = "It has ended, and wrote nothing that is kept.";
    });
    source.addEventListener("error", () => {
      if (ended) return;
      if (source.readyState !== EventSource.CLOSED) { say("Coming back"); return; }
      // Refused, for want of a place: a browser does not try that again, and not all should at once.
      say("Not live: it tries again");
      setTimeout(listen, 15000 + Math.random() * 30000);
    });
  }
  listen();
  addEventListener("pagehide", () => source.close());
  document.addEventListener("visibilitychange", () => { if (!document.hidden && waiting.length) soon(); });
  // The text, and not the JSON that the address gives to programs.
  document.querySelector("[data-log-text]").addEventListener("click", async (event) => {
    event.preventDefault();
    const link = event.currentTarget;
    const answer = await fetch(link.href, { headers: { Accept: "text/plain" }, credentials: "same-origin" });
    const made = el("a", { href: URL.createObjectURL(await answer.blob()), download: link.download });
    made.click();
    setTimeout(() => URL.revokeObjectURL(made.href), 10000);
  });
}
