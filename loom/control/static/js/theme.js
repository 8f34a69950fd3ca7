// Light or dark before the first paint; loaded in <head> as a plain script. What was chosen is
// kept; without a choice the system decides.
(() => {
  const KEY = "loom.theme";
  const root = document.documentElement;
  const stored = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
  const show = (choice) => {
    if (choice === "light" || choice === "dark") root.dataset.theme = choice;
    else delete root.dataset.theme;
  };
  show(stored());
  window.loomTheme = {
    toggle() {
      const dark = root.dataset.theme
        ? root.dataset.theme === "dark"
        : matchMedia("(prefers-color-scheme: dark)").matches;
      const choice = dark ? "light" : "dark";
      try { localStorage.setItem(KEY, choice); } catch { /* a browser without storage forgets */ }
      show(choice);
      document.dispatchEvent(new CustomEvent("loom:theme"));
    },
  };
  addEventListener("storage", (event) => { if (event.key === KEY) show(event.newValue); });
})();
