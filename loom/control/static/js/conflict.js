// An edit that came too late: what is otherwise by now, beside what was typed, of which nothing is lost.
import { call } from "./api.js";
import { el, icon } from "./dom.js";

/** Whether a field is as the page came. */
export function untouched(field) {
  if (field.type === "checkbox" || field.type === "radio") return field.checked === field.defaultChecked;
  if (field.options) {
    const preset = [...field.options].findIndex((option) => option.defaultSelected);
    return field.selectedIndex === Math.max(0, preset);
  }
  return field.value === field.defaultValue;
}

const shown = (value) => {
  if (value === null || value === undefined || value === "") return "nothing";
  const text = Array.isArray(value) ? value.join(" ") : typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.length > 160 ? `${text.slice(0, 160)}…` : text || "nothing";
};

/** What a field would hold if the page came now. */
function preset(field) {
  if (field.type === "checkbox") return String(field.defaultChecked);
  if (field.options) return ([...field.options].find((option) => option.defaultSelected) || field.options[0])?.value ?? "";
  return field.defaultValue.trim().split(/\s+/).join(" ");
}

const plain = (value) => (value === null || value === undefined ? "" : Array.isArray(value) ? value.join(" ") : typeof value === "object" ? JSON.stringify(value) : String(value).trim().split(/\s+/).join(" "));

/** Tell of it within the form, with the way to save over it and the way to take what is there. */
export async function tell(form, place) {
  const now = await call("GET", form.dataset.to);
  const lines = [];
  for (const field of form.elements) {
    if (!field.name || field.dataset.type === "json") continue;
    const theirs = field.name.split(".").reduce((from, key) => from?.[key], now);
    if (theirs === undefined || plain(theirs) === preset(field)) continue;
    const label = field.closest("label")?.querySelector("span")?.textContent || field.name;
    lines.push(el("li", {}, el("strong", {}, `${label}: `), shown(theirs), untouched(field) ? null : el("em", {}, " (you changed it too)")));
  }
  const over = el("button", { type: "button", class: "button small" }, icon("check"), "Save mine over it");
  const take = el("button", { type: "button", class: "button small" }, icon("undo-2"), "Drop mine, show what is there");
  over.addEventListener("click", () => { form.dataset.ifMatch = `"${now.version}"`; form.requestSubmit(); });
  take.addEventListener("click", () => { delete form.dataset.dirty; location.reload(); });
  place.replaceChildren(
    el("strong", {}, "Somebody changed it while you wrote"),
    el("div", {}, lines.length ? "Nothing is saved yet, and what you typed still stands above. By now there is:" : "Nothing is saved yet, and what you typed still stands above. None of the fields here is otherwise; its state may be."),
    ...(lines.length ? [el("ul", {}, ...lines)] : []),
    el("div", { class: "row" }, over, take),
  );
  place.hidden = false;
}
