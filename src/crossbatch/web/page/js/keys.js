// Shortcuts: single letters outside of fields, which can be switched off; and the sheet that lists them.
import { byId } from "./element.js";

const OFF = "crossbatch-no-single-keys";
const FIELDS = "input:not([type=range]):not([type=checkbox]):not([type=file]), textarea";

export function keys(actions) {
  const sheet = byId("keys");
  const box = byId("single-keys");
  try { box.checked = localStorage.getItem(OFF) === null; } catch { /* as it stands, then */ }
  box.addEventListener("change", () => {
    try { if (box.checked) localStorage.removeItem(OFF); else localStorage.setItem(OFF, ""); } catch { /* for this visit */ }
  });
  byId("help").addEventListener("click", () => sheet.showModal());
  sheet.addEventListener("click", (event) => { if (event.target === sheet) sheet.close(); });
  const all = { ...actions, "?": () => sheet.showModal() };

  addEventListener("keydown", (event) => {
    const action = all[event.key.toLowerCase()];
    if (!action || (!box.checked && event.key.length === 1) || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest?.(FIELDS) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    action();
  });
}
