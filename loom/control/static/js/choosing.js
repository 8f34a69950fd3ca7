// Rows that are chosen, and what is done to all of them at once, by the API's bulk route.
import { call, Problem } from "./api.js";
import { ask } from "./dialog.js";
import { el, icon } from "./dom.js";
import { refresh } from "./live.js";
import { toast } from "./toast.js";

const AT_ONCE = 200; // Beads of one request: a larger choice goes in several, and shows how far it is.
const MOST = 5000;
const REASONS = 5;
const boxes = () => [...document.querySelectorAll("main input[data-choose]")];
const bar = () => document.querySelector("[data-bulk]");
let further = []; // Ids of beads that match and are on no shown page.

const chosen = () => [...boxes().filter((box) => box.checked).map((box) => box.value), ...further];
const many = (count) => `${count} bead${count === 1 ? "" : "s"}`;

function show() {
  if (!bar()) return;
  const here = boxes().filter((box) => box.checked);
  const count = here.length + further.length;
  bar().hidden = count === 0;
  bar().querySelector("[data-bulk-count]").textContent = `${count} chosen`;
  const whole = here.length > 0 && here.length === boxes().length;
  const rest = bar().querySelector("[data-bulk-further]");
  if (rest) rest.hidden = !whole || further.length > 0;
  for (const box of boxes()) box.closest("[data-row]")?.classList.toggle("is-chosen", box.checked);
  const all = document.querySelector("input[data-choose-all]");
  if (all) {
    all.checked = whole;
    all.indeterminate = here.length > 0 && !whole;
  }
}

function letGo() {
  for (const box of boxes()) box.checked = false;
  further = [];
  show();
}

/** Every bead that the filters show, page by page. */
async function gather(query, tell) {
  const found = new Set();
  let cursor = "";
  do {
    const page = await call("GET", `/api/v1/beads?${query}&limit=200${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
    for (const bead of page.beads) found.add(bead.id);
    cursor = page.next_cursor || "";
    tell(found.size);
  } while (cursor && found.size < MOST);
  for (const box of boxes()) found.delete(box.value);
  further = [...found];
  show();
  if (cursor) toast(`More than ${MOST} match: these are the first.`, "bad");
}

/** One request for so many as it takes; gives what became of each. */
async function act(ids, sent, tell) {
  const outcomes = [];
  for (let at = 0; at < ids.length; at += AT_ONCE) {
    tell(at);
    const part = ids.slice(at, at + AT_ONCE);
    try {
      outcomes.push(...(await call("POST", "/api/v1/beads/bulk", { ...sent, ids: part })).outcomes);
    } catch (problem) {
      if (!(problem instanceof Problem) || at === 0) throw problem;
      // What was done before stays done: say so, and what was not reached.
      outcomes.push(...ids.slice(at).map((id) => ({ id, verdict: "refused", why: problem.message })));
      break;
    }
  }
  tell(ids.length);
  return outcomes;
}

/** What became of them, the refusals by their reasons. */
function report(outcomes, done) {
  const place = document.querySelector("[data-bulk-told]");
  const of = (verdict) => outcomes.filter((each) => each.verdict === verdict);
  const refused = [...of("refused"), ...of("missing").map((each) => ({ ...each, why: each.why || "it is not there, or not yours to change" }))];
  const reasons = new Map();
  for (const { id, why } of refused) {
    // The same reason names each bead: told once for all.
    const words = (why || "refused").replaceAll(`bead ${id}`, "it").replaceAll(id, "ID");
    reasons.set(words, [...(reasons.get(words) || []), id]);
  }
  const told = [`${of("done").length} ${done}`];
  if (of("unchanged").length) told.push(`${of("unchanged").length} like that already`);
  if (refused.length) told.push(`${refused.length} refused`);
  const close = el("button", { class: "ghost", type: "button", "aria-label": "Close" }, icon("x", "small"));
  const coded = (words) => words.split("`").map((part, at) => (at % 2 ? el("code", {}, part) : part));
  const lines = [...reasons].map(([words, ids]) => el("li", {}, ...coded(words), ": ",
    ...ids.slice(0, REASONS).flatMap((id, at) => [at ? ", " : "", el("a", { href: `/beads/${encodeURIComponent(id)}` }, id)]),
    ids.length > REASONS ? ` and ${ids.length - REASONS} more` : ""));
  const notice = el("div", { class: `notice is-${refused.length ? (of("done").length ? "warn" : "bad") : "good"}` },
    icon(refused.length ? "triangle-alert" : "circle-check"),
    el("div", {}, el("strong", {}, `${told.join(", ")}.`), lines.length ? el("ul", {}, ...lines) : null), close);
  close.addEventListener("click", () => notice.remove());
  place.replaceChildren(notice);
  notice.scrollIntoView({ block: "nearest" });
}

async function begin(button) {
  const ids = chosen();
  const { bulkAct, reason, done, body, confirm } = button.dataset;
  const label = button.dataset.label || button.textContent.trim();
  let outcomes = [];
  const answer = await ask({
    title: `${label}: ${many(ids.length)}`, words: confirm || "", reason: reason || "", yes: label,
    danger: button.classList.contains("danger"),
  }, async (why) => {
    const yes = document.querySelector("[data-ask-yes]");
    const meter = el("progress", { max: ids.length, value: 0, "aria-label": "How far it is" });
    if (ids.length > AT_ONCE) yes.before(meter);
    const sent = { ...(body ? JSON.parse(body) : {}), act: bulkAct, reason: why };
    try {
      outcomes = await act(ids, sent, (count) => {
        meter.value = count;
        if (ids.length > AT_ONCE) yes.textContent = `${count} of ${ids.length}`;
      });
    } finally {
      meter.remove();
      yes.textContent = label;
    }
    return {};
  });
  if (answer === null) return;
  letGo();
  report(outcomes, done);
  await refresh();
}

export function start() {
  document.addEventListener("change", (event) => {
    if (event.target.matches("input[data-choose-all]")) {
      for (const box of boxes()) box.checked = event.target.checked;
    }
    if (event.target.matches("input[data-choose], input[data-choose-all]")) {
      further = [];
      show();
    }
  });
  document.addEventListener("loom:let-go", letGo);
  document.addEventListener("loom:refreshed", show);
  document.addEventListener("click", async (event) => {
    if (event.target.closest("[data-bulk-none]")) letGo();
    const more = event.target.closest("[data-bulk-further]");
    if (more && more.getAttribute("aria-busy") !== "true") {
      const label = more.textContent;
      more.setAttribute("aria-busy", "true");
      try {
        await gather(more.dataset.bulkFurther, (count) => { more.textContent = `${count} …`; });
      } catch (problem) {
        if (!(problem instanceof Problem)) throw problem;
        toast(problem.message, "bad", problem.title);
      } finally {
        more.removeAttribute("aria-busy");
        more.textContent = label;
      }
    }
    const button = event.target.closest("[data-bulk-act]");
    if (button) await begin(button);
  });
}
