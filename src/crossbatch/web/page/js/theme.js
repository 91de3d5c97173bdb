// The theme: the system's, or the one a person has chosen. A plain script, run before the first paint.
(() => {
  const kept = "crossbatch-theme";
  const read = () => { try { return localStorage.getItem(kept); } catch { return null; } };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const set = (theme) => {
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  const now = () => document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light");
  const changed = () => document.dispatchEvent(new Event("themechange"));

  set(read());
  system.addEventListener("change", changed);

  // The other theme; where that is the system's own, the choice is forgotten and the system followed again.
  window.switchTheme = () => {
    const other = now() === "dark" ? "light" : "dark";
    const follows = (other === "dark") === system.matches;
    set(follows ? null : other);
    try { if (follows) localStorage.removeItem(kept); else localStorage.setItem(kept, other); } catch { /* not kept, then */ }
    changed();
    return other;
  };
})();
