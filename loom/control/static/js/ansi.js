// Text with terminal colours as elements. Text is only ever text; every other control sequence
// than colours (SGR) is left out.

const SEQUENCE = /\x1b\[([0-9;:]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-Z\\-_]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g;
const STEPS = [0, 95, 135, 175, 215, 255];

function cube(index) {
  if (index >= 232) { const grey = 8 + (index - 232) * 10; return `rgb(${grey}, ${grey}, ${grey})`; }
  const n = index - 16;
  return `rgb(${STEPS[Math.floor(n / 36)]}, ${STEPS[Math.floor(n / 6) % 6]}, ${STEPS[n % 6]})`;
}

/** A colour of several numbers (38;5;n or 38;2;r;g;b): what it is, and how many numbers it took. */
function many(codes, at) {
  if (codes[at + 1] === 5) {
    const index = codes[at + 2] ?? 0;
    return [index < 16 ? index : cube(Math.min(255, index)), 3];
  }
  if (codes[at + 1] === 2) {
    const part = (n) => Math.min(255, codes[at + n] || 0);
    return [`rgb(${part(2)}, ${part(3)}, ${part(4)})`, 5];
  }
  return [null, 2];
}

export class Painter {
  constructor() { this.clear(); }

  clear() { this.ink = null; this.ground = null; this.marks = new Set(); this.turned = false; }

  sgr(text) {
    const codes = text.split(/[;:]/).map((code) => (code === "" ? 0 : Number(code)));
    for (let at = 0; at < codes.length; at += 1) {
      const code = codes[at];
      if (code === 0) this.clear();
      else if (code === 7 || code === 27) this.turned = code === 7;
      else if ({ 1: "b", 2: "d", 3: "i", 4: "u", 9: "s" }[code]) this.marks.add({ 1: "b", 2: "d", 3: "i", 4: "u", 9: "s" }[code]);
      else if (code === 22) { this.marks.delete("b"); this.marks.delete("d"); }
      else if (code === 23) this.marks.delete("i");
      else if (code === 24) this.marks.delete("u");
      else if (code === 29) this.marks.delete("s");
      else if (code >= 30 && code <= 37) this.ink = code - 30;
      else if (code >= 90 && code <= 97) this.ink = code - 82;
      else if (code === 39) this.ink = null;
      else if (code >= 40 && code <= 47) this.ground = code - 40;
      else if (code >= 100 && code <= 107) this.ground = code - 100;
      else if (code === 49) this.ground = null;
      else if (code === 38 || code === 48) {
        const [colour, took] = many(codes, at);
        if (colour !== null) { if (code === 38) this.ink = colour; else this.ground = typeof colour === "number" ? colour % 8 : colour; }
        at += took - 1;
      }
    }
  }

  get plain() { return this.ink === null && this.ground === null && !this.marks.size && !this.turned; }

  wrap(text) {
    if (this.plain) return document.createTextNode(text);
    const span = document.createElement("span");
    let { ink, ground } = this;
    if (this.turned) [ink, ground] = [ground ?? 0, ink === null ? 7 : ink];
    for (const mark of this.marks) span.classList.add(`a-${mark}`);
    if (typeof ink === "number") span.classList.add(`f${ink}`); else if (ink) span.style.color = ink;
    if (typeof ground === "number") span.classList.add(`g${ground % 8}`); else if (ground) span.style.backgroundColor = ground;
    span.textContent = text;
    return span;
  }

  /** The text as nodes; colours go on into the next text. */
  paint(text) {
    const made = document.createDocumentFragment();
    let from = 0;
    for (const found of text.matchAll(SEQUENCE)) {
      if (found.index > from) made.append(this.wrap(text.slice(from, found.index)));
      if (found[1] !== undefined) this.sgr(found[1]);
      from = found.index + found[0].length;
    }
    if (from < text.length) made.append(this.wrap(text.slice(from)));
    return made;
  }
}

/** A line as a terminal would leave it: what came before a carriage return is written over. */
export function settled(text) {
  const parts = text.replace(/\r+$/, "").split("\r");
  return parts[parts.length - 1];
}
