// Elements, made without ever reading text as HTML.

/** An element: el("a", {class: "x", href: "/"}, "text", other). */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

/** An icon of the sprite. */
export function icon(name, kind = "") {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", `icon ${kind}`.trim());
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `${document.body.dataset.icons}#${name}`);
  svg.append(use);
  return svg;
}

/** Whether somebody is typing. */
export function typing(event) {
  const where = event.target;
  return where instanceof Element && where.closest("input:not([type=checkbox]), textarea, select, [contenteditable]") !== null;
}
