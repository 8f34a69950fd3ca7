// What an action answered, shown where `data-answer` says: a comparison, or what a dry run found.
import { el, icon } from "./dom.js";

const number = (count) => new Intl.NumberFormat("en").format(count).replaceAll(",", "\u202f");
const many = (count, one, several) => `${number(count)} ${count === 1 ? one : several}`;

function reconcile(answer) {
  const { reowed, reopened, expired } = answer.mended;
  const mended = [
    reowed && `${many(reowed, "bead", "beads")} owed anew`,
    reopened && `${many(reopened, "bead", "beads")} reopened`,
    expired && `${many(expired, "lease", "leases")} ended`,
  ].filter(Boolean);
  const lines = answer.projects.flatMap((each) => each.differences.map((words) => el("li", {}, `${each.project_id}: ${words}`)));
  return [
    el("strong", {}, answer.unaccounted
      ? `${many(answer.unaccounted, "bead is", "beads are")} unaccounted for`
      : `Every bead of ${many(answer.projects.length, "project", "projects")} is accounted for`),
    mended.length ? el("p", {}, `Mended: ${mended.join(", ")}.`) : null,
    lines.length ? el("ul", {}, ...lines) : null,
  ];
}

function settle(answer) {
  if (answer.replay) return [el("p", {}, `Begun: ${many(answer.matching, "letter", "letters")} to replay. Its progress is below.`)];
  if (answer.discarded) return [el("p", {}, `${many(answer.discarded, "letter", "letters")} discarded.`)];
  return [
    el("strong", {}, `${many(answer.matching, "open letter", "open letters")} would be taken`),
    el("p", {}, "Nothing was changed: this was a dry run."),
  ];
}

function letter(answer) {
  return [
    el("strong", {}, `Letter ${answer.id} would go to ${answer.queue} again`),
    el("p", {}, answer.bead_id ? `Its bead ${answer.bead_id} gets another message. Nothing was changed: this was a dry run.` : "Nothing was changed: this was a dry run."),
  ];
}

function verdict(answer) {
  return [
    el("div", { class: `notice is-${answer.broken ? "bad" : "good"}` }, el("strong", {}, answer.broken
      ? `The trail is broken at line ${number(answer.broken)}: ${answer.why}`
      : `All ${many(answer.lines, "line is", "lines are")} as written`)),
  ];
}

/** A secret, which is shown this once; choosing it copies well. */
function secret(words, text) {
  return [el("div", { class: "notice is-good" }, el("div", {}, el("strong", {}, words), el("p", {}, el("span", { class: "command" }, el("code", {}, text),
    el("button", { type: "button", class: "copy", "data-copy": text, "aria-label": "Copy it" }, icon("copy", "small"))))))];
}

const password = (answer) => (answer.password ? secret("The password, shown this once:", answer.password) : []);
const token = (answer) => secret("The token, shown this once:", answer.token);

const webhook = (answer) => secret("The webhook's secret, shown this once:", answer.secret);

const KINDS = { reconcile, settle, letter, verdict, password, token, webhook };

export function start() {
  document.addEventListener("loom:acted", ({ detail: { element, answer } }) => {
    const place = document.getElementById(element.dataset.answer || "");
    const told = KINDS[element.dataset.kind];
    if (place && told) place.replaceChildren(...told(answer).filter(Boolean));
  });
}
