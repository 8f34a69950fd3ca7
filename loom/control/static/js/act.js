// Actions that elements declare (loom/control/pages/__init__.py says how), through the API.
import { call, Problem } from "./api.js";
import { tell, untouched } from "./conflict.js";
import { ask, problemWords } from "./dialog.js";
import { refresh } from "./live.js";
import { toast } from "./toast.js";

/**
 * The values of a form as JSON: numbers as numbers, boxes as true and false. Of a form that is
 * marked data-changed-only, what is as it came stays out.
 */
export function valuesOf(form) {
  const body = {};
  const changedOnly = "changedOnly" in form.dataset;
  for (const field of form.elements) {
    if (changedOnly && field.name && untouched(field)) continue;
    if (!field.name || field.disabled || field.type === "submit" || field.hasAttribute("data-in-path")) continue;
    if (field.type === "radio" && !field.checked) continue;
    const kind = field.dataset.type || field.type;
    let value = field.value;
    if (field.type === "checkbox") value = field.checked;
    else if (kind === "number") value = value === "" ? null : Number(value);
    else if (kind === "list") value = value.split(/[\s,]+/).filter(Boolean);
    else if (kind === "words") value = value.split("\n").map((line) => line.trim()).filter(Boolean);
    else if (kind === "moment") value = value ? new Date(value).toISOString() : null;
    else if (kind === "json") value = value.trim() ? JSON.parse(value) : null;
    if (field.hasAttribute("data-omit-empty") && (value === "" || value === null || value?.length === 0)) continue;
    if (field.hasAttribute("data-null-empty") && value === "") value = null;
    let place = body;
    const path = field.name.split(".");
    for (const key of path.slice(0, -1)) place = place[key] ??= {};
    place[path.at(-1)] = value;
  }
  return body;
}

/** The address, with `{name}` put in from the fields of a form that are marked data-in-path. */
function pathOf(to, element) {
  return to.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(element.elements?.[name]?.value ?? ""));
}

async function run(element, body) {
  const { act, to, confirm, reason, done, then, yes, title } = element.dataset;
  const danger = element.classList.contains("danger");
  const go = async (why) => {
    const whole = reason ? { ...(body || {}), reason: why } : body;
    return (await call(act, pathOf(to, element), whole, element.dataset.ifMatch ? { "If-Match": element.dataset.ifMatch } : {})) ?? {};
  };
  const label = element.textContent.trim();
  let answer;
  if (confirm !== undefined || reason !== undefined) {
    answer = await ask({
      title: title || (reason === undefined ? label || "Are you sure?" : label),
      words: confirm || "", reason: reason || "", yes: yes || label || "Go on", danger,
    }, go);
    if (answer === null) return;
  } else {
    answer = await go("");
  }
  delete element.dataset.dirty;
  if (element.dataset.ifMatch && answer.version) element.dataset.ifMatch = `"${answer.version}"`;
  if ("folds" in element.dataset) element.closest("details").open = false;
  if (done) toast(done);
  if ("reset" in element.dataset) element.reset();
  document.dispatchEvent(new CustomEvent("loom:acted", { detail: { element, answer } }));
  if (then) location.assign(then.replace(/\{(\w+)\}/g, (_, key) => encodeURIComponent(answer[key] ?? "")));
  else await refresh();
}

async function guarded(element, button, body) {
  if (button?.getAttribute("aria-busy") === "true") return;
  button?.setAttribute("aria-busy", "true");
  const place = element.querySelector?.("[data-problem]");
  if (place) place.hidden = true;
  try {
    await run(element, body);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (place && problem.status === 412 && element.dataset.ifMatch) {
      await tell(element, place);
    } else if (place) {
      place.replaceChildren(problemWords(problem));
      place.hidden = false;
    } else {
      toast(problem.message, "bad", problem.title);
    }
  } finally {
    button?.removeAttribute("aria-busy");
  }
}

export function start() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-act]");
    if (!button || button.form?.dataset.act) return;
    event.preventDefault();
    const body = button.dataset.body ? JSON.parse(button.dataset.body) : undefined;
    guarded(button, button, body);
  });
  // What somebody is writing is not brought up to date beneath their hands.
  document.addEventListener("input", (event) => {
    const form = event.target.form;
    if (form?.dataset.act && event.target.name) form.dataset.dirty = "";
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset?.act) return;
    event.preventDefault();
    let body;
    try {
      body = valuesOf(form);
    } catch (error) {
      toast(`That is not JSON: ${error.message}`, "bad");
      return;
    }
    if ("changedOnly" in form.dataset && !Object.keys(body).length) {
      toast("Nothing was changed.");
      return;
    }
    guarded(form, event.submitter, body);
  });
}
