// The filter by label: one types a few letters and chooses; the server looks among however many labels there are.
import * as api from "./api.js";
import { byId, element, icon } from "./element.js";

const LISTED = 100;
const TYPING_MS = 120;

export class Labels {
  constructor(changed) {
    Object.assign(this, { changed, chosen: [], options: [], at: -1 });
    this.words = byId("label-words");
    this.popup = byId("label-options");
    this.list = byId("label-list");
    this.words.addEventListener("focus", () => this.look());
    this.words.addEventListener("click", () => !this.isOpen && this.look());
    this.words.addEventListener("input", () => { clearTimeout(this.timer); this.timer = setTimeout(() => this.look(), TYPING_MS); });
    this.words.addEventListener("keydown", (event) => this.key(event));
    this.words.addEventListener("blur", () => { this.close(); this.words.value = ""; });
    for (const event of ["scroll", "resize"]) addEventListener(event, () => { if (this.isOpen) this.lie(); }, { capture: true, passive: true });
    this.list.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus
    this.list.addEventListener("click", (event) => {
      const index = [...this.list.children].indexOf(event.target.closest("li"));
      if (index >= 0) this.toggle(this.options[index].label);
    });
  }

  get isOpen() { return this.popup.matches(":popover-open"); }

  // Under the field; over it where there is no room.
  lie() {
    const { left, top, bottom, width } = this.words.getBoundingClientRect();
    const below = innerHeight - bottom > 260 || innerHeight - bottom > top;
    Object.assign(this.popup.style, {
      left: `${Math.min(left, innerWidth - Math.max(width, 230) - 8)}px`, width: `${width}px`,
      top: below ? `${bottom + 6}px` : "auto", bottom: below ? "auto" : `${innerHeight - top + 6}px`,
    });
  }

  show(labels) {
    this.chosen = labels;
    const chips = labels.map((label) => element("li", {}, element("button", { type: "button", "aria-label": `Remove ${label}`, title: label, onclick: () => this.toggle(label) }, element("span", { class: "two-lines", dir: "auto" }, label), icon("i-close"))));
    byId("chosen").replaceChildren(...chips);
    byId("chosen").hidden = !labels.length;
    this.words.placeholder = labels.length ? "or another" : "Filter by label";
  }

  look() {
    this.asking?.abort();
    this.asking = new AbortController();
    clearTimeout(this.timer);
    this.looked = this.words.value.trim();
    this.looking = this.found(this.looked);
    return this.looking;
  }

  async found(words) {
    try {
      const { labels, total } = await api.labels(words, LISTED, this.asking.signal);
      if (document.activeElement === this.words) this.open(labels, total, words);
    } catch (error) {
      if (error.name !== "AbortError") this.open([], 0, words, error.message);
    }
  }

  open(options, total, words, problem = null) {
    Object.assign(this, { options, at: words && options.length ? 0 : -1 });
    this.list.replaceChildren(...options.map(({ label, count }, index) => element(
      "li", { role: "option", id: `label-${index}`, "aria-selected": String(this.chosen.includes(label)) },
      element("span", { dir: "auto" }, label), element("small", {}, count.toLocaleString("en")),
    )));
    const more = total - options.length;
    const told = problem ?? (total ? (more > 0 ? `and ${more.toLocaleString("en")} more: type to find one` : "") : `No label contains “${words}”.`);
    byId("label-more").textContent = told;
    byId("label-more").hidden = !told;
    this.list.hidden = !options.length;
    if (!this.isOpen) this.popup.showPopover();
    this.lie();
    this.words.setAttribute("aria-expanded", "true");
    this.point(this.at);
  }

  close() {
    clearTimeout(this.timer);
    this.asking?.abort();
    if (this.isOpen) this.popup.hidePopover();
    this.words.setAttribute("aria-expanded", "false");
    this.words.removeAttribute("aria-activedescendant");
  }

  point(index) {
    this.at = index;
    [...this.list.children].forEach((option, i) => option.classList.toggle("at", i === index));
    if (index < 0) this.words.removeAttribute("aria-activedescendant");
    else {
      this.words.setAttribute("aria-activedescendant", `label-${index}`);
      this.list.children[index].scrollIntoView({ block: "nearest" });
    }
  }

  key(event) {
    const count = this.options.length;
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps) {
      event.preventDefault();
      if (!this.isOpen) this.look();
      else if (count) this.point((this.at + steps[event.key] + count + (this.at < 0 && event.key === "ArrowUp")) % count);
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.enter();
    } else if (event.key === "Escape") {
      if (!this.isOpen) this.words.blur();
      this.close();
    } else if (event.key === "Backspace" && !this.words.value && this.chosen.length) this.toggle(this.chosen.at(-1));
  }

  // Who types fast presses Enter before the list has been asked for, or before it has come.
  async enter() {
    await (this.words.value.trim() === this.looked ? this.looking : this.look());
    if (this.isOpen && this.at >= 0) this.toggle(this.options[this.at].label);
  }

  toggle(label) {
    const labels = this.chosen.includes(label) ? this.chosen.filter((one) => one !== label) : [...this.chosen, label];
    this.words.value = "";
    this.close();
    this.changed(labels);
  }
}
