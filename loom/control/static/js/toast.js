// Short words in the corner about what happened.
import { el, icon } from "./dom.js";

/** Say something; kind: good or bad. A bad one stays until it is closed. */
export function toast(words, kind = "good", small = "") {
  const place = document.getElementById("toasts");
  const close = el("button", { class: "ghost", type: "button", "aria-label": "Close" }, icon("x", "small"));
  const shown = el("div", { class: `toast is-${kind}`, role: kind === "bad" ? "alert" : "status" },
    el("div", {}, words, small ? el("small", {}, small) : null), close);
  close.addEventListener("click", () => shown.remove());
  place.append(shown);
  while (place.children.length > 4) place.firstElementChild.remove();
  if (kind !== "bad") setTimeout(() => shown.remove(), 4500);
}
