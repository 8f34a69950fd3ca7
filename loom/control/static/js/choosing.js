// Rows that are chosen, and what is done to all of them at once.
import { call, Problem } from "./api.js";
import { ask } from "./dialog.js";
import { refresh } from "./live.js";
import { toast } from "./toast.js";

const boxes = () => [...document.querySelectorAll("main input[data-choose]")];
const chosen = () => boxes().filter((box) => box.checked);

function show() {
  const bar = document.querySelector("[data-bulk]");
  if (!bar) return;
  const count = chosen().length;
  bar.hidden = count === 0;
  bar.querySelector("[data-bulk-count]").textContent = `${count} chosen`;
  for (const box of boxes()) box.closest("[data-row]")?.classList.toggle("is-chosen", box.checked);
  const all = document.querySelector("input[data-choose-all]");
  if (all) {
    all.checked = count > 0 && count === boxes().length;
    all.indeterminate = count > 0 && count < boxes().length;
  }
}

function letGo() {
  for (const box of boxes()) box.checked = false;
  show();
}

/** One call for each, a few at once; what was refused is told apart. */
async function each(ids, method, template, body, tell) {
  const waiting = [...ids];
  const refused = [];
  let done = 0;
  const worker = async () => {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
      try {
        await call(method, template.replace("{id}", encodeURIComponent(id)), body);
      } catch (problem) {
        if (!(problem instanceof Problem)) throw problem;
        refused.push(problem.message);
      }
      done += 1;
      tell(done);
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  return refused;
}

export function start() {
  document.addEventListener("change", (event) => {
    if (event.target.matches("input[data-choose-all]")) {
      for (const box of boxes()) box.checked = event.target.checked;
    }
    if (event.target.matches("input[data-choose], input[data-choose-all]")) show();
  });
  document.addEventListener("loom:let-go", letGo);
  document.addEventListener("loom:refreshed", show);
  document.addEventListener("click", async (event) => {
    if (event.target.closest("[data-bulk-none]")) letGo();
    const button = event.target.closest("[data-bulk-act]");
    if (!button) return;
    const ids = chosen().map((box) => box.value);
    const { bulkAct, bulkTo, reason, done, body } = button.dataset;
    const label = button.textContent.trim();
    let refused = [];
    const answer = await ask({
      title: `${label} ${ids.length} bead${ids.length === 1 ? "" : "s"}?`,
      words: button.dataset.confirm || "", reason: reason || "", yes: label,
      danger: button.classList.contains("danger"),
    }, async (why) => {
      const yes = document.querySelector("[data-ask-yes]");
      const sent = { ...(body ? JSON.parse(body) : {}), ...(reason ? { reason: why } : {}) };
      refused = await each(ids, bulkAct, bulkTo, sent, (count) => { yes.textContent = `${count} of ${ids.length}`; });
      return {};
    });
    if (answer === null) return;
    const good = ids.length - refused.length;
    if (good) toast(`${good} ${done}`);
    if (refused.length) toast(refused[0], "bad", `${refused.length} refused`);
    letGo();
    await refresh();
  });
}
