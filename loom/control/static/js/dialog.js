// A question before something is done; a refusal is shown within it.
import { el } from "./dom.js";
import { Problem } from "./api.js";

/** What a refusal says, with its fields. */
export function problemWords(problem) {
  const place = el("div", {}, el("strong", {}, problem.title), el("div", {}, problem.message));
  const fields = (problem.errors || []).filter((each) => each.field && !problem.message.includes(each.message));
  if (fields.length) place.append(el("ul", {}, ...fields.map((each) => el("li", {}, `${each.field}: ${each.message}`))));
  return place;
}

/**
 * Ask, and carry out `go(reason)` when the answer is yes. The dialog stays while it runs and when
 * it is refused. Gives what `go` gave, or null if nothing was done.
 */
export function ask({ title, words = "", reason = "", yes = "Go on", danger = false }, go) {
  const dialog = document.getElementById("ask");
  const form = dialog.querySelector("form");
  const area = form.elements.reason;
  const button = dialog.querySelector("[data-ask-yes]");
  const trouble = document.getElementById("ask-problem");
  document.getElementById("ask-title").textContent = title;
  const said = document.getElementById("ask-words");
  said.textContent = words;
  said.hidden = !words;
  const label = document.getElementById("ask-reason");
  label.hidden = !reason;
  label.firstElementChild.textContent = reason;
  area.required = Boolean(reason);
  area.value = "";
  button.textContent = yes;
  button.classList.toggle("danger", danger);
  trouble.hidden = true;
  return new Promise((settle) => {
    let result = null;
    const send = async (event) => {
      event.preventDefault();
      if (button.getAttribute("aria-busy") === "true") return;
      button.setAttribute("aria-busy", "true");
      try {
        result = await go(area.value.trim()) ?? {};
        dialog.close();
      } catch (problem) {
        if (!(problem instanceof Problem)) throw problem;
        trouble.replaceChildren(problemWords(problem));
        trouble.hidden = false;
      } finally {
        button.removeAttribute("aria-busy");
      }
    };
    const write = (event) => { if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) form.requestSubmit(); };
    const no = () => dialog.close();
    form.addEventListener("submit", send);
    area.addEventListener("keydown", write);
    dialog.querySelector("[data-ask-no]").addEventListener("click", no);
    dialog.addEventListener("close", () => {
      form.removeEventListener("submit", send);
      area.removeEventListener("keydown", write);
      dialog.querySelector("[data-ask-no]").removeEventListener("click", no);
      settle(result);
    }, { once: true });
    dialog.showModal();
    (reason ? area : button).focus();
  });
}
