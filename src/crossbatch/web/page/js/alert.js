// What went wrong, in one sentence, with the way on.
import { byId, element, icon } from "./element.js";

export function alert(sentence, action = null) {
  const box = byId("alert");
  const buttons = action ? [element("button", { type: "button", onclick: () => { calm(); action.run(); } }, action.name)] : [];
  buttons.push(element("button", { type: "button", class: "quiet", "aria-label": "Dismiss", onclick: calm }, icon("i-close")));
  box.replaceChildren(element("p", {}, sentence), ...buttons);
  box.hidden = false;
}

export function calm() {
  byId("alert").hidden = true;
}
