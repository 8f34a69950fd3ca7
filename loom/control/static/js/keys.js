// The keyboard: rows by j and k, pages by g and a letter, the list of it all by ?.
import { typing } from "./dom.js";
import { refresh } from "./live.js";

let going = 0;
const rows = () => [...document.querySelectorAll("main [data-row]")].filter((row) => row.offsetParent !== null);
const here = () => document.querySelector("main [data-row].is-here");

function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(here());
  const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step))];
  for (const row of all) row.classList.toggle("is-here", row === next);
  next.scrollIntoView({ block: "nearest" });
}

export function start() {
  const shortcuts = document.getElementById("shortcuts");
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-shortcuts]")) shortcuts.showModal();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if (document.querySelector("dialog[open]")) return;
      if (typing(event)) event.target.blur();
      here()?.classList.remove("is-here");
      document.dispatchEvent(new CustomEvent("loom:let-go"));
      return;
    }
    if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    const { key } = event;
    if (Date.now() - going < 1500 && /^[a-z]$/.test(key)) {
      going = 0;
      const link = document.querySelector(`.side [data-key="${key}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    const act = {
      g: () => { going = Date.now(); },
      j: () => move(1),
      k: () => move(-1),
      r: () => refresh(),
      t: () => window.loomTheme.toggle(),
      "?": () => shortcuts.showModal(),
      "/": () => document.querySelector("[data-find-here], [data-find]")?.focus(),
      x: () => here()?.querySelector("input[data-choose]")?.click(),
      Enter: () => { if (document.activeElement === document.body || document.activeElement?.id === "main") here()?.querySelector("a[data-open]")?.click(); },
    }[key];
    if (!act) return;
    if (key !== "Enter") event.preventDefault();
    act();
  });
}
