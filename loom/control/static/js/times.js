// Relative times that go on by themselves, and spans that grow.

function unit(seconds) {
  for (const [name, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= size) return `${Math.round(seconds / size)} ${name}`;
  }
  return `${Math.round(seconds)} s`;
}

export function ago(seconds) {
  if (Math.abs(seconds) < 5) return "just now";
  return seconds > 0 ? `${unit(seconds)} ago` : `in ${unit(-seconds)}`;
}

export function span(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

function tick() {
  if (document.hidden) return;
  for (const shown of document.querySelectorAll("time[data-ago], time[data-since]")) {
    const seconds = (Date.now() - Date.parse(shown.dateTime)) / 1000;
    const words = "ago" in shown.dataset ? ago(seconds) : span(seconds);
    if (shown.textContent !== words) shown.textContent = words;
  }
}

export function start() {
  tick();
  setInterval(tick, 1000);
  document.addEventListener("loom:refreshed", tick);
}
