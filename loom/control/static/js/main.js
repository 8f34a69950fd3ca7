// What every page starts.
import * as act from "./act.js";
import * as keys from "./keys.js";
import * as live from "./live.js";
import * as choosing from "./choosing.js";
import * as times from "./times.js";
import { toast } from "./toast.js";

act.start();
keys.start();
times.start();
choosing.start();
live.start();

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    event.preventDefault();
    try {
      await navigator.clipboard.writeText(copy.dataset.copy);
      toast("Copied.");
    } catch {
      toast("The browser does not let this page copy: choose the text and copy it by hand.", "bad");
    }
  }
  if (event.target.closest("[data-theme-toggle]")) window.loomTheme.toggle();
  if (event.target.closest("[data-reload]")) location.reload();
  const menu = event.target.closest("[data-menu]");
  if (menu || event.target.closest("[data-menu-close]")) {
    const open = document.body.classList.toggle("menu-open", Boolean(menu) && !document.body.classList.contains("menu-open"));
    document.querySelector("[data-menu]")?.setAttribute("aria-expanded", String(open));
    if (open) document.querySelector(".side nav a")?.focus();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.body.classList.contains("menu-open")) {
    document.body.classList.remove("menu-open");
    document.querySelector("[data-menu]")?.focus();
  }
});
// A filter applies as soon as it is chosen.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-auto]");
  if (form) form.requestSubmit();
});
// Empty filters stay out of the address.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "get" || event.target.dataset.act) return;
  for (const field of event.target.elements) if (field.name && !field.value) field.disabled = true;
});

for (const name of (document.querySelector("main [data-modules]")?.dataset.modules || "").split(" ").filter(Boolean)) {
  import(`./${name}.js`).then((module) => module.start());
}
