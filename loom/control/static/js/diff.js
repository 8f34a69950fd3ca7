// Unified diffs as tables, file by file; the text is never read as HTML.
import { el } from "./dom.js";

const MOST = 6000;
const LARGEST = 2 * 1024 * 1024;

function files(text) {
  const found = [];
  let file = null;
  let hunk = false;
  for (const line of text.split("\n")) {
    if (line.startsWith("diff --git ") || (!hunk && line.startsWith("--- ") && (!file || file.lines.length))) {
      file = { name: line.startsWith("diff --git ") ? line.slice(11).split(" b/").pop() : line.slice(4).replace(/^[ab]\//, ""), lines: [], head: [] };
      found.push(file);
      hunk = false;
      if (!line.startsWith("diff --git ")) file.head.push(line);
      continue;
    }
    if (!file) continue;
    if (line.startsWith("@@")) { hunk = true; file.lines.push(line); continue; }
    if (hunk && /^[ +\-\\]/.test(line)) file.lines.push(line);
    else if (hunk && line === "") file.lines.push(" ");
    else {
      hunk = false;
      if (line.startsWith("+++ ") && line.slice(4) !== "/dev/null") file.name = line.slice(4).replace(/^b\//, "").replace(/\t.*$/, "");
      if (line) file.head.push(line);
    }
  }
  for (const each of found) while (each.lines.at(-1) === " ") each.lines.pop();
  return found;
}

function table(file, room) {
  const body = el("tbody");
  let [before, after] = [0, 0];
  for (const line of file.lines.slice(0, room)) {
    const hunk = /^@@ -(\d+)(?:,\d+)? \+(\d+)/.exec(line);
    if (hunk) {
      [before, after] = [Number(hunk[1]), Number(hunk[2])];
      body.append(el("tr", { class: "hunk" }, el("td"), el("td"), el("td", {}, line)));
      continue;
    }
    const sign = line[0];
    const row = el("tr", { class: sign === "+" ? "add" : sign === "-" ? "cut-out" : "" });
    row.append(el("td", {}, sign === "+" || sign === "\\" ? "" : String(before)), el("td", {}, sign === "-" || sign === "\\" ? "" : String(after)), el("td", {}, line));
    if (sign === " " || sign === "-") before += 1;
    if (sign === " " || sign === "+") after += 1;
    body.append(row);
  }
  return el("table", {}, body);
}

function show(place, text) {
  const all = files(text);
  if (!all.length) { place.replaceChildren(el("pre", { class: "out" }, text)); return; }
  let room = MOST;
  let [added, removed] = [0, 0];
  place.replaceChildren();
  for (const file of all) {
    const plus = file.lines.filter((line) => line[0] === "+").length;
    const minus = file.lines.filter((line) => line[0] === "-").length;
    added += plus; removed += minus;
    const fold = el("details", { class: "diff-file", open: room > 0 && file.lines.length < 1500 },
      el("summary", {}, `${file.name} `, el("span", { class: "plus" }, `+${plus} `), el("span", { class: "minus" }, `−${minus}`)));
    if (!file.lines.length) fold.append(el("p", { class: "body muted" }, file.head.filter((line) => !line.startsWith("index ")).join("; ") || "no text of it changed"));
    else if (room > 0) fold.append(table(file, room));
    else fold.append(el("p", { class: "body muted" }, "too long to show here: download it"));
    room -= file.lines.length;
    place.append(fold);
  }
  const sum = place.closest("section").querySelector("[data-diff-sum]");
  if (sum) sum.replaceChildren(`${all.length} file${all.length === 1 ? "" : "s"}, `, el("span", { class: "plus" }, `+${added} `), el("span", { class: "minus" }, `−${removed}`));
}

export function start() {
  for (const place of document.querySelectorAll("[data-diff]")) show(place, place.textContent);
  for (const place of document.querySelectorAll("[data-diff-from]")) {
    if (Number(place.dataset.size) > LARGEST) { place.replaceChildren(el("p", { class: "body muted" }, "It is too large to show here: download it.")); continue; }
    fetch(place.dataset.diffFrom, { credentials: "same-origin" })
      .then(async (answer) => {
        if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.detail || `the store answered ${answer.status}`);
        show(place, await answer.text());
      })
      .catch((error) => place.replaceChildren(el("p", { class: "body problem", role: "alert" }, error.message)));
  }
}
