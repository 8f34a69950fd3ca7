// Colours in what commands wrote; again after a refresh has put plain text in its place.
import { Painter } from "./ansi.js";

function paint() {
  for (const place of document.querySelectorAll("pre[data-ansi]")) {
    const text = place.textContent;
    if (!text.includes("\x1b") && !text.includes("\r")) continue;
    place.replaceChildren(new Painter().paint(text));
  }
}

export function start() {
  paint();
  document.addEventListener("loom:refreshed", paint);
}
